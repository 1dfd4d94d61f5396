"""A web server on loopback for tests: it answers as a table says and remembers what it was asked.

It listens on an address of its own (127.0.0.2 by default), so that a test can allow it and nothing else.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

ADDRESS = "127.0.0.2"


@dataclass(frozen=True, slots=True)
class Said:
    """One answer."""

    body: bytes | str = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def html(body: str, **headers: str) -> Said:
    """A page."""
    return Said(body, headers={"Content-Type": "text/html; charset=utf-8", **headers})


def moved(target: str, status: int = 302) -> Said:
    """A redirect."""
    return Said(status=status, headers={"Location": target})


@dataclass(slots=True)
class Asked:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]


Answers = Callable[[web.Request], Awaitable[Said | web.StreamResponse]]
Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class WebServer:
    """`pages` may be changed while it runs; a callable answers by itself, `otherwise` what is not there.

    `answering` answers everything, whatever the pages say.
    """

    pages: dict[str, Said | Answers]
    port: int = 0
    scheme: str = "http"
    asked: list[Asked] = field(default_factory=list)
    otherwise: Said = Said(status=404)
    answering: Answers | None = None

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [each.path for each in self.asked]

    def url(self, path: str = "/", host: str = ADDRESS) -> str:
        """The URL of a path under some name."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer by the table."""
        self.asked.append(Asked(request.raw_path, dict(request.headers)))
        found = self.answering or self.pages.get(request.raw_path, self.otherwise)
        said = found if isinstance(found, Said) else await found(request)
        if isinstance(said, web.StreamResponse):
            return said
        body = said.body.encode() if isinstance(said.body, str) else said.body
        etag = said.headers.get("ETag")
        if said.status == 200 and etag and request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(status=said.status, body=body, headers=said.headers)


@asynccontextmanager
async def listening(
    answer: Answering, *, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Have `answer` asked for every path at the port that is yielded, until the block ends."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, address, 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving(
    pages: Mapping[str, Said | Answers], *, address: str = ADDRESS, tls: ssl.SSLContext | None = None
) -> AsyncIterator[WebServer]:
    """The server, until the block ends."""
    server = WebServer(dict(pages), scheme="https" if tls else "http")
    async with listening(server.answer, address=address, tls=tls) as server.port:
        yield server
