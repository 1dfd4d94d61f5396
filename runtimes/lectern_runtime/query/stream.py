"""Sends an answer as server-sent events, and stops all work for a client that has gone.

Routes hand over events that have begun well: the first one is there before the response starts, so that whatever
fails until then is an ordinary problem with its own status.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from lectern_runtime.http.border import ClientLeft
from lectern_runtime.http.problems import Refused
from lectern_runtime.query.problems import Problem

T = TypeVar("T")


def server_sent_event(data: object, event: str | None = None) -> bytes:
    """One event; `data` becomes JSON on one line."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


async def finished(request: Request, work: Coroutine[Any, Any, T], *, deadline: float) -> T:
    """The result of `work`, which ends at `deadline` (of the loop's clock) or when the client goes away."""
    async with within(deadline):
        working = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(_left(request.receive))
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ClientLeft
            return working.result()
        finally:
            for task in (working, leaving):
                task.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)


class within:  # noqa: N801 - reads as a statement
    """`asyncio.timeout_at` that ends in the problem `deadline_exceeded`."""

    def __init__(self, deadline: float) -> None:
        self._timeout = asyncio.timeout_at(deadline)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise Refused(
                Problem.DEADLINE_EXCEEDED, "The answer was not ready in the time that this endpoint allows."
            ) from late


async def begun(events: AsyncGenerator[T, None], *, deadline: float) -> AsyncGenerator[T, None]:
    """The same events until `deadline`, once the first one is there; whatever it raises is raised here."""
    timed = _timed(events, deadline)
    try:
        first = await anext(timed)
    except BaseException:
        await timed.aclose()
        raise
    return _from(first, timed)


async def _from(first: T, rest: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    async with aclosing(rest):
        yield first
        async for event in rest:
            yield event


async def _timed(events: AsyncGenerator[T, None], deadline: float) -> AsyncGenerator[T, None]:
    """The events, each awaited until `deadline`. The time that the reader takes is bounded by `EventStream`."""
    async with aclosing(events):
        while True:
            try:
                async with within(deadline):
                    event = await anext(events)
            except StopAsyncIteration:
                return
            yield event


class EventStream(Response):
    """A response of server-sent events that ends at `deadline`, slow readers included."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], *, deadline: float, headers: dict[str, str]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **headers})
        del self.headers["content-length"]
        self._events = events
        self._deadline = deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all events; a client that leaves, or a deadline that passes, closes them."""
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            with contextlib.suppress(TimeoutError):  # a reader that takes too long is cut off without an end
                async with asyncio.timeout_at(self._deadline + _GRACE_SECONDS):
                    await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._events.aclose()
        if sending.done() and not sending.cancelled():
            sending.result()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for data in self._events:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


_GRACE_SECONDS = 1.0
"""For the last event, which says that the deadline passed."""


async def _left(receive: Receive) -> None:
    """Return once the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
