"""The entries of a manifest in parts: cut by content, so that what did not change keeps its bytes and its name.

`known.py` loads the parts that an index names and writes those that are new. Documents are sorted by uri, one JSON line
each, and a part ends behind a uri whose hash says so: where the cuts are depends on the documents alone, not on
history, and a change touches the part that it lies in. Parts are named objects and not blobs, because nobody would
ever remove a blob that no index names any more.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from lectern_contract import names
from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest import manifest
from lectern_runtime.ingest.manifest import Part
from lectern_runtime.ingest.scratch import Row
from lectern_runtime.ports import BlobStore

MOST_BYTES = 4 * 1024 * 1024
"""Of lines before compression, at which a part ends wherever it is."""
MEAN_DOCUMENTS = 4096
_LARGEST = MOST_BYTES + 256 * 1024


@dataclass(slots=True)
class Cut:
    """Lines of the part that is being gathered."""

    lines: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, row: Row) -> bool:
        """Take a row; True when the part ends behind it."""
        data = line(row)
        self.lines.append(data)
        self.size += len(data)
        drawn = int.from_bytes(hashlib.blake2b(row.uri.encode(), digest_size=4).digest(), "big")
        return drawn % MEAN_DOCUMENTS == 0 or self.size >= MOST_BYTES

    def part(self) -> tuple[Part, bytes]:
        """The gathered part with its lines."""
        data = b"".join(self.lines)
        return Part(sha256=hashlib.sha256(data).hexdigest(), documents=len(self.lines)), data


def line(row: Row) -> bytes:
    """One document as a line: equal rows give equal bytes."""
    text = _head(row.uri)
    text += f',"entry":{row.entry}' if row.entry is not None else ""
    text += f',"retry":{row.retry}' if row.retry is not None else ""
    return (text + "}\n").encode()


def rows(data: bytes, *, said: bool) -> Iterator[Row]:
    """The rows in the lines of a part. Raises ValueError, KeyError or TypeError for anything else."""
    for each in data.decode().split("\n")[:-1]:
        value = json.loads(each)
        entry, retry = value.get("entry"), value.get("retry")
        # The text as it stands is the entry's own where nothing follows it, which spares wording it again.
        head = _head(value["uri"]) + ',"entry":'
        text = each[len(head) : -1] if retry is None and each.startswith(head) else entry and _json(entry)
        stale = entry is None or entry.get("stale", False)
        yield Row(value["uri"], text, said and not stale, retry and _json(retry))


async def load(blobs: BlobStore, settings: ConnectorSettings, part: Part) -> bytes:
    """The lines of a part. Raises `ManifestDamaged` when they are not there or not the ones that were written."""
    name = _name(settings, part.sha256)
    packed = await blobs.read_named(name)
    if packed is None:
        raise manifest.damaged(name, "missing")
    try:
        data = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed, _LARGEST)
    except zlib.error:
        data = b""
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise manifest.damaged(name, "damaged")
    return data


async def store(blobs: BlobStore, settings: ConnectorSettings, part: Part, data: bytes) -> None:
    """Write a part; one that is there already is replaced by its equal."""
    await blobs.write_named(_name(settings, part.sha256), gzip.compress(data, compresslevel=6, mtime=0))


async def superseded(blobs: BlobStore, settings: ConnectorSettings, kept: frozenset[str]) -> AsyncIterator[str]:
    """Names of the parts of this source that are none of `kept`."""
    async for name in blobs.list_named(names.manifest_parts(settings.namespace, settings.name)):
        if name.rpartition("/")[2] not in kept:
            yield name


def _name(settings: ConnectorSettings, sha256: str) -> str:
    return names.manifest_parts(settings.namespace, settings.name) + sha256


def _head(uri: str) -> str:
    return '{"uri":' + json.dumps(uri)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
