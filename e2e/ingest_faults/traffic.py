"""What connectors say about many documents: a seeded stream of versions, updates, deletions, duplicates and faults.

Neighbours in the stream are shuffled within a window, as retries shuffle them; the log decides what their order means.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from e2e.ingest_faults.stub_vectors import REFUSED
from lectern_contract.messages import Deleted, DocumentRef, Envelope, Put
from lectern_contract.scope import Partition

PARTITIONS = (
    Partition("acme", "public"),
    Partition("acme", "internal"),
    Partition("globex", "public"),
    Partition("globex", "internal"),
)
DEDICATED = "acme"
"""The tenant whose partitions have shard keys of their own."""
WINDOW = 64
DELETES, UPDATES, DUPLICATES, FAULTS = 0.10, 0.20, 0.05, 0.005
TIME = "2026-11-21T00:00:00Z"
WORDS = ("amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty", "kelp", "lagoon")


@dataclass(frozen=True, slots=True)
class Spoken:
    """One message with the bytes that it refers to; those of a deletion are empty."""

    envelope: Envelope
    data: bytes


def reference(namespace: str, knowledge_base: str, uri: str, partition: Partition = PARTITIONS[0]) -> DocumentRef:
    """Return the identity of a document."""
    return DocumentRef(
        namespace=namespace,
        knowledge_base=knowledge_base,
        tenant=partition.tenant,
        access_level=partition.access_level,
        source="files",
        uri=uri,
    )


def put(document: DocumentRef, text: str, *, media_type: str = "text/plain", name: str = "") -> Spoken:
    """Return the message that `document` has this text."""
    data = text.encode()
    body = Put(document=document, sha256=hashlib.sha256(data).hexdigest(), size=len(data), media_type=media_type)
    return Spoken(_enveloped(body, name or f"{document.id}-{body.sha256[:12]}"), data)


def deleted(document: DocumentRef, name: str = "") -> Spoken:
    """Return the message that `document` is gone."""
    return Spoken(_enveloped(Deleted(document=document), name or f"{document.id}-deleted"), b"")


def text(chance: random.Random, marker: str = "") -> str:
    """Return a few words that hardly any other document has: one to three chunks."""
    words = [chance.choice(WORDS) for _ in range(chance.randint(4, 60))]
    return " ".join([f"{chance.getrandbits(40):010x}", *words[:2], marker, *words[2:]])


class Traffic:
    """A stream of `count` messages about documents of one knowledge base; equal seeds give equal streams."""

    def __init__(self, namespace: str, knowledge_base: str, *, seed: int) -> None:
        self._kb = (namespace, knowledge_base)
        self._chance = random.Random(seed)
        self._living: list[DocumentRef] = []
        self._made = 0
        self._said: list[Spoken] = []

    def messages(self, count: int) -> list[Spoken]:
        """Return the next `count` messages, shuffled within `WINDOW`."""
        ordered = [self._next() for _ in range(count)]
        places = [(number + self._chance.uniform(0, WINDOW), number) for number in range(count)]
        return [ordered[number] for _, number in sorted(places)]

    def _next(self) -> Spoken:
        drawn, chance = self._chance.random(), self._chance
        if drawn < DUPLICATES and self._said:
            return chance.choice(self._said[-WINDOW * 4 :])
        if drawn < DUPLICATES + DELETES and self._living:
            document = self._living.pop(chance.randrange(len(self._living)))
            return self._spoken(deleted(document, f"{document.id}-{self._number()}"))
        if drawn < DUPLICATES + DELETES + UPDATES and self._living:
            return self._put(chance.choice(self._living))
        document = reference(*self._kb, f"doc-{self._number()}.txt", chance.choice(PARTITIONS))
        self._living.append(document)
        return self._put(document)

    def _put(self, document: DocumentRef) -> Spoken:
        chance = self._chance
        name = f"{document.id}-{self._number()}"
        if chance.random() >= FAULTS:
            return self._spoken(put(document, text(chance), name=name))
        match chance.randrange(3):
            case 0:
                return self._spoken(put(document, text(chance, REFUSED), name=name))
            case 1:
                return self._spoken(put(document, " . \n", name=name))
            case _:
                return self._spoken(put(document, text(chance), media_type="image/png", name=name))

    def _number(self) -> int:
        self._made += 1
        return self._made

    def _spoken(self, spoken: Spoken) -> Spoken:
        self._said.append(spoken)
        if len(self._said) > WINDOW * 8:
            del self._said[: WINDOW * 4]
        return spoken


def _enveloped(body: Put | Deleted, name: str) -> Envelope:
    return Envelope(id=name[:128], source="lectern/connector/files", time=TIME, data=body)


def shares(messages: Sequence[Spoken]) -> dict[str, int]:
    """Return how many of the messages are about deletions, first versions, later versions and repetitions."""
    counts = {"deleted": 0, "first": 0, "updated": 0, "repeated": 0}
    seen: set[str] = set()
    known: set[str] = set()
    for each in messages:
        repeated = each.envelope.id in seen
        seen.add(each.envelope.id)
        if repeated:
            counts["repeated"] += 1
        elif isinstance(each.envelope.data, Deleted):
            counts["deleted"] += 1
        else:
            counts["updated" if each.envelope.key in known else "first"] += 1
            known.add(each.envelope.key)
    return counts
