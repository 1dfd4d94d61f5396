"""Documents of a given size as a connector would hand them over: bytes in the blob store, messages on the log.

Texts are pieces of Wikipedia paragraphs of the test data. There are fewer texts than documents; each document has a
name of its own, which stands above its chunks, so that no two chunks are embedded as the same text.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import data, resources
from lectern_contract import messages, names
from lectern_contract.messages import Deleted, DocumentMessage, DocumentRef, Envelope, Put
from lectern_contract.names import Topic
from lectern_contract.scope import Partition
from lectern_contract.settings import WorkerSettings
from lectern_runtime.moments import rfc3339
from lectern_runtime.ports import BlobStore, Log, OutgoingRecord

SIZE = 1000
"""Bytes of a document."""
TEXTS = 1000
MEDIA_TYPE = "text/markdown"
BATCH = 500
_numbers = itertools.count()


def texts(root: Path, *, count: int = TEXTS, size: int = SIZE, seed: int) -> list[bytes]:
    """Return `count` texts of `size` bytes of ASCII, each from whole paragraphs in a seeded order."""
    paragraphs = [each.text for each in data.read_wiki(root).paragraphs]
    random.Random(seed).shuffle(paragraphs)
    stream = "\n\n".join(paragraphs).encode("ascii", "ignore")
    return [stream[start * size : (start + 1) * size] for start in range(min(count, len(stream) // size))]


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes in the blob store, and of which type they are."""

    sha256: str
    size: int
    media_type: str = MEDIA_TYPE


async def store(blobs: BlobStore, contents: Iterable[bytes], media_type: str = MEDIA_TYPE) -> list[Stored]:
    """Put contents into the blob store."""
    return [Stored(await blobs.put(each), len(each), media_type) for each in contents]


@dataclass(frozen=True, slots=True)
class Teller:
    """Says documents of one knowledge base on its log."""

    log: Log
    settings: WorkerSettings

    @property
    def topic(self) -> str:
        """The topic of the documents."""
        return names.topic(self.settings.namespace, self.settings.knowledge_base, Topic.DOCUMENTS)

    def put(self, uri: str, stored: Stored, partition: Partition = resources.PARTITION) -> Put:
        """Return the message that the document is there."""
        return Put(
            document=self.ref(uri, partition),
            sha256=stored.sha256,
            size=stored.size,
            media_type=stored.media_type,
        )

    def deleted(self, uri: str, partition: Partition = resources.PARTITION) -> Deleted:
        """Return the message that the document is gone from the partition."""
        return Deleted(document=self.ref(uri, partition))

    def ref(self, uri: str, partition: Partition) -> DocumentRef:
        """Return the identity of a document."""
        return DocumentRef(
            namespace=self.settings.namespace,
            knowledge_base=self.settings.knowledge_base,
            tenant=partition.tenant,
            access_level=partition.access_level,
            source=resources.NAME,
            uri=uri,
        )

    async def say(self, said: Iterable[DocumentMessage], *, now: float) -> int:
        """Publish messages in order, at most `BATCH` at once; return how many. `now` is in seconds since 1970 UTC."""
        count = 0
        for batch in batched(said, BATCH):
            await self.log.publish(self.topic, [_record(each, now) for each in batch])
            count += len(batch)
        return count


def uri(number: int) -> str:
    """Return the name of document `number`: two words of three or more digits, so that names need few words."""
    return f"documents/{number // 1000:03}-{number % 1000:03}.md"


def batched(items: Iterable[DocumentMessage], size: int) -> Iterator[Sequence[DocumentMessage]]:
    """Return the items in lists of `size`."""
    rest = iter(items)
    while part := list(itertools.islice(rest, size)):
        yield part


def _record(body: DocumentMessage, now: float) -> OutgoingRecord:
    envelope = Envelope(id=f"bench-{next(_numbers)}", source="lectern/bench/ingest", time=rfc3339(now), data=body)
    return OutgoingRecord(envelope.key, messages.encode(envelope))
