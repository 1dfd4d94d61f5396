"""A proxy on loopback between the operator and the API server that breaks what `rules` says.

Plain HTTP towards the operator; TLS and the administrator's token towards the server. It runs in a thread of its own.
A test assigns `rules` at any time, names the process that a `Kill` ends, and reads `record`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from e2e.faults import targets
from e2e.faults.record import Record
from e2e.faults.rules import NO_FAULTS, STATUSES, Failure, Kill, Rules
from e2e.faults.sockets import Sockets
from e2e.faults.streams import Streams
from e2e.faults.targets import Target
from e2e.testbed.background import running
from e2e.testbed.rest import Rest

MAX_BODY_BYTES = 64 << 20
MAX_LINE_BYTES = 8 << 20
CONNECT_SECONDS = 10.0
PASSED_ON = ("Content-Type", "Retry-After")
NOT_PASSED_ON = frozenset({"host", "authorization", "accept-encoding", "content-length", "connection"})
OUTAGE_RETRY_SECONDS = 1
_SILENT = logging.getLogger("lectern.faults.proxy")
_SILENT.setLevel(logging.CRITICAL)  # aiohttp reports each connection that we break on purpose as an error


class FaultProxy:
    """One proxy; `url` is where the operator finds its API server.

    `killed` is set once a `Kill` was carried out. From then until `revive` nothing more is forwarded: what a dead
    process had sent, and the proxy had not read yet, must not reach the server.
    """

    def __init__(self, rest: Rest, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.record = Record()
        self.killed = threading.Event()
        self.victim: Callable[[], None] = lambda: None
        self._rest = rest
        self._rules = NO_FAULTS
        self._requests = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None
        self._streams = Streams(self.record, lambda: self._rules)

    @property
    def rules(self) -> Rules:
        """What is broken now."""
        return self._rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._rules = rules
        self._from_outside(self._streams.rules_changed)

    def revive(self, victim: Callable[[], None]) -> None:
        """Serve a new process, and kill that one from now on."""
        self.victim = victim
        self.killed.clear()

    def break_watches(self, code: int) -> None:
        """End every open watch with an ERROR event of that HTTP status."""
        self._from_outside(lambda: self._streams.end_all(code))

    def cut_watches(self) -> None:
        """Cut the connection of every open watch."""
        self._from_outside(lambda: self._streams.end_all(None))

    @property
    def open_watches(self) -> int:
        """How many watches are open now."""
        return len(self._streams)

    def kubeconfig(self, directory: Path) -> Path:
        """Write the kubeconfig of an operator behind this proxy and return its path."""
        path = directory / f"behind-{self.url.rpartition(':')[2]}.kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "faults", "cluster": {"server": self.url}}],
            "users": [{"name": "operator", "user": {"token": "of-the-proxy"}}],
            "contexts": [{"name": "faults", "context": {"cluster": "faults", "user": "operator"}}],
            "current-context": "faults",
        }
        path.write_text(json.dumps(content))
        return path

    def _from_outside(self, act: Callable[[], None]) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(act)

    # --- in the proxy's own loop ------------------------------------------------------------------------------------

    async def serve(self, listener: socket.socket, started: Callable[[], None]) -> None:
        """Serve on `listener` until cancelled."""
        self._loop = asyncio.get_running_loop()
        tls = ssl.create_default_context(cafile=str(self._rest.ca_file))
        headers = {"Authorization": f"Bearer {self._rest.token}"}
        sockets = Sockets()
        connector = aiohttp.TCPConnector(ssl=tls, limit=0, socket_factory=sockets.open)
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, logger=_SILENT, handler_cancellation=True, shutdown_timeout=0.1)
        try:
            async with aiohttp.ClientSession(
                connector=connector, headers=headers, auto_decompress=False, read_bufsize=MAX_LINE_BYTES
            ) as self._session:
                await runner.setup()
                await web.SockSite(runner, listener).start()
                started()
                await asyncio.Event().wait()
        finally:
            await runner.cleanup()
            await sockets.closed()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.killed.is_set():
            return _broken(request)
        self._requests += 1
        self.record.came(request.method, request.path_qs)
        is_watch = request.query.get("watch", "").lower() in ("1", "true")
        body = await request.read()
        target = _target(request, body)
        writes = request.method not in targets.READS
        failure = self._failure(writes)
        if failure not in (None, "lost-answer"):
            return await self._refuse(request, failure)
        if is_watch:
            return await self._watch(request, target)
        if writes:
            return await self._write(request, target, body, lost=failure == "lost-answer")
        status, headers, content = await self._forward(request, self._frozen_query(request, target), body)
        return self._answer(request, status, headers, content)

    def _failure(self, writes: bool) -> Failure | None:
        if self._rules.outage:
            return "unavailable"
        errors = self._rules.errors
        return None if errors is None else errors.draw(self._requests, write=writes)

    async def _refuse(self, request: web.Request, failure: Failure | None) -> web.StreamResponse:
        errors = self._rules.errors
        if failure is None or failure not in STATUSES:
            await asyncio.sleep(5.0 if errors is None else errors.silence_seconds)
            return _broken(request)
        code, reason = STATUSES[failure]
        headers: CIMultiDict[str] = CIMultiDict({"Content-Type": "application/json"})
        if code in (429, 503):
            headers["Retry-After"] = str(OUTAGE_RETRY_SECONDS if errors is None else errors.retry_after)
        return self._answer(request, code, headers, json.dumps(status_object(code, reason)).encode())

    async def _write(
        self, request: web.Request, target: Target, body: bytes, *, lost: bool = False
    ) -> web.StreamResponse:
        key = self.record.next_write(request.method, target)
        if self._rules.kill == Kill("before", key):
            return self._kill(request)
        status, headers, content = await self._forward(request, request.query_string, body)
        if target.changes_state:
            self.record.wrote(key, target, body, status, content)
        if self._rules.kill == Kill("after", key):
            return self._kill(request)
        return _broken(request) if lost else self._answer(request, status, headers, content)

    def _kill(self, request: web.Request) -> web.StreamResponse:
        self.victim()
        self.killed.set()
        return _broken(request)

    def _frozen_query(self, request: web.Request, target: Target) -> str:
        """Let a list show the past: the server itself keeps it for five minutes and answers it exactly."""
        at = self._rules.frozen_at
        if not self._rules.freezes(target.plural) or target.name or not target.plural or "continue" in request.query:
            return request.query_string
        return str(request.url.update_query(resourceVersion=at, resourceVersionMatch="Exact").query_string)

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if self._rules.gone:
            await response.prepare(request)
            return await self._streams.tell_error(response, 410)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        async with self._open(request, request.query_string, b"", timeout) as upstream:
            if upstream.status != 200:
                content = await upstream.read()
                return self._answer(request, upstream.status, _headers(upstream), content)
            await response.prepare(request)
            await self._streams.carry(request, response, upstream, target.plural)
        return response

    async def _forward(self, request: web.Request, query: str, body: bytes) -> tuple[int, CIMultiDict[str], bytes]:
        async with self._open(request, query, body, aiohttp.ClientTimeout(total=60)) as upstream:
            return upstream.status, _headers(upstream), await upstream.read()

    def _open(
        self, request: web.Request, query: str, body: bytes, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.client._RequestContextManager:
        assert self._session is not None
        headers = {key: value for key, value in request.headers.items() if key.lower() not in NOT_PASSED_ON}
        headers["Accept-Encoding"] = "identity"
        url = f"{self._rest.url}{request.raw_path.partition('?')[0]}" + (f"?{query}" if query else "")
        return self._session.request(
            request.method, URL(url, encoded=True), data=body or None, headers=headers, timeout=timeout
        )

    def _answer(
        self, request: web.Request, status: int, headers: CIMultiDict[str], content: bytes
    ) -> web.StreamResponse:
        self.record.answered(request.method, request.path_qs, status, headers)
        return web.Response(status=status, headers=headers, body=content)


def status_object(code: int, reason: str) -> dict[str, object]:
    """Return Kubernetes' own form of an error."""
    message = f"a fault of the proxy: {reason}"
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


@contextmanager
def fault_proxy(rest: Rest) -> Iterator[FaultProxy]:
    """Serve a proxy before the API server of `rest` until the block ends."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        proxy = FaultProxy(rest, listener.getsockname()[1])
        with running("fault-proxy", lambda started: proxy.serve(listener, started)):
            yield proxy


def _target(request: web.Request, body: bytes) -> Target:
    found = targets.of_path(request.path)
    if request.method != "POST" or found.name or not body:
        return found
    try:
        name = json.loads(body).get("metadata", {}).get("name", "")
    except (ValueError, AttributeError):
        return found
    return Target(found.plural, found.namespace, str(name))


def _headers(upstream: aiohttp.ClientResponse) -> CIMultiDict[str]:
    return CIMultiDict({name: upstream.headers[name] for name in PASSED_ON if name in upstream.headers})


def _broken(request: web.Request) -> web.StreamResponse:
    """Break the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)
