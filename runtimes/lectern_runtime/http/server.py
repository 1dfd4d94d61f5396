"""The HTTP server of a runtime's program: answers first, opens what is behind it then, ends at a signal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Coroutine, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from lectern_runtime import programs


class Server(uvicorn.Server):
    """A uvicorn that ends at a signal and leaves it at that: raised again, it would end us before adapters close."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._answers = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and note that the port answers."""
        await super().startup(sockets=sockets)
        self._answers.set()

    async def after_start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` once the port answers."""
        try:
            await self._answers.wait()
        except asyncio.CancelledError:
            work.close()
            raise
        await work

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self.handle_exit, each, None)
        yield

    def end_if_failed(self, opening: asyncio.Task[None]) -> None:
        """End when what was to be served cannot be opened."""
        if not opening.cancelled() and opening.exception() is not None:
            self.should_exit = True


async def serve(
    app: ASGIApp, listener: socket.socket, behind: Coroutine[Any, Any, None], *, drain_seconds: int
) -> None:
    """Answer with `app` at once, do what is `behind` it meanwhile, and end at a signal or when that fails.

    Requests that are being answered have `drain_seconds`. Raises what `behind` raised.
    """
    config = uvicorn.Config(
        app,
        access_log=False,
        limit_concurrency=programs.MOST_CONNECTIONS,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=drain_seconds,
    )
    server = Server(config)
    opening = asyncio.create_task(server.after_start(behind))
    opening.add_done_callback(server.end_if_failed)
    try:
        await server.serve(sockets=[listener])
    finally:
        opening.cancel()
        (ended,) = await asyncio.gather(opening, return_exceptions=True)
    if isinstance(ended, Exception):
        raise ended
