"""Turns chunks and document records into points of Qdrant's engine, with what `stored_points` checks.

`edge_collection.py` calls it on every write and for the vectors of a question.
"""

from __future__ import annotations

from typing import Any

from qdrant_edge import Point
from qdrant_edge import SparseVector as EngineSparse

from lectern_contract.collection import DENSE, SPARSE
from lectern_contract.payload import DocumentRecord
from lectern_runtime.adapters import stored_points
from lectern_runtime.ports import Chunk, CollectionSpec, SparseVector


def chunk_point(chunk: Chunk, spec: CollectionSpec) -> Point:
    """The point of a chunk; raises VectorInvalid when a vector does not fit `spec`."""
    stored_points.check_sparse(chunk, spec)
    vectors: dict[str, Any] = {DENSE: stored_points.dense_values(chunk.dense, spec, what=f"chunk {chunk.id}")}
    if chunk.sparse is not None:
        vectors[SPARSE] = sparse_values(chunk.sparse, what=f"chunk {chunk.id}")
    return Point(chunk.id, vectors, stored_points.chunk_payload(chunk))


def record_point(record: DocumentRecord) -> Point:
    """The point of a document record: the document's id, no vectors."""
    return Point(record.document_id, {}, record.model_dump(mode="json"))


def sparse_values(vector: SparseVector, *, what: str) -> EngineSparse:
    """The term weights as the engine takes them; raises VectorInvalid for what it would store and never find."""
    stored_points.check_terms(vector, what=what)
    return EngineSparse(list(vector.indices), list(vector.values))
