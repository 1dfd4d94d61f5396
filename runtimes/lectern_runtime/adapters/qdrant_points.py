"""Turns writes of documents into operations of a Qdrant server, with what `stored_points` checks.

A document is a few steps in an order that can die: chunks, removal of older ones, record. Steps of many documents go
in one request as long as it stays small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from qdrant_client import models

from lectern_contract.collection import DENSE, SPARSE
from lectern_contract.ids import DocumentId
from lectern_contract.payload import DocumentRecord
from lectern_runtime.adapters import qdrant_filters, stored_points
from lectern_runtime.adapters.qdrant_routes import Route
from lectern_runtime.ports import Chunk, CollectionSpec, DocumentWrite, SparseVector

MOST_POINTS = 256
MOST_BYTES = 8_000_000
"""Of one request, about; a server takes 32 MB."""
_BYTES_A_NUMBER = 24
_BYTES_A_PAYLOAD = 1_000
Weighed: TypeAlias = tuple[models.PointStruct, int]
"""A point, and about how many bytes it takes in a request."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation, the failpoint that is come past before it, and its points and bytes, about."""

    failpoint: str
    operation: models.UpsertOperation | models.DeleteOperation
    points: int
    size: int


def chunk_point(chunk: Chunk, spec: CollectionSpec) -> models.PointStruct:
    """Return the point of a chunk; raises VectorInvalid when a vector does not fit `spec`."""
    stored_points.check_sparse(chunk, spec)
    vectors: dict[str, Any] = {DENSE: stored_points.dense_values(chunk.dense, spec, what=f"chunk {chunk.id}")}
    if chunk.sparse is not None:
        vectors[SPARSE] = sparse_values(chunk.sparse, what=f"chunk {chunk.id}")
    return models.PointStruct(id=chunk.id, vector=vectors, payload=stored_points.chunk_payload(chunk))


def record_point(record: DocumentRecord) -> models.PointStruct:
    """Return the point of a document record: the document's id, no vectors."""
    return models.PointStruct(id=record.document_id, vector={}, payload=record.model_dump(mode="json"))


def sparse_values(vector: SparseVector, *, what: str) -> models.SparseVector:
    """Return the term weights as the server takes them; raises VectorInvalid for what it would never find."""
    stored_points.check_terms(vector, what=what)
    return models.SparseVector(indices=list(vector.indices), values=list(vector.values))


def steps(write: DocumentWrite, spec: CollectionSpec, way: Route) -> list[Step]:
    """Return what makes the server show this version of a document, in order; raises VectorInvalid."""
    record, scope = write.record, way.scope
    guard = qdrant_filters.overwritable(scope, version=record.version)
    made = [
        Step("upsert", _upsert([point for point, _ in part], way, guard), len(part), sum(weight for _, weight in part))
        for part in _cut([(chunk_point(chunk, spec), _bytes(chunk)) for chunk in write.chunks])
    ]
    made.append(Step("delete-older", removal(record.document_id, record.version, way), 0, _BYTES_A_PAYLOAD))
    made.append(Step("record", _upsert([record_point(record)], way, guard), 1, 2 * _BYTES_A_PAYLOAD))
    return made


def requests(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Cut steps into those of one request each, in order."""
    request: list[Step] = []
    for step in steps:
        points, size = sum(each.points for each in request), sum(each.size for each in request)
        if request and (points + step.points > MOST_POINTS or size + step.size > MOST_BYTES):
            yield request
            request = []
        request.append(step)
    if request:
        yield request


def removal(document: DocumentId, version: int, way: Route) -> models.DeleteOperation:
    """Return what removes a document's chunks of versions before `version`."""
    older = qdrant_filters.older_chunks_of(way.scope, document, version=version)
    return models.DeleteOperation(delete=models.FilterSelector(filter=older, shard_key=way.selector))


def _upsert(points: list[models.PointStruct], way: Route, guard: models.Filter) -> models.UpsertOperation:
    return models.UpsertOperation(upsert=models.PointsList(points=points, shard_key=way.selector, update_filter=guard))


def _cut(points: Sequence[Weighed]) -> Iterator[list[Weighed]]:
    """Cut points into those of one step each; no points give no step."""
    part: list[Weighed] = []
    size = 0
    for point, weight in points:
        if part and (len(part) >= MOST_POINTS or size + weight > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append((point, weight))
        size += weight
    if part:
        yield part


def _bytes(chunk: Chunk) -> int:
    terms = len(chunk.sparse.indices) if chunk.sparse is not None else 0
    # A character takes at most six bytes in JSON.
    return _BYTES_A_NUMBER * (len(chunk.dense) + 2 * terms) + 6 * len(chunk.payload.text) + _BYTES_A_PAYLOAD
