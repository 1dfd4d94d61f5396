"""Vectors in a Redis that the workers share: the second tier of the embedding cache.

Any Redis since 6 will do. Each vector expires by itself, so every maxmemory-policy but noeviction keeps the server
within its memory; one that is full and evicts nothing is read and no longer written. A value that is not a vector of
length 1 in this number of dimensions counts as none: another program may write into the same server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lectern_contract.settings_parts import RedisSettings
from lectern_runtime.adapters.redis_connection import Purpose, RedisServer

PREFIX = "lectern:embedding:"
PURPOSE = Purpose("spec.embedding.cache.redis", f"+mget +set +ping on keys ~{PREFIX}*")
AT_ONCE = 256
"""Keys of one request, so that no answer is larger than a few megabytes."""
UNIT_TOLERANCE = 1e-2


class RedisVectors:
    """Vectors by key for `ttl_seconds`, each as its float32 values in little-endian order.

    `namespace` is part of each key: what one namespace has embedded is not told to another.
    """

    def __init__(self, server: RedisServer, *, namespace: str, dimensions: int, ttl_seconds: int) -> None:
        self._server = server
        self._prefix = f"{PREFIX}{namespace}:"
        self._bytes = 4 * dimensions
        self._ttl_seconds = ttl_seconds

    @classmethod
    def open(cls, settings: RedisSettings, *, namespace: str, dimensions: int, ttl_seconds: int) -> RedisVectors:
        """Return the tier at the server of `settings`, which is not asked before the first call."""
        server = RedisServer.open(settings, PURPOSE)
        return cls(server, namespace=namespace, dimensions=dimensions, ttl_seconds=ttl_seconds)

    @property
    def tier(self) -> str:
        """Name of the tier in metrics."""
        return "redis"

    async def get(self, keys: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors that are kept; raises DependencyError when the server does not answer."""
        found: dict[str, NDArray[np.float32]] = {}
        client = self._server.client
        for start in range(0, len(keys), AT_ONCE):
            asked = keys[start : start + AT_ONCE]
            names = [self._prefix + key for key in asked]
            values = await self._server.read(lambda names=names: client.mget(names))  # type: ignore[misc]
            for key, value in zip(asked, values, strict=True):
                if (vector := self._vector(value)) is not None:
                    found[key] = vector
        return found

    async def put(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep the vectors; raises DependencyError when the server does not take them."""
        items = list(vectors.items())
        for start in range(0, len(items), AT_ONCE):
            pipeline = self._server.client.pipeline(transaction=False)
            for key, vector in items[start : start + AT_ONCE]:
                pipeline.set(self._prefix + key, vector.astype("<f4").tobytes(), ex=self._ttl_seconds)
            await self._server.write(pipeline.execute)

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()

    def _vector(self, value: object) -> NDArray[np.float32] | None:
        if not isinstance(value, bytes) or len(value) != self._bytes:
            return None
        vector = np.frombuffer(value, "<f4").astype(np.float32)
        if not np.all(np.abs(vector) < 1.0 + UNIT_TOLERANCE):  # NaN is not; and no square can overflow below
            return None
        return vector if abs(float(np.linalg.norm(vector)) - 1.0) < UNIT_TOLERANCE else None
