"""A Redis server as the caches use it: connections, bounds on what it may cost, and words for what is wrong with it.

A cache must never slow down what it is there to save: a call has `CALL_SECONDS` in all, and after a failure none is
tried for `PAUSE_SECONDS`. A server that only refuses writes (full, a replica) is still read. Credentials are read
again for each connection, so a changed Secret needs no restart.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from lectern_contract.errors import DependencyError
from lectern_contract.settings_parts import RedisSettings

SOCKET_SECONDS = 2.0
CALL_SECONDS = 3.0
PAUSE_SECONDS = 30.0
CONNECTIONS = 8
T = TypeVar("T")
logger = logging.getLogger("lectern.redis")

# A server without TLS waits for the rest of what it takes for a command.
_SILENT = "it does not answer in time: check its load, the network, and for rediss that it speaks TLS"
_CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (
        exceptions.AuthenticationError,
        "it does not accept the user name or password: check {field}.credentialsSecretRef",
    ),
    (exceptions.NoPermissionError, "the user lacks rights: allow it {rights}"),
    (exceptions.OutOfMemoryError, "it is full and evicts nothing: raise maxmemory or set maxmemory-policy allkeys-lru"),
    (exceptions.ReadOnlyError, "it is a replica, which takes no writes: name the primary in {field}.url"),
    (exceptions.BusyLoadingError, "it is still loading its data: it will serve by itself"),
    (ssl.SSLError, "its certificate is not trusted or it speaks no TLS: check {field}.caSecretRef and {field}.url"),
    (exceptions.ResponseError, "it refuses the command: Redis 6 or later is needed, see its log"),
    (TimeoutError, _SILENT),
    (exceptions.TimeoutError, _SILENT),
    (FileNotFoundError, "a file with its credentials is missing: check {field}.credentialsSecretRef"),
)
_DEEPEST = 10
_UNREACHABLE = "it cannot be reached: check {field}.url, and that it runs"


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a connection is for, for messages: the `field` of the resource and the `rights` of its ACL user."""

    field: str
    rights: str


@dataclass(slots=True)
class RedisServer:
    """One server with its pauses; `clock` gives seconds and never goes backwards."""

    client: Redis
    url: str
    purpose: Purpose
    clock: Callable[[], float] = time.monotonic
    call_seconds: float = CALL_SECONDS
    _resume: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "write": 0.0})
    _failing: bool = False

    @classmethod
    def open(cls, settings: RedisSettings, purpose: Purpose) -> RedisServer:
        """Return the server of `settings`, which is not asked before the first call."""
        # Only an encrypted connection takes the option.
        secure: dict[str, Any] = {"ssl_ca_certs": settings.ca_file} if settings.url.startswith("rediss:") else {}
        pool = BlockingConnectionPool.from_url(
            settings.url,
            credential_provider=_Files(settings) if settings.password_file else None,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            max_connections=CONNECTIONS,
            timeout=CALL_SECONDS,
            # Once, at once: after a restart of the server every pooled connection is found dead by its first use.
            retry=Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,)),
            **secure,
        )
        return cls(Redis.from_pool(pool), settings.url, purpose)

    async def read(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await `call` within bounds; raises DependencyError with the cause and the next step."""
        return await self._within("read", call)

    async def write(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await `call` as `read` does; a refusal of it alone leaves reading as it is."""
        return await self._within("write", call)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    async def _within(self, way: str, call: Callable[[], Awaitable[T]]) -> T:
        if self.clock() < self._resume[way]:
            raise DependencyError(f"Redis at {self.url} failed before; it is asked again soon", dependency="redis")
        try:
            async with asyncio.timeout(self.call_seconds):
                found = await call()
        except (exceptions.RedisError, OSError, TimeoutError, UnicodeDecodeError) as error:
            raise self._away(way, error) from error
        if self._failing:
            self._failing = False
            logger.info("Redis at %s answers again", self.url)
        return found

    def _away(self, way: str, error: BaseException) -> DependencyError:
        ways = ("write",) if way == "write" and isinstance(error, exceptions.ResponseError) else ("read", "write")
        for each in ways:
            self._resume[each] = self.clock() + PAUSE_SECONDS
        self._failing = True
        words = (
            f"Redis at {self.url} cannot be used: {_cause(error, self.purpose)}; work goes on without it, and it is "
            f"asked again in {PAUSE_SECONDS:.0f} s"
        )
        logger.warning("%s", words)
        return DependencyError(words, dependency="redis")


def _cause(error: BaseException, purpose: Purpose) -> str:
    """Say why by the kind of the error or of what caused it; texts of errors stay out, they may hold anything."""
    found: BaseException | None = error
    for _ in range(_DEEPEST):
        if found is None:
            break
        for kind, words in _CAUSES:
            if isinstance(found, kind):
                return words.format(field=purpose.field, rights=purpose.rights)
        found = found.__cause__ or found.__context__
    return _UNREACHABLE.format(field=purpose.field)


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

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Return the same; files are read beside the event loop."""
        return await asyncio.to_thread(self.get_credentials)
