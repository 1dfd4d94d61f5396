"""The asynchronous client of the fakes: JSON requests and an endless list-and-watch over one aiohttp session.

aiohttp instead of the generated client: the fakes need four verbs, and its import alone costs a second of CPU.
"""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from e2e.testbed.errors import ApiRefused
from e2e.testbed.rest import Rest, judged

MERGE_PATCH = "application/merge-patch+json"
REQUEST_SECONDS = 15.0
WATCH_SECONDS = 300
RETRY_SECONDS = 0.5
CLOSE_SECONDS = 2.0
MAX_CONNECTIONS = 8
MAX_LINE_BYTES = 4 * 1024 * 1024

Kind = Literal["listed", "ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True)
class Event:
    """What a watch tells: one object, or (`listed`) all objects that exist now."""

    kind: Kind
    objects: tuple[dict[str, Any], ...]


class Api:
    """Requests as the user of `rest`, at most `MAX_CONNECTIONS` at a time besides the watches."""

    def __init__(self, session: aiohttp.ClientSession, rest: Rest) -> None:
        self._session = session
        self._base = rest.url
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)

    async def request(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """Send one request and return the answer; raises ApiRefused, or OSError/TimeoutError without an answer."""
        data = None if body is None else json.dumps(body)
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        headers = {"Content-Type": content_type}
        async with (
            self._slots,
            self._session.request(method, self._base + path, data=data, headers=headers, timeout=timeout) as answer,
        ):
            return judged(method, path, answer.status, await answer.read())

    async def insist(self, method: str, path: str, body: object = None) -> dict[str, Any] | None:
        """Send a request until the server answers it; None where the object is gone or another one (404, 409).

        A server that is away, overloaded or failing is asked again; raises ApiRefused where the request is wrong.
        """
        content_type = MERGE_PATCH if method == "PATCH" else "application/json"
        while True:
            try:
                return await self.request(method, path, body, content_type=content_type)
            except ApiRefused as refused:
                if refused.status in (404, 409):
                    return None
                if refused.status < 500 and refused.status != 429:
                    raise
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass  # tests stop the server and cut it off
            await asyncio.sleep(RETRY_SECONDS)

    async def watch(self, path: str, fields: str = "") -> AsyncIterator[Event]:
        """Yield what exists at the collection `path`, then every change; list again whenever the stream is lost.

        `fields` is a field selector: what begins to match it is ADDED. A collection that the server does not know
        (yet) is asked for again until it does.
        """
        while True:
            try:
                found = await self.request("GET", f"{path}?fieldSelector={fields}" if fields else path)
                yield Event("listed", tuple(found["items"]))
                async for event in self._stream(path, fields, found["metadata"]["resourceVersion"]):
                    yield event
            except (aiohttp.ClientError, OSError, TimeoutError, ApiRefused) as error:
                if isinstance(error, ApiRefused) and error.status in (401, 403):
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def _stream(self, path: str, fields: str, version: str) -> AsyncIterator[Event]:
        query = f"?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}"
        query += f"&fieldSelector={fields}" if fields else ""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=WATCH_SECONDS + 30)
        async with self._session.get(self._base + path + query, timeout=timeout) as answer:
            if answer.status != 200:
                judged("GET", path, answer.status, await answer.read())
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":  # mostly 410 Gone: list again
                    raise _error(event["object"])
                if event["type"] != "BOOKMARK":
                    yield Event(event["type"], (event["object"],))


def _error(status: Mapping[str, Any]) -> ApiRefused:
    return ApiRefused(int(status.get("code", 500)), str(status.get("reason")), str(status.get("message")))


@asynccontextmanager
async def connect(rest: Rest) -> AsyncIterator[Api]:
    """Open a session as the user of `rest` and close it, and every socket that it used, at the end."""
    tls = ssl.create_default_context(cafile=str(rest.ca_file))
    sockets: list[socket.socket] = []

    def open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
        sockets[:] = [each for each in sockets if each.fileno() != -1]
        sockets.append(socket.socket(family=address[0], type=address[1], proto=address[2]))
        return sockets[-1]

    # The semaphore limits requests; watches hold connections beside them.
    connector = aiohttp.TCPConnector(ssl=tls, limit=0, socket_factory=open_socket)
    headers = {"Authorization": f"Bearer {rest.token}", "Accept": "application/json"}
    try:
        async with aiohttp.ClientSession(connector=connector, headers=headers, read_bufsize=MAX_LINE_BYTES) as session:
            yield Api(session, rest)
    finally:
        await _closed(sockets)


async def _closed(sockets: list[socket.socket]) -> None:
    """Wait for connections that were cancelled: aiohttp leaves them to a TLS farewell that outlives the session."""
    deadline = time.monotonic() + CLOSE_SECONDS
    while (lingering := [each for each in sockets if each.fileno() != -1]) and time.monotonic() < deadline:
        for each in lingering:
            with suppress(OSError):  # no longer connected
                each.shutdown(socket.SHUT_RDWR)
        await asyncio.sleep(0.005)
