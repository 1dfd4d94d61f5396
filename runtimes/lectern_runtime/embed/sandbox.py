"""Runs the parsers in a process of their own, with limits, so that no document can hurt the worker.

`ParserSandbox` is the worker's side; `python -m lectern_runtime.embed.sandbox` is the other. The process is
started once and kept warm; one that overruns its time, dies or answers nonsense is killed and replaced by the
next call. Both sides exchange frames of a length and bytes; nothing that the child says is executed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import struct
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from lectern_contract.errors import DependencyError, DocumentError
from lectern_runtime.embed.parsed import ParsedDocument

MIB = 1 << 20
START_SECONDS = 60.0
RECYCLE_BYTES = 2 * MIB
"""After a document this large the process is replaced, because it would keep the memory that it needed."""
_HEAD = struct.Struct(">Q")
_CPU_SLACK_SECONDS = 2


class Parser(Protocol):
    """Whatever turns bytes into text."""

    async def parse(self, data: bytes, media_type: str) -> ParsedDocument:
        """The text of a document. Raises `DocumentError` when the document is at fault."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may cost: seconds of wall clock, and bytes of input; memory follows from the latter."""

    seconds: float
    document_bytes: int

    @property
    def memory_bytes(self) -> int:
        """Address space of the process: the program itself, and a multiple of the largest document."""
        return 512 * MIB + 24 * self.document_bytes

    @property
    def output_bytes(self) -> int:
        """Longest answer: text of three characters for each byte, escaped, with its blocks."""
        return 16 * MIB + 12 * self.document_bytes


class ParserSandbox:
    """One warm parser process. Calls wait for each other; `async with` or `close` ends it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def pid(self) -> int | None:
        """Id of the process that is warm now."""
        return self._process.pid if self._process is not None else None

    async def parse(self, data: bytes, media_type: str) -> ParsedDocument:
        """The text of a document. Raises `DocumentError`: TooLarge, TimedOut, ParserCrashed, or as the parser."""
        if len(data) > self._limits.document_bytes:
            raise _fault("TooLarge", f"it has {len(data)} bytes, the limit is {self._limits.document_bytes}")
        async with self._lock:
            process = await self._warm()
            try:
                async with asyncio.timeout(self._limits.seconds):
                    answer = await self._ask(process, data, media_type)
            except TimeoutError:
                await self.close()
                raise _fault("TimedOut", f"parsing took longer than {self._limits.seconds:g} seconds") from None
            except (asyncio.IncompleteReadError, ConnectionError, _Nonsense) as error:
                await self.close()
                raise _fault("ParserCrashed", f"the parser ended while it read the document: {error!r}") from error
            except BaseException:
                # Cancelled in the middle of an exchange: what the process says next belongs to nobody.
                await self.close()
                raise
            if len(data) > RECYCLE_BYTES:
                await self.close()
        return answer

    async def close(self) -> None:
        """Kill the process, if there is one, and wait for its end."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        # The transport is closed by the loop's next step; without it a later end of the loop would complain.
        await asyncio.sleep(0)

    async def _warm(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self.close()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lectern_runtime.embed.sandbox", str(self._limits.memory_bytes)),
            str(int(self._limits.seconds) + _CPU_SLACK_SECONDS),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # a library's warning may quote the document
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "LANG": "C.UTF-8"},
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await _receive(self._process, limit=MIB)
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            await self.close()
            raise DependencyError(
                f"the parser process did not start within {START_SECONDS:g} seconds; check the memory and process "
                "limits of this container",
                dependency="parser",
            ) from error
        except BaseException:
            await self.close()
            raise
        return self._process

    async def _ask(self, process: asyncio.subprocess.Process, data: bytes, media_type: str) -> ParsedDocument:
        assert process.stdin is not None
        for part in (media_type.encode(), data):
            process.stdin.write(_HEAD.pack(len(part)))
            process.stdin.write(part)
        await process.stdin.drain()
        raw = await _receive(process, limit=self._limits.output_bytes)
        try:
            answer = json.loads(raw)
            if "fault" in answer:
                raise _fault(str(answer["fault"])[:64], str(answer["message"])[:512])
            return ParsedDocument.from_json(answer)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise _Nonsense(type(error).__name__) from error


class _Nonsense(Exception):
    """The parser's answer is none."""


async def _receive(process: asyncio.subprocess.Process, *, limit: int) -> bytes:
    assert process.stdout is not None
    (length,) = _HEAD.unpack(await process.stdout.readexactly(_HEAD.size))
    if length > limit:
        raise _Nonsense(f"an answer of {length} bytes")
    return await process.stdout.readexactly(length)


def _fault(reason: str, message: str) -> DocumentError:
    return DocumentError(message, stage="parse", reason=reason)


# ------------------------------------------------------------------------------------ inside the sandbox


def main() -> None:
    """Answer one document after another until the worker closes the pipe."""
    from lectern_runtime.embed import parse

    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    isolate(memory)
    _send(outgoing, {})
    while (media_type := _read_frame(incoming)) is not None:
        data = _read_frame(incoming)
        if data is None:
            return
        _limit_cpu(seconds)
        try:
            answer: dict[str, Any] = parse.parse(data, media_type.decode()).to_json()
        except DocumentError as error:
            answer = {"fault": error.reason, "message": str(error)}
        except MemoryError:
            answer = {"fault": "OutOfMemory", "message": "parsing needs more memory than a document of this size may"}
        except RecursionError:
            answer = {"fault": "TooDeep", "message": "its parts are nested too deeply"}
        _send(outgoing, answer)


def isolate(memory_bytes: int) -> None:
    """Give up what no parser needs: memory without end, files to write, processes, and the network."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    _leave_network()
    sys.addaudithook(_refuse)


def _leave_network() -> None:
    """Move into a network namespace without interfaces where the kernel allows it; the audit hook stands anyway."""
    import ctypes

    new_user, new_net = 0x10000000, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(new_net) != 0:
        libc.unshare(new_user | new_net)


_REFUSED = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "os.spawn", "ctypes.")


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Stop Python code that wants a socket, a process or a file to write: no parser here has a reason to."""
    if event.startswith(_REFUSED):
        raise PermissionError(f"{event} is not allowed in the parser")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        raise PermissionError("writing files is not allowed in the parser")


def _limit_cpu(seconds: int) -> None:
    # The limit counts from the start of the process, which outlives many documents.
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _read_frame(stream: BinaryIO) -> bytes | None:
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    (length,) = _HEAD.unpack(head)
    data = stream.read(length)
    return data if len(data) == length else None


def _send(stream: BinaryIO, answer: dict[str, Any]) -> None:
    raw = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
    stream.write(_HEAD.pack(len(raw)))
    stream.write(raw)
    stream.flush()


if __name__ == "__main__":
    main()
