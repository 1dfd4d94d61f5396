"""The border between HTTP and the runtime: request ids, bounds of the body, admission, metrics, one log line.

The outermost part of the app. Whatever escapes a route ends here as a problem without an exception's text; the log
gets its class and the places that it passed.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, MutableMapping
from contextlib import nullcontext
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lectern_contract.errors import LecternError
from lectern_runtime.query import problems
from lectern_runtime.query.limits import Concurrency
from lectern_runtime.query.problems import Problem, Refused
from lectern_runtime.query.schema import MAX_BODY_BYTES
from lectern_runtime.query.services import Services
from lectern_runtime.query.stream import ClientLeft
from lectern_runtime.telemetry.logging import described
from lectern_runtime.telemetry.query_metrics import QueryMetrics

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_BODY_SECONDS = 10.0
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}

log = logging.getLogger("lectern_runtime.query.access")


class Border:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, *, services: Services, metrics: QueryMetrics, concurrency: Concurrency) -> None:
        self._app = app
        self._services = services
        self._metrics = metrics
        self._concurrency = concurrency

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through; lifespan and anything else that is not HTTP goes by."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passage = _Passage(scope, send, self._services)
        worked_on = scope["path"].startswith("/v1/")
        try:
            body = await _bounded(scope, receive)  # before it takes a place: senders that dawdle keep nobody out
            with self._concurrency.admitted() if worked_on else nullcontext():
                self._metrics.active.set(self._concurrency.active)
                await self._app(scope, body, passage.send)
        except ClientLeft:
            passage.code = "client_left"
        except Refused as refused:
            await passage.refuse(refused)
        except LecternError as error:
            log.warning("request failed", extra={"request_id": passage.request_id, **described(error)})
            await passage.refuse(problems.of_error(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer and no text of it
            log.error("request failed", extra={"request_id": passage.request_id, **described(error)})
            await passage.refuse(problems.internal())
        finally:
            self._metrics.active.set(self._concurrency.active)
            self._record(passage, scope, worked_on=worked_on)

    def _record(self, passage: _Passage, scope: Scope, *, worked_on: bool) -> None:
        seconds = self._services.clock() - passage.began
        route = getattr(scope.get("route"), "path", "unknown")
        said: Mapping[str, Any] = scope["lectern"]
        outcome = passage.code or said.get("outcome") or "ok"
        if passage.code:
            self._metrics.errors.labels(code=passage.code).inc()
        if worked_on:
            self._metrics.ended(route=route, outcome=outcome, seconds=seconds)
        log.log(
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

    def __init__(self, scope: MutableMapping[str, Any], send: Send, services: Services) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else services.new_id()
        self.began = services.clock()
        self.status: int | None = None
        self.code: str | None = None
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
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self._scope["path"].startswith("/v1/"):
                headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    async def refuse(self, refused: Refused) -> None:
        """Answer with a problem, or cut the response off when it has begun."""
        self.code = refused.problem.value.code
        if self.status is not None:
            return
        self._scope["lectern"]["code"] = self.code
        await problems.response(refused, self.request_id)(self._scope, _nothing, self.send)


async def _bounded(scope: Scope, receive: Receive) -> Receive:
    """The request with its body read already, at most `MAX_BODY_BYTES` and in `_BODY_SECONDS`; raises `Refused`."""
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return receive
    too_large = Refused(Problem.BODY_TOO_LARGE, f"The body may have at most {MAX_BODY_BYTES} bytes.")
    length = Headers(scope=scope).get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > MAX_BODY_BYTES:
        raise too_large
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
                if sum(map(len, parts)) > MAX_BODY_BYTES:
                    raise too_large
    except TimeoutError as late:
        raise Refused(Problem.BODY_TOO_SLOW, f"The body did not arrive within {_BODY_SECONDS:.0f} s.") from late
    body: list[Message] = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

    async def replay() -> Message:
        return body.pop() if body else await receive()

    return replay


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
