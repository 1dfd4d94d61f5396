"""Compares what two collections of the embedded store hold, point by point: records, chunks, vectors, term weights.

The shards are read raw, without the store's own filters, so that what no document owns is seen as well. Versions differ
between an index that grew and one that was filled at once, and a deleted document leaves a record that says so;
everything else has to be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_edge import EdgeShard, ScrollRequest

from lectern_contract.collection import DENSE, SPARSE
from lectern_contract.payload import DocumentState, Field, PayloadKind

PAGE = 500
TOLERANCE = 1e-5
"""Of a number in a vector: one that was kept from before was made to length 1 once more."""
TOLD = 5
"""Differences that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point without its version: payload, dense vector (None for a record), and weights by term."""

    payload: Mapping[str, object]
    dense: NDArray[np.float32] | None = None
    sparse: Mapping[int, float] | None = None

    @property
    def is_chunk(self) -> bool:
        """Whether it is a chunk; it is a record otherwise."""
        return self.payload.get(Field.KIND) == PayloadKind.CHUNK

    @property
    def name(self) -> str:
        """Of which document it is, and which chunk."""
        number = f", chunk {self.payload.get('number')}" if self.is_chunk else ""
        return f"{self.payload.get('uri')}{number}"


Content = Mapping[str, Point]


def read(store: Path, collection: str) -> Content:
    """Return every point of a collection of the closed store in `store` by its id, but records of what was deleted."""
    shard = EdgeShard.load(str(store / "collections" / collection / "shard"))
    found: dict[str, Point] = {}
    offset = None
    try:
        while True:
            request = ScrollRequest(offset=offset, limit=PAGE, with_payload=True, with_vector=True)
            points, offset = shard.scroll(request)
            for each in points:
                point = _point(each.payload or {}, each.vector)
                if point.payload.get(Field.STATE) != DocumentState.DELETED:
                    found[str(each.id)] = point
            if offset is None:
                return found
    finally:
        shard.close()


def differences(one: Content, other: Content) -> Iterator[str]:
    """Yield a sentence for each point that is not the same in both."""
    for place in sorted(one.keys() | other.keys()):
        left, right = one.get(place), other.get(place)
        if left is None or right is None:
            lone = left or right
            assert lone is not None
            yield f"{lone.name} is only in the {'second' if left is None else 'first'}"
        elif left.payload != right.payload:
            yield f"{left.name} differs in {_differing(left.payload, right.payload)}"
        elif not _alike(left.dense, right.dense):
            yield f"{left.name} differs in its vector"
        elif left.sparse != right.sparse:
            yield f"{left.name} differs in the weights of its terms"


def told(found: Sequence[str]) -> str:
    """Return the first differences, and how many more there are."""
    more = f"; and {len(found) - TOLD} more" if len(found) > TOLD else ""
    return "; ".join(found[:TOLD]) + more


def _point(payload: Mapping[str, Any], vectors: Any) -> Point:
    kept = {key: value for key, value in payload.items() if key != Field.VERSION}
    if not isinstance(vectors, dict) or DENSE not in vectors:
        return Point(kept)
    terms = vectors.get(SPARSE)
    weights = None if terms is None else dict(zip(terms.indices, terms.values, strict=True))
    return Point(kept, np.asarray(vectors[DENSE], np.float32), weights)


def _alike(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=0, atol=TOLERANCE))


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> str:
    return ", ".join(sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key)))
