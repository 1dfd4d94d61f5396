"""What the vector stores write and read back: payloads, and vectors checked for what an engine would take silently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from lectern_contract.payload import ChunkPayload, DocumentRecord, Field, metadata_terms
from lectern_runtime.errors import StoreError, VectorInvalid
from lectern_runtime.ports import Chunk, CollectionSpec, SparseVector

_LARGEST_TERM = (1 << 32) - 1
_LENGTH_TOLERANCE = 1e-3  # float32 rounding is about 1e-6; a vector that was never normalised is far outside


def chunk_payload(chunk: Chunk) -> dict[str, Any]:
    """The payload of a chunk as it is stored."""
    return {**chunk.payload.model_dump(mode="json"), Field.METADATA_TERMS: metadata_terms(chunk.payload.metadata)}


def check_sparse(chunk: Chunk, spec: CollectionSpec) -> None:
    """Raise VectorInvalid unless the chunk has term weights exactly where the collection does."""
    if (chunk.sparse is not None) != spec.sparse:
        raise VectorInvalid(
            f"chunk {chunk.id} has {'a' if chunk.sparse else 'no'} sparse vector, but collection {spec.name!r} "
            f"was made {'with' if spec.sparse else 'without'} them"
        )


def read_chunk(payload: Mapping[str, Any] | None) -> ChunkPayload:
    """The payload of a stored chunk; raises StoreError when it is not one."""
    try:
        return ChunkPayload.model_validate(payload)
    except ValidationError as error:
        raise StoreError(_unreadable("chunk", error)) from None


def is_outdated(chunk: ChunkPayload, newest: Mapping[str, int]) -> bool:
    """Whether the record of the chunk's document is newer: a writer that died cannot take back what came late of it.

    `newest` has the version of each record by document id. A document that has none yet is being written.
    """
    return chunk.version < newest.get(chunk.document_id, 0)


def read_version(payload: Mapping[str, Any] | None) -> int:
    """The version of a stored record of which nothing else was asked for; raises StoreError when it has none."""
    version = (payload or {}).get(Field.VERSION)
    if not isinstance(version, int):
        raise StoreError("a stored document record has no version; was it written by another program?")
    return version


def read_record(payload: Mapping[str, Any] | None) -> DocumentRecord:
    """The stored document record; raises StoreError when it is not one."""
    try:
        return DocumentRecord.model_validate(payload)
    except ValidationError as error:
        raise StoreError(_unreadable("document record", error)) from None


def dense_values(vector: NDArray[np.float32], spec: CollectionSpec, *, what: str) -> list[float]:
    """The vector as the engine takes it; raises VectorInvalid unless it is finite, of length 1 and the right size."""
    if vector.shape != (spec.dimensions,):
        raise VectorInvalid(
            f"the dense vector of {what} has shape {vector.shape}, but collection {spec.name!r} was made for "
            f"({spec.dimensions},); was the embedding model changed without a new index generation?"
        )
    length = float(np.linalg.norm(vector))
    # NaN and infinity fail this comparison too; the engine would take them and rank at random.
    if not abs(length - 1.0) <= _LENGTH_TOLERANCE:
        raise VectorInvalid(
            f"the dense vector of {what} has length {length:.4g} instead of 1; check the embedding model's output"
        )
    values: list[float] = vector.tolist()
    return values


def check_terms(vector: SparseVector, *, what: str) -> None:
    """Raise VectorInvalid for term weights that an engine would store and never find."""
    indices = vector.indices
    if len(indices) != len(vector.values) or len(set(indices)) != len(indices):
        raise VectorInvalid(f"the sparse vector of {what} needs one weight for each of its distinct terms")
    if indices and not (min(indices) >= 0 and max(indices) <= _LARGEST_TERM):
        raise VectorInvalid(f"the sparse vector of {what} has a term number outside 0 to 2^32 - 1")
    if not np.isfinite(vector.values).all():
        raise VectorInvalid(f"the sparse vector of {what} has a weight that is not a finite number")


def _unreadable(kind: str, error: ValidationError) -> str:
    fields = ", ".join(sorted({".".join(map(str, each["loc"])) for each in error.errors()}))
    return f"a stored {kind} cannot be read, wrong fields: {fields}; build a new index generation"
