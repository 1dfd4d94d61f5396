"""Vectors between the requests' JSON models and the engine, for points that are written and queries that are asked.

A `Document` of the model `qdrant/bm25` becomes a sparse vector here, as the server makes it.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from qdrant_client.http import models
from qdrant_edge import Bm25, Bm25Config, SparseVector

from e2e.testbed.qdrant_double.refusals import malformed, unsupported

BM25 = "qdrant/bm25"
_BM25_OPTIONS = frozenset({"k", "b", "avg_len", "language"})
_LARGEST_ID = 2**64 - 1


def stored(vector: Any) -> Any:
    """A point's vector or vectors by name as the engine takes them."""
    if isinstance(vector, dict):
        return {name: _one(each, asked=False) for name, each in vector.items()}
    return _one(vector, asked=False)


def asked(vector: Any) -> Any:
    """A query's vector as the engine takes it."""
    return _one(vector, asked=True)


def shown(vector: Any) -> Any:
    """A vector or vectors of the engine as JSON."""
    if isinstance(vector, dict):
        return {name: shown(each) for name, each in vector.items()}
    if isinstance(vector, SparseVector):
        return {"indices": vector.indices, "values": vector.values}
    return vector


def point_id(id_: int | str | UUID) -> int | UUID:
    """The id as the engine takes it; raises Refused (400) unless it is an unsigned integer or a UUID."""
    if isinstance(id_, int) and 0 <= id_ <= _LARGEST_ID:
        return id_
    if isinstance(id_, UUID):
        return id_
    try:
        return UUID(str(id_))
    except ValueError:
        raise malformed(
            f"value {id_} is not a valid point ID, valid values are either an unsigned integer or a UUID"
        ) from None


def _one(vector: Any, *, asked: bool) -> Any:
    match vector:
        case list():
            return vector
        case models.SparseVector():
            return SparseVector(vector.indices, vector.values)
        case models.Document(model=model) if model.lower() == BM25:
            embedder = _bm25(vector.options)
            return embedder.embed_query(vector.text) if asked else embedder.embed_document(vector.text)
    raise unsupported(f"a vector given as {type(vector).__name__}")


def _bm25(options: Any) -> Bm25:
    if isinstance(options, models.Bm25Config):
        options = options.model_dump(mode="json", exclude_none=True)
    chosen = options or {}
    strange = chosen.keys() - _BM25_OPTIONS
    if strange:
        raise unsupported(f"the BM25 option {sorted(strange)[0]!r}")
    return Bm25(Bm25Config(**chosen))
