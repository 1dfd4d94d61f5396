"""An HTTP server inside a program that has signals and a life of its own: uvicorn on a bound socket.

`embedded` binds first, so that a port in use is said before anything is opened, and serves once the app
is made. Leaving the context drains requests and stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

from lectern_contract.errors import ConfigurationError
from lectern_runtime.programs import MOST_CONNECTIONS

DRAIN_SECONDS = 10


def url_of(server: socket.socket) -> str:
    """Where a browser on this machine reaches `server`."""
    host, port = server.getsockname()[:2]
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 compared with, not bound to
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, server: socket.socket) -> AsyncIterator[None]:
    """Serve `app` on `server`; yields once it answers. Raises `ConfigurationError` when it cannot start."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    running = _Server(config)
    task = asyncio.create_task(running.serve(sockets=[server]))
    ready = asyncio.create_task(running.ready.wait())
    try:
        await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
        if not running.ready.is_set():
            await task
            raise ConfigurationError("the HTTP server ended while it started; its log says why")
        yield
    finally:
        ready.cancel()
        running.should_exit = True
        await task


class _Server(uvicorn.Server):
    """A uvicorn that tells when it answers and leaves signals to the program that it runs in."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets=sockets)
        except SystemExit:  # its way to say that the app did not start; this program has more to close than it knows
            self.should_exit = True
        if self.started:
            self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
