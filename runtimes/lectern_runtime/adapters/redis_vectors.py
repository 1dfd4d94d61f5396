"""Vectors in a Redis that the workers share: the second tier of the embedding cache.

Any Redis since 6 will do. Credentials are read again for each connection. A Redis that is away costs one attempt, and
then none for `PAUSE_SECONDS`: a cache must never slow down what it is there to save.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError

from lectern_contract.errors import DependencyError
from lectern_contract.settings import RedisSettings

PREFIX = "lectern:embedding:"
TIMEOUT_SECONDS = 2.0
PAUSE_SECONDS = 30.0
CONNECTIONS = 8
AT_ONCE = 256
"""Keys of one request, so that no answer is larger than a few megabytes."""


class RedisVectors:
    """Vectors by key for `ttl_seconds`, each as its float32 values in little-endian order."""

    def __init__(
        self,
        client: Redis,
        *,
        url: str,
        dimensions: int,
        ttl_seconds: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._url = url
        self._bytes = 4 * dimensions
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._resume_at = 0.0

    @classmethod
    def open(cls, settings: RedisSettings, *, dimensions: int, ttl_seconds: int) -> RedisVectors:
        """Return the tier at the server of `settings`, which is not asked before the first call."""
        # Only an encrypted connection takes the option.
        secure: dict[str, Any] = {"ssl_ca_certs": settings.ca_file} if settings.url.startswith("rediss:") else {}
        client = Redis.from_url(
            settings.url,
            credential_provider=_Files(settings) if settings.password_file else None,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            max_connections=CONNECTIONS,
            **secure,
        )
        return cls(client, url=settings.url, dimensions=dimensions, ttl_seconds=ttl_seconds)

    @property
    def tier(self) -> str:
        """Name of the tier in metrics."""
        return "redis"

    async def get(self, keys: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Return the vectors that are kept; raises DependencyError when the server does not answer."""
        found: dict[str, NDArray[np.float32]] = {}
        self._check()
        try:
            for start in range(0, len(keys), AT_ONCE):
                asked = keys[start : start + AT_ONCE]
                values = await self._client.mget([PREFIX + key for key in asked])
                for key, value in zip(asked, values, strict=True):
                    if isinstance(value, bytes) and len(value) == self._bytes:  # else it is not of ours
                        found[key] = np.frombuffer(value, "<f4").astype(np.float32)
        except (RedisError, OSError) as error:
            raise self._away(error) from error
        return found

    async def put(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep the vectors; raises DependencyError when the server does not answer."""
        self._check()
        items = list(vectors.items())
        try:
            for start in range(0, len(items), AT_ONCE):
                pipeline = self._client.pipeline(transaction=False)
                for key, vector in items[start : start + AT_ONCE]:
                    pipeline.set(PREFIX + key, vector.astype("<f4").tobytes(), ex=self._ttl_seconds)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            raise self._away(error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _check(self) -> None:
        if self._clock() < self._resume_at:
            raise DependencyError(f"Redis at {self._url} did not answer; it is asked again soon", dependency="redis")

    def _away(self, error: Exception) -> DependencyError:
        self._resume_at = self._clock() + PAUSE_SECONDS
        return DependencyError(
            f"Redis at {self._url} cannot be used: {type(error).__name__}; vectors are computed instead, and it is "
            f"asked again in {PAUSE_SECONDS:.0f} s: check spec.embedding.cache.redis and its credentials",
            dependency="redis",
        )


class _Files(CredentialProvider):
    """User and password from files, read anew for each connection."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return (password) or (user, password)."""
        assert self._settings.password_file is not None
        password = Path(self._settings.password_file).read_text().strip()
        if self._settings.username_file is None:
            return (password,)
        return (Path(self._settings.username_file).read_text().strip(), password)
