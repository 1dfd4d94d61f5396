"""Clients of servers that are let in by files: a key, a certificate authority; made anew when a file has changed.

Kubernetes renews a mounted Secret in place, so adapters ask for their client at every call. Calls that are under way
end with the client that they began with.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from lectern_contract.errors import DependencyError

Client = TypeVar("Client")
MAX_FILE_BYTES = 1 << 20
_Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the files hold; `tls` says how a server's certificate is checked."""

    key: str | None = field(repr=False)
    tls: ssl.SSLContext = field(repr=False)


@dataclass(slots=True)
class _Open(Generic[Client]):
    client: Client
    stamp: _Stamp
    users: int = 0
    retired: bool = False


class Renewed(Generic[Client]):
    """One client at a time, made of the files as they are; `dependency` is whom an unreadable file keeps away."""

    def __init__(
        self,
        make: Callable[[Credentials], Client],
        close: Callable[[Client], Awaitable[None]],
        *,
        dependency: str,
        key_file: str | None,
        ca_file: str | None,
        encrypted: bool,
    ) -> None:
        self._make, self._close, self._dependency = make, close, dependency
        self._key = None if key_file is None else Path(key_file)
        self._ca = None if ca_file is None else Path(ca_file)
        self._encrypted = encrypted
        self._open: _Open[Client] | None = None

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Yield the client of today's files. Raises `DependencyError` when a file cannot be read or used."""
        opened = await self._current()
        opened.users += 1
        try:
            yield opened.client
        finally:
            opened.users -= 1
            await self._end(opened)

    async def close(self) -> None:
        """Close the client; a later call makes another one."""
        if self._open is not None:
            opened, self._open = self._open, None
            opened.retired = True
            await self._end(opened)

    async def _current(self) -> _Open[Client]:
        stamp = self._stamp()
        if self._open is not None and self._open.stamp == stamp:
            return self._open
        made = _Open(self._make(self._read()), stamp)
        before, self._open = self._open, made
        if before is not None:
            before.retired = True
            await self._end(before)
        return made

    async def _end(self, opened: _Open[Client]) -> None:
        if opened.retired and not opened.users:
            opened.retired = False  # so that it is closed once
            await self._close(opened.client)

    def _stamp(self) -> _Stamp:
        return tuple(None if path is None else self._seen(path) for path in (self._key, self._ca))

    def _seen(self, path: Path) -> tuple[int, int, int]:
        try:
            found = path.stat()
        except OSError as error:
            raise self._unreadable(path, error.strerror or "it cannot be read") from error
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> Credentials:
        key = None
        if self._key is not None and not (key := self._text(self._key).strip()):
            raise self._unreadable(self._key, "it is empty")
        if not self._encrypted:
            return Credentials(key, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        ca = None if self._ca is None else self._text(self._ca)
        if self._ca is not None and not ca:
            raise self._unreadable(self._ca, "it is empty")  # the system's authorities would be trusted instead
        try:
            return Credentials(key, ssl.create_default_context(cadata=ca))
        except (ssl.SSLError, ValueError) as error:
            assert self._ca is not None
            raise self._unreadable(self._ca, "it holds no PEM certificate") from error

    def _text(self, path: Path) -> str:
        try:
            with path.open("rb") as stream:
                return stream.read(MAX_FILE_BYTES).decode("ascii")
        except OSError as error:
            raise self._unreadable(path, error.strerror or "it cannot be read") from error
        except UnicodeDecodeError:
            raise self._unreadable(path, "it is not plain ASCII text") from None

    def _unreadable(self, path: Path, cause: str) -> DependencyError:
        return DependencyError(f"{path}: {cause}; correct the Secret that it comes from", dependency=self._dependency)


def shown(url: str) -> str:
    """Return a URL as it may be told: without a user and a password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
