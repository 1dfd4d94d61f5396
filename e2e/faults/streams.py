"""The open watches of a fault proxy: carries their lines, and drops, delays, holds or ends them as the rules say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp import web

from e2e.faults.record import Record, Told
from e2e.faults.rules import Rules

BOOKMARK = b'{"type":"BOOKMARK"'
REASONS = {410: "Expired", 500: "InternalError", 503: "ServiceUnavailable"}
NOTHING_LEFT = b""


class _Stream:
    """One open watch; `ending` becomes the HTTP status to end with, or None for a cut."""

    def __init__(self) -> None:
        self.ending: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()


class Streams:
    """All open watches of one proxy. Everything here runs in the proxy's loop."""

    def __init__(self, record: Record, rules: Callable[[], Rules]) -> None:
        self._record = record
        self._rules = rules
        self._open: set[_Stream] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def rules_changed(self) -> None:
        """Look at the rules again wherever a stream waits for them."""
        self._changed.set()
        self._changed = asyncio.Event()
        if self._rules().gone:
            self.end_all(410)
        elif self._rules().outage:
            self.end_all(None)

    def end_all(self, code: int | None) -> None:
        """End every stream with an ERROR event of that status, or cut it."""
        for stream in self._open:
            if not stream.ending.done():
                stream.ending.set_result(code)

    async def tell_error(self, response: web.StreamResponse, code: int) -> web.StreamResponse:
        """Write an ERROR event as the last of a stream."""
        await response.write(error_event(code))
        await response.write_eof()
        return response

    async def carry(
        self, request: web.Request, response: web.StreamResponse, upstream: aiohttp.ClientResponse, plural: str
    ) -> None:
        """Carry lines from the server to the operator until one of them, or a rule, ends it."""
        stream = _Stream()
        self._open.add(stream)
        try:
            while (line := await self._next(stream, upstream)) is not None:
                if line == NOTHING_LEFT:
                    await response.write_eof()
                    return
                if await self._passes(stream, line, plural):
                    await response.write(line)
            await self._end(stream, request, response)
        except (ConnectionResetError, aiohttp.ClientError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._open.discard(stream)
            stream.ending.cancel()

    async def _end(self, stream: _Stream, request: web.Request, response: web.StreamResponse) -> None:
        code = stream.ending.result()
        if code is not None:
            await self.tell_error(response, code)
        elif request.transport is not None:
            request.transport.abort()

    async def _next(self, stream: _Stream, upstream: aiohttp.ClientResponse) -> bytes | None:
        """Return the next line; None when a rule ends the stream."""
        if stream.ending.done():
            return None
        reading = asyncio.ensure_future(upstream.content.readline())
        try:
            both: set[asyncio.Future[Any]] = {reading, stream.ending}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            return None if stream.ending.done() else await reading
        finally:
            if not reading.done():
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading

    async def _passes(self, stream: _Stream, line: bytes, plural: str) -> bool:
        """Wait as long as the rules hold this line; say whether it goes on."""
        rules = self._rules()
        while rules.freezes(plural) and _version(line) > int(rules.frozen_at) and not stream.ending.done():
            changed = asyncio.ensure_future(self._changed.wait())
            both: set[asyncio.Future[Any]] = {changed, stream.ending}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            rules = self._rules()
        if line.startswith(BOOKMARK):
            return True
        key = self._record.next_event(plural)
        fate = "told"
        if rules.drop == key:
            fate = "dropped"
        elif rules.delay is not None and rules.delay.event == key:
            fate = "delayed"
            await asyncio.sleep(rules.delay.seconds)
        body = json.loads(line)
        name = body["object"].get("metadata", {}).get("name", "")
        self._record.told.append(Told(key, body["type"], name, fate))
        return fate != "dropped"


def error_event(code: int) -> bytes:
    """Return the line of an ERROR event."""
    reason = REASONS.get(code, "InternalError")
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    status |= {"message": f"a fault of the proxy: {reason}", "reason": reason, "code": code}
    return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"


def _version(line: bytes) -> int:
    found = json.loads(line)["object"].get("metadata", {}).get("resourceVersion", "0")
    return int(found)
