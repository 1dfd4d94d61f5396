"""An HTTP client that connects only to hosts that a source names and to addresses that it may reach (see `addresses`).

The name is resolved here, every address of it is judged, and the connection is made to a judged address itself, so
that no second answer of a name server can lead elsewhere; the Host header and the TLS name stay the name. Environment
proxies are not used: they would connect for us, unjudged. `exchange.py` follows redirects through it one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpcore
import httpx

from lectern_runtime.ingest.connector import SourceUnavailable
from lectern_runtime.ingest.unread import unread
from lectern_runtime.ingest.web import addresses, urls
from lectern_runtime.ingest.web.addresses import Network
from lectern_runtime.ingest.web.urls import UrlRefused

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
RESOLVE_SECONDS = 10.0
MOST_CONNECTIONS = 8
MOST_ADDRESSES = 16
MAX_CA_BYTES = 1 << 20

LOCATION = "lectern.location"
"""The extension of a response that holds its Location header, which is not among its headers."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host name; raises OSError when there is none."""


async def resolve(name: str, port: int) -> Sequence[str]:
    """The addresses that the system's resolver gives, in its order."""
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class Guard:
    """Which hosts may be asked, by name, and which addresses beside the public internet."""

    hosts: frozenset[str]
    private: Sequence[Network]
    resolve: Resolve = resolve

    def admit(self, url: str) -> str:
        """The URL in its one form. Raises `DocumentError` (UrlRefused, HostNotAllowed)."""
        try:
            found = urls.canonical(url)
        except UrlRefused as error:
            raise unread("UrlRefused", f"its URL is not asked: {error}; correct the link or exclude it") from error
        name = urls.host(found)
        if name not in self.hosts:
            raise unread("HostNotAllowed", f"{name} is not asked; add it to spec.http.allowedHosts or exclude the page")
        return found

    async def addresses(self, name: str, port: int) -> list[str]:
        """The addresses of a host, all of them judged. Raises `DocumentError` (AddressRefused), else OSError."""
        try:
            ipaddress.ip_address(name)
        except ValueError:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = list(await self.resolve(name, port))
        else:
            found = [name]
        if not found:
            raise OSError(f"{name} has no address")
        if len(found) > MOST_ADDRESSES:
            found = found[:MOST_ADDRESSES]
        for address in found:
            why = addresses.refusal(address, self.private)
            if why is not None:
                raise unread(
                    "AddressRefused",
                    f"{name} is at an address that is not asked ({why}); if it is meant, name its network in "
                    "spec.http.privateNetworks",
                )
        return found


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to judged addresses only, one after the other until one answers."""

    def __init__(self, guard: Guard, inner: httpcore.AsyncNetworkBackend | None = None) -> None:
        self._guard = guard
        self._inner = inner or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to one of the host's addresses. Raises `DocumentError` for a host that may not be asked."""
        try:
            found = await self._guard.addresses(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"the name {host} was not resolved in time") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name {host} has no address") from error
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in found:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 the signature is httpcore's
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never: a socket of this machine is no web server."""
        raise httpcore.ConnectError("sockets of this machine are not asked")

    async def sleep(self, seconds: float) -> None:
        """Wait, as the pool does between its own attempts."""
        await self._inner.sleep(seconds)


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends requests that the guard admits through a pool that connects where the guard says."""

    def __init__(self, guard: Guard, tls: ssl.SSLContext) -> None:
        self._guard = guard
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=MOST_CONNECTIONS,
            keepalive_expiry=15.0,
            network_backend=PinnedBackend(guard),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, its body not read. Raises `DocumentError` for what may not be asked, and httpx's errors."""
        self._guard.admit(str(request.url))
        assert isinstance(request.stream, httpx.AsyncByteStream)
        sent = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _translated(request):
            answer = await self._pool.handle_async_request(sent)
        # httpx reads a Location even where it follows none, and fails for odd ones; `exchange.py` reads it itself.
        # Cookies are not kept: every page is read as a stranger reads it.
        kept = [(name, value) for name, value in answer.headers if name.lower() not in (b"location", b"set-cookie")]
        locations = [value for name, value in answer.headers if name.lower() == b"location"]
        return httpx.Response(
            status_code=answer.status,
            headers=kept,
            stream=_Body(answer, request),
            extensions={**answer.extensions, LOCATION: locations[-1].decode("latin-1") if locations else None},
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response, request: httpx.Request) -> None:
        self._answer, self._request = answer, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated(self._request):
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


def open_client(guard: Guard, *, tls: ssl.SSLContext, user_agent: str) -> httpx.AsyncClient:
    """A client on which nothing of the environment has a say; it follows no redirect by itself."""
    return httpx.AsyncClient(
        transport=GuardedTransport(guard, tls),
        timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
        headers={"User-Agent": user_agent, "Accept-Encoding": "gzip"},
        follow_redirects=False,
        trust_env=False,
    )


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """How servers' certificates are checked: by the authorities in `ca_file`, else by the system's.

    Raises `SourceUnavailable` when the file cannot be read or used.
    """
    if ca_file is None:
        return ssl.create_default_context()
    try:
        with Path(ca_file).open("rb") as stream:
            text = stream.read(MAX_CA_BYTES).decode("ascii")
        if not text.strip():
            raise SourceUnavailable(f"{ca_file}: it is empty; correct the Secret of spec.http.caSecretRef")
        return ssl.create_default_context(cadata=text)
    except OSError as error:
        cause = "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror or "unreadable"
        raise SourceUnavailable(f"{ca_file}: {cause}; correct the Secret of spec.http.caSecretRef") from error
    except ValueError as error:
        raise SourceUnavailable(
            f"{ca_file}: it holds no PEM certificate; correct the Secret of spec.http.caSecretRef"
        ) from error


_TRANSLATIONS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.NetworkError, httpx.NetworkError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.ProtocolError, httpx.RemoteProtocolError),
    (httpcore.TimeoutException, httpx.ReadTimeout),
)


@contextlib.contextmanager
def _translated(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        for theirs, ours in _TRANSLATIONS:
            if isinstance(error, theirs):
                raise ours(str(error), request=request) from error
        raise
