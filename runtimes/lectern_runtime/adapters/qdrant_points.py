"""Turns chunks and document records into points of a Qdrant server, with what `stored_points` checks."""

from __future__ import annotations

from typing import Any

from qdrant_client import models

from lectern_contract.collection import DENSE, SPARSE
from lectern_contract.payload import DocumentRecord
from lectern_runtime.adapters import stored_points
from lectern_runtime.ports import Chunk, CollectionSpec, SparseVector

MOST_POINTS = 256
MOST_BYTES = 8_000_000
"""Of one request, about; a server takes 32 MB."""
_BYTES_A_NUMBER = 24
_BYTES_A_PAYLOAD = 1_000


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


def requests(points: list[models.PointStruct], chunks: list[Chunk]) -> list[list[models.PointStruct]]:
    """Cut the points of `chunks` into the lists of one request each, in order; no points give no list."""
    parts: list[list[models.PointStruct]] = []
    size = 0
    for point, chunk in zip(points, chunks, strict=True):
        weight = _bytes(chunk)
        if not parts or len(parts[-1]) >= MOST_POINTS or size + weight > MOST_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(point)
        size += weight
    return parts


def _bytes(chunk: Chunk) -> int:
    terms = len(chunk.sparse.indices) if chunk.sparse is not None else 0
    # A character takes at most six bytes in JSON.
    return _BYTES_A_NUMBER * (len(chunk.dense) + 2 * terms) + 6 * len(chunk.payload.text) + _BYTES_A_PAYLOAD
