"""Reads every point of a collection, shard key by shard key, and compares the set with the reference model's.

Only the Qdrant client is used here, none of the runtime's own code: what the store says is what counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qdrant_client import QdrantClient

from e2e.ingest_faults import stub_vectors
from e2e.ingest_faults.model import Expected, State
from lectern_contract import ids
from lectern_contract.collection import DENSE, FALLBACK_SHARD_KEY
from lectern_contract.payload import PayloadKind

PAGE = 500
TOLERANCE = 1e-5
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Stored:
    """One point as the store gives it, and the shard key under which it lies."""

    id: str
    key: str
    payload: Mapping[str, Any]
    vector: Sequence[float] | None

    @property
    def is_record(self) -> bool:
        """Whether it is a document record; all else is a chunk."""
        return self.payload.get("kind") == PayloadKind.RECORD.value


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One thing that is not as the log says; `what` is one word, `detail` names values and never text."""

    what: str
    document: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what} {self.document}: {self.detail}"


def read(url: str, collection: str) -> list[Stored]:
    """Return every point of the collection, over all shard keys."""
    client = QdrantClient(url=url, timeout=SECONDS, check_compatibility=False, trust_env=False)
    try:
        shards = client.collection_cluster_info(collection).local_shards
        keys = sorted({str(each.shard_key) for each in shards})
        return [point for key in keys for point in _of_key(client, collection, key)]
    finally:
        client.close()


def _of_key(client: QdrantClient, collection: str, key: str) -> Iterator[Stored]:
    offset: Any = None
    while True:
        points, offset = client.scroll(
            collection, limit=PAGE, offset=offset, with_payload=True, with_vectors=[DENSE], shard_key_selector=key
        )
        for each in points:
            vectors: Any = each.vector
            dense = vectors.get(DENSE) if isinstance(vectors, dict) else None
            yield Stored(str(each.id), key, each.payload or {}, dense)
        if offset is None:
            return


def differences(stored: Sequence[Stored], wanted: State) -> list[Difference]:
    """Return everything in which the store and the model differ, in order; none means that they are equal."""
    found = [
        Difference("doubled", str(each), f"{count} points have this id")
        for each, count in Counter(point.id for point in stored).items()
        if count > 1
    ]
    keys = {point.key for point in stored}
    records = {point.id: point for point in stored if point.is_record}
    chunks: dict[str, list[Stored]] = {}
    for point in stored:
        if not point.is_record:
            chunks.setdefault(str(point.payload.get("document_id")), []).append(point)
    for document in sorted({*records, *chunks} - {str(each) for each in wanted}):
        found.append(Difference("extra", document, "the log never spoke of this document"))
    for name, expected in wanted.items():
        found += _of_record(records.get(str(name)), expected, keys)
        found += _of_chunks(chunks.get(str(name), []), expected, keys)
    return sorted(found)


def _of_record(point: Stored | None, expected: Expected, keys: set[str]) -> Iterator[Difference]:
    name = str(expected.document.id)
    if point is None:
        yield Difference("missing", name, f"no record; it should be {expected.state} at {expected.version}")
        return
    payload = point.payload
    wanted: dict[str, object] = {
        "version": expected.version,
        "state": expected.state.value,
        "sha256": expected.sha256,
        "chunks": len(expected.pieces),
        "uri": expected.document.uri,
        "source": expected.document.source,
    }
    if not expected.fault:
        wanted["title"] = expected.title
    for field, value in wanted.items():
        if payload.get(field) != value:
            yield Difference("record", name, f"{field} is {payload.get(field)!r} and should be {value!r}")
    if expected.fault and not str(payload.get("reason", "")).startswith(f"{expected.fault}: "):
        yield Difference("record", name, f"it failed with {payload.get('reason')!r} and should with {expected.fault}")
    yield from _of_place(point, expected, keys)


def _of_chunks(points: Sequence[Stored], expected: Expected, keys: set[str]) -> Iterator[Difference]:
    name = str(expected.document.id)
    there = {point.id: point for point in points}
    for number, (chunk, piece) in enumerate(zip(expected.chunk_ids, expected.pieces, strict=True)):
        point = there.pop(str(chunk), None)
        if point is None:
            yield Difference("missing", name, f"chunk {number} of {len(expected.pieces)}")
            continue
        wanted = {
            "document_id": name,
            "version": expected.version,
            "number": number,
            "text": piece.text,
            "text_digest": ids.text_digest(piece.embedded),
            "start": piece.start,
            "end": piece.end,
            "title": expected.title,
        }
        wrong = [field for field, value in wanted.items() if point.payload.get(field) != value]
        if "version" in wrong and int(point.payload.get("version", -1)) < expected.version:
            yield Difference("stale", name, f"chunk {number} is of {point.payload.get('version')}")
        elif wrong:
            yield Difference("chunk", name, f"chunk {number}: {', '.join(wrong)} not as the bytes say")
        yield from _of_place(point, expected, keys)
        yield from _of_vector(point, piece.embedded, name, number)
    for point in there.values():
        said = f"chunk {point.payload.get('number')} of version {point.payload.get('version')}"
        yield Difference("stale", name, f"{said} beside {len(expected.pieces)} chunks of {expected.version}")


def _of_place(point: Stored, expected: Expected, keys: set[str]) -> Iterator[Difference]:
    partition, name = expected.document.partition, str(expected.document.id)
    said = (point.payload.get("tenant"), point.payload.get("access_level"))
    if said != (partition.tenant, partition.access_level):
        yield Difference("partition", name, f"point {point.id} says {said}, the document is of {partition.key}")
    key = partition.key if partition.key in keys else FALLBACK_SHARD_KEY
    if point.key != key:
        yield Difference("partition", name, f"point {point.id} lies under {point.key!r} and should under {key!r}")


def _of_vector(point: Stored, embedded: str, name: str, number: int) -> Iterator[Difference]:
    wanted = stub_vectors.vector(embedded, len(point.vector or ()) or stub_vectors.DIMENSIONS)
    if point.vector is None or not np.allclose(np.array(point.vector, np.float32), wanted, atol=TOLERANCE):
        yield Difference("vector", name, f"chunk {number} has another vector than its text")
