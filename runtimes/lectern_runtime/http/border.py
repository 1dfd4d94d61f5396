"""The border between HTTP and a runtime: request ids, bounds of the body, admission, metrics, one log line.

The outermost part of an app. Whatever escapes a route ends here as a problem without an exception's text; the log
gets its class and the places that it passed.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lectern_contract.errors import LecternError
from lectern_runtime.http import problems
from lectern_runtime.http.limits import Concurrency, Room
from lectern_runtime.http.problems import Refused
from lectern_runtime.telemetry.http_spans import of_request
from lectern_runtime.telemetry.logging import about, described

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class ClientLeft(Exception):
    """The client closed the connection before it had its answer; nobody is left to be told."""


class RequestMetrics(Protocol):
    """What the border records of each request."""

    def working(self, requests: int) -> None:
        """So many requests are being worked on."""

    def refused(self, code: str) -> None:
        """A request was answered with the problem of this code."""

    def ended(self, *, route: str, outcome: str, seconds: float) -> None:
        """A request of `route` (its path template) was answered."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What an API allows. `admit` sees a request under /v1 before its body is read and raises `Refused`.

    A body is read before its request takes a place, so that senders that dawdle keep nobody out, unless
    `place_first`: then a place bounds what is held in memory, and `admit` has to know whom it lets dawdle.
    """

    max_body_bytes: int
    body_seconds: float
    concurrency: Concurrency
    room: Room | None = None
    place_first: bool = False
    admit: Callable[[Scope], Awaitable[None]] | None = None


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Clock (seconds, monotonic), ids, metrics and the log that the border uses."""

    clock: Callable[[], float]
    new_id: Callable[[], str]
    metrics: RequestMetrics
    log: logging.Logger


class Border:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, *, rules: Rules, around: Surroundings) -> None:
        self._app = app
        self._rules = rules
        self._around = around

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through; lifespan and anything else that is not HTTP goes by."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passage = _Passage(scope, send, self._around)
        with about(request_id=passage.request_id), of_request(scope) as traced:
            passage.trace = traced.headers
            await self._passed(passage, scope, receive)
            traced.answered(getattr(scope.get("route"), "path", None), passage.status)

    async def _passed(self, passage: _Passage, scope: Scope, receive: Receive) -> None:
        around = self._around
        worked_on = scope["path"].startswith("/v1/")
        try:
            async with self._admitted(scope, receive, worked_on=worked_on) as body:
                await self._app(scope, body, passage.send)
        except ClientLeft:
            passage.code = "client_left"
        except Refused as refused:
            await passage.refuse(refused)
        except LecternError as error:
            around.log.warning("request failed", extra={"request_id": passage.request_id, **described(error)})
            await passage.refuse(problems.of_error(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer and no text of it
            around.log.error("request failed", extra={"request_id": passage.request_id, **described(error)})
            await passage.refuse(problems.internal())
        finally:
            around.metrics.working(self._rules.concurrency.active)
            self._record(passage, scope, worked_on=worked_on)

    @asynccontextmanager
    async def _admitted(self, scope: Scope, receive: Receive, *, worked_on: bool) -> AsyncIterator[Receive]:
        """The request with its body, in a place of its own if it is to be worked on; raises `Refused`."""
        rules, held = self._rules, _Held(self._rules.room)
        if worked_on and rules.admit is not None:
            await rules.admit(scope)
        place = rules.concurrency.admitted() if worked_on else nullcontext()
        try:
            if not rules.place_first:
                receive = await _bounded(scope, receive, rules, held)
            with place:
                self._around.metrics.working(rules.concurrency.active)
                yield await _bounded(scope, receive, rules, held) if rules.place_first else receive
        finally:
            held.release()

    def _record(self, passage: _Passage, scope: Scope, *, worked_on: bool) -> None:
        around = self._around
        seconds = around.clock() - passage.began
        route = getattr(scope.get("route"), "path", "unknown")
        said: Mapping[str, Any] = scope["lectern"]
        outcome = passage.code or said.get("outcome") or "ok"
        if passage.code:
            around.metrics.refused(passage.code)
        if worked_on:
            around.metrics.ended(route=route, outcome=outcome, seconds=seconds)
        around.log.log(
            logging.INFO if worked_on else logging.DEBUG,
            "request",
            extra={
                "request_id": passage.request_id,
                "method": scope["method"],
                "route": route,
                "status": passage.status,
                "outcome": outcome,
                "milliseconds": round(seconds * 1000, 2),
                **said,
            },
        )


class _Passage:
    """One request on its way through: its id, what was answered, and when it began."""

    def __init__(self, scope: MutableMapping[str, Any], send: Send, around: Surroundings) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else around.new_id()
        self.began = around.clock()
        self.status: int | None = None
        self.code: str | None = None
        self.trace: Mapping[str, str] = {}
        self._scope = scope
        self._send = send
        scope["lectern"] = {}
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        """Send on, with our headers on the first message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.code = self._scope["lectern"].pop("code", None)
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.request_id
            headers.update(self.trace)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self._scope["path"].startswith("/v1/"):
                headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    async def refuse(self, refused: Refused) -> None:
        """Answer with a problem, or cut the response off when it has begun."""
        self.code = refused.kind.code
        if self.status is not None:
            return
        self._scope["lectern"]["code"] = self.code
        await problems.response(refused, self.request_id)(self._scope, _nothing, self.send)


class _Held:
    """The bytes that one request holds of the replica's room."""

    def __init__(self, room: Room | None) -> None:
        self._room = room
        self._size = 0

    def add(self, size: int) -> None:
        if self._room is not None:
            self._room.take(size)
            self._size += size

    def release(self) -> None:
        if self._room is not None:
            self._room.give_back(self._size)
        self._size = 0


async def _bounded(scope: Scope, receive: Receive, rules: Rules, held: _Held) -> Receive:
    """The request with its body read already, within the bounds of `rules`; raises `Refused`."""
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return receive
    too_large = Refused(problems.BODY_TOO_LARGE, f"The body may have at most {rules.max_body_bytes} bytes.")
    length = Headers(scope=scope).get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > rules.max_body_bytes:
        raise too_large
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(rules.body_seconds):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
                size += len(parts[-1])
                held.add(len(parts[-1]))
                if size > rules.max_body_bytes:
                    raise too_large
    except TimeoutError as late:
        raise Refused(problems.BODY_TOO_SLOW, f"The body did not arrive within {rules.body_seconds:.0f} s.") from late
    body: list[Message] = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

    async def replay() -> Message:
        return body.pop() if body else await receive()

    return replay


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
