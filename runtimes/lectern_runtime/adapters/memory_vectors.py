"""Vectors in the memory of one process: the first tier of the embedding cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from cachetools import TTLCache
from numpy.typing import NDArray


class MemoryVectors:
    """At most `max_entries` vectors; the one that was used longest ago goes, and each after `ttl_seconds`.

    `clock` gives monotonic seconds. A vector of d dimensions takes 4 d bytes and about 300 more.
    """

    def __init__(self, *, max_entries: int, ttl_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._vectors: TTLCache[str, NDArray[np.float32]] = TTLCache(max_entries, ttl_seconds, timer=clock)

    @property
    def tier(self) -> str:
        """Name of the tier in metrics."""
        return "memory"

    async def get(self, keys: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors that are kept."""
        return {key: vector for key in keys if (vector := self._vectors.get(key)) is not None}

    async def put(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep copies: a row of a call's result would keep the whole result alive."""
        for key, vector in vectors.items():
            kept = np.array(vector, np.float32)
            kept.flags.writeable = False
            self._vectors[key] = kept

    async def close(self) -> None:
        """Forget everything."""
        self._vectors.clear()
