"""Two proxies that stand before the real servers and hurt what passes: one reads HTTP, the other only counts bytes.

`HttpProxy` is for the store: it can answer with an error AFTER the request was forwarded and applied, hold a write
back until its sender is long dead, slow every answer by a factor, or cut connections. `TcpProxy` is for the broker:
it cuts and delays. Both run in a loop of their own thread; rules are set from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from e2e.testbed.background import running
from e2e.testbed.process import free_ports

LIMIT = 64 << 20
CONNECT_SECONDS = 2.0
MOST_DELAY_SECONDS = 8.0
"""Of one answer, however much slower the server is to be: below the time after which a client gives up."""
WRITES = (b"PUT ", b"POST ")
WRITE_PATHS = (b"/points/batch", b"/points?", b"/points/delete")
_ERROR_BODY = b'{"status":{"error":"Service internal error: a fault of the test"},"time":0.0}'
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_ERROR_BODY),
    _ERROR_BODY,
)


@dataclass
class Rules:
    """What happens to the next requests; counts go down as they are used."""

    fail_after_apply: int = 0
    cut_after_apply: int = 0
    hold_writes: int = 0
    hold_seconds: float = 0.0
    slower: float = 1.0
    least_seconds: float = 0.0


@dataclass
class Seen:
    """What passed and what was done to it."""

    requests: int = 0
    writes: int = 0
    failed: int = 0
    cut: int = 0
    held: int = 0
    seconds: float = 0.0


@dataclass
class _Message:
    head: bytes
    body: bytes

    @property
    def whole(self) -> bytes:
        return self.head + self.body

    @property
    def is_write(self) -> bool:
        line = self.head.split(b"\r\n", 1)[0]
        return line.startswith(WRITES) and any(path in line for path in WRITE_PATHS) and b"/points/scroll" not in line


@dataclass
class HttpProxy:
    """Stands at `url` before the server at 127.0.0.1:`target`."""

    port: int
    target: int
    rules: Rules = field(default_factory=Rules)
    seen: Seen = field(default_factory=Seen)
    late: set[asyncio.Task[None]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where clients ask."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one client's requests on, one after the other, until it leaves."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError, OSError):
            server_reader, server_writer = await _connected(self.target)
            try:
                while (request := await _read(reader)) is not None:
                    if server_reader.at_eof():  # it was idle for long, and the server closed it
                        await _closed(server_writer)
                        server_reader, server_writer = await _connected(self.target)
                    answer = await self._passed(request, server_reader, server_writer)
                    if answer is None:
                        break
                    writer.write(answer)
                    await writer.drain()
            finally:
                await _closed(server_writer)
        await _closed(writer)

    async def _passed(
        self, request: _Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        """Forward a request; return the answer that the client gets, None for a cut."""
        rules, seen = self.rules, self.seen
        seen.requests += 1
        seen.writes += request.is_write
        if request.is_write and self._take("hold_writes"):
            seen.held += 1
            task = asyncio.create_task(self._later(request, rules.hold_seconds))
            self.late.add(task)
            task.add_done_callback(self.late.discard)
            await asyncio.sleep(rules.hold_seconds)
            return None
        began = time.monotonic()
        writer.write(request.whole)
        await writer.drain()
        answer = await _read(reader)
        if answer is None:
            return None
        took = time.monotonic() - began
        seen.seconds += took
        if request.is_write and self._take("fail_after_apply"):
            seen.failed += 1
            return ERROR
        if request.is_write and self._take("cut_after_apply"):
            seen.cut += 1
            return None
        if rules.slower > 1.0:
            await asyncio.sleep(min(MOST_DELAY_SECONDS, max(took, rules.least_seconds) * (rules.slower - 1.0)))
        return answer.whole

    async def _later(self, request: _Message, seconds: float) -> None:
        """Let a write reach the server although nobody waits for it any more."""
        await asyncio.sleep(seconds)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError, OSError):
            reader, writer = await _connected(self.target)
            writer.write(request.whole)
            await writer.drain()
            await _read(reader)
            await _closed(writer)

    def _take(self, rule: str) -> bool:
        with self._lock:
            left = getattr(self.rules, rule)
            if left > 0:
                setattr(self.rules, rule, left - 1)
            return bool(left > 0)


@dataclass
class TcpProxy:
    """Stands at 127.0.0.1:`port` before a server at 127.0.0.1:`target` and passes bytes."""

    port: int
    target: int
    delay_seconds: float = 0.0
    connections: int = 0
    cuts: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes both ways until one side ends or `cut` comes."""
        self._loop = asyncio.get_running_loop()
        self.connections += 1
        with contextlib.suppress(ConnectionError, TimeoutError, OSError):
            server_reader, server_writer = await _connected(self.target)
            both = {writer, server_writer}
            self._open |= both
            pumps = [
                asyncio.create_task(self._pump(reader, server_writer)),
                asyncio.create_task(self._pump(server_reader, writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in pumps:
                    each.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                self._open -= both
                await _closed(server_writer)
        await _closed(writer)

    def cut(self) -> None:
        """Break every connection that is open now, with whatever is under way in it."""
        self.cuts += 1
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for each in self._open:
            each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, OSError):
            while data := await reader.read(1 << 16):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(data)
                await writer.drain()


@contextmanager
def serving(*proxies: HttpProxy | TcpProxy) -> Iterator[None]:
    """Serve these proxies in a thread of their own until the block ends."""

    async def body(started: object) -> None:
        assert callable(started)
        async with contextlib.AsyncExitStack() as stack:
            for each in proxies:
                server = await asyncio.start_server(each.serve, "127.0.0.1", each.port, limit=LIMIT)
                stack.callback(server.close)
            started()
            await asyncio.Event().wait()

    with running("proxies", body):
        yield


def before(target: int) -> HttpProxy:
    """Return an HTTP proxy on a free port before the server at `target`."""
    return HttpProxy(free_ports(1)[0], target)


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(CONNECT_SECONDS):
        return await asyncio.open_connection("127.0.0.1", port, limit=LIMIT)


async def _read(reader: asyncio.StreamReader) -> _Message | None:
    """One HTTP message whose length is told; None at the end of the stream."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return _Message(head, await reader.readexactly(length) if length else b"")


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError, OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            await writer.wait_closed()
