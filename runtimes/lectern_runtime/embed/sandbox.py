"""Runs the parsers in processes of their own, with limits, so that no document can hurt the worker.

`ParserSandbox` is the worker's side, `parser_process` the other. The processes are started by the first documents
that need them and kept warm; one that overruns its time, dies, answers nonsense or has grown large is killed, and
the next document gets another. Both sides exchange frames of a length and bytes; nothing that a child says is
executed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_runtime.embed import parser_process
from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers.faults import fault

MIB = 1 << 20
START_SECONDS = 60.0
MAX_PROCESSES = 4
RECYCLE_BYTES = 160 * MIB
"""A process that is this large between documents is replaced, because it keeps memory that it no longer needs."""
PATIENCE_SECONDS = 0.4
"""A document that takes longer goes on at a lower priority, so that it does not hold up the others."""
_LOW_PRIORITY = 15
_PIPE_BYTES = MIB
"""A document that fits into the pipe costs one change from process to process."""
_OCR_BYTES = 512 * MIB
_CPU_SLACK_SECONDS = 2
_ALLOWED_VARIABLES = ("TESSDATA_PREFIX",)


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
        """Address space of a process: the program itself, and a multiple of the largest document."""
        return 512 * MIB + 24 * self.document_bytes

    @property
    def output_bytes(self) -> int:
        """Longest answer: text of three characters for each byte, escaped, with its blocks."""
        return 16 * MIB + 12 * self.document_bytes


def usual_processes() -> int:
    """As many as there are processors for this program, and at most four: the worker needs some of them itself."""
    return min(MAX_PROCESSES, max(1, len(os.sched_getaffinity(0))))


class ParserSandbox:
    """Warm parser processes. More calls than processes wait for each other; `async with` or `close` ends them."""

    def __init__(self, limits: Limits, *, processes: int | None = None, ocr_languages: Sequence[str] = ()) -> None:
        """`processes` left out means `usual_processes`. With `ocr_languages` pictures of text are read as well."""
        self._limits = limits
        self._languages = tuple(ocr_languages)
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._free = asyncio.Semaphore(usual_processes() if processes is None else processes)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Ids of the processes that are warm now."""
        return tuple(child.pid for child in (*self._idle, *self._busy))

    async def parse(self, data: bytes, media_type: str) -> ParsedDocument:
        """The text of a document. Raises `DocumentError`: TooLarge, TimedOut, ParserCrashed, or as the parser.

        Raises `ConfigurationError` when OCR is asked for and not installed, `DependencyError` when no process starts.
        """
        if len(data) > self._limits.document_bytes:
            raise fault("TooLarge", f"it has {len(data)} bytes, the limit is {self._limits.document_bytes}")
        async with self._free:
            child = await self._warm()
            self._busy.add(child)
            healthy = False
            patience = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, child.give_way)
            try:
                async with asyncio.timeout(self._limits.seconds):
                    answer = await child.ask(data, media_type)
                healthy = child.in_front_again() and int(str(answer.get("resident", 0))) <= RECYCLE_BYTES
                return _document(answer)
            except TimeoutError:
                raise fault("TimedOut", f"parsing took longer than {self._limits.seconds:g} seconds") from None
            except (asyncio.IncompleteReadError, ConnectionError, _Nonsense) as error:
                healthy = False
                raise fault("ParserCrashed", f"the parser ended while it read the document: {error!r}") from error
            finally:
                # Also when cancelled in the middle of an exchange: what that process says next belongs to nobody.
                patience.cancel()
                self._busy.discard(child)
                if healthy:
                    self._idle.append(child)
                else:
                    await child.close()

    async def close(self) -> None:
        """Kill all processes and wait for their end."""
        children, self._idle = [*self._idle, *self._busy], []
        for child in children:
            await child.close()

    async def _warm(self) -> _Child:
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            await child.close()
        return await _Child.started(self._limits, self._languages)


class _Child:
    """One parser process."""

    def __init__(self, process: asyncio.subprocess.Process, limits: Limits) -> None:
        self._process, self._limits = process, limits
        self.gave_way = False

    @classmethod
    async def started(cls, limits: Limits, languages: Sequence[str]) -> _Child:
        memory = limits.memory_bytes + (_OCR_BYTES if languages else 0)
        environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "LANG": "C.UTF-8"}
        environment |= {name: os.environ[name] for name in _ALLOWED_VARIABLES if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", parser_process.__name__, str(memory)),
            *(str(int(limits.seconds) + _CPU_SLACK_SECONDS), *languages),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_PIPE_BYTES,
            pipesize=_PIPE_BYTES,
            stderr=asyncio.subprocess.DEVNULL,  # a library's warning may quote the document
            env=environment | {"OMP_THREAD_LIMIT": "1"},
        )
        child = cls(process, limits)
        try:
            async with asyncio.timeout(START_SECONDS):
                hello = _read(await child._receive(limit=MIB))
        except (TimeoutError, asyncio.IncompleteReadError, _Nonsense) as error:
            await child.close()
            raise DependencyError(
                f"the parser process did not start within {START_SECONDS:g} seconds; check the memory and process "
                "limits of this container",
                dependency="parser",
            ) from error
        except BaseException:
            await child.close()
            raise
        if "configuration" in hello:
            await child.close()
            raise ConfigurationError(str(hello["configuration"])[:512])
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def give_way(self) -> None:
        """Let the others go first from now on."""
        self.gave_way = True
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, self.pid, _LOW_PRIORITY)

    def in_front_again(self) -> bool:
        """Whether the process has its usual priority, or may have it back: most systems do not give it back."""
        if self.gave_way:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.setpriority(os.PRIO_PROCESS, self.pid, os.getpriority(os.PRIO_PROCESS, 0))
                self.gave_way = False
        return not self.gave_way

    async def ask(self, data: bytes, media_type: str) -> dict[str, object]:
        """The answer to one document, as it came."""
        assert self._process.stdin is not None
        pack = parser_process.HEAD.pack
        kind = media_type.encode()
        self._process.stdin.writelines((pack(len(kind)), kind, pack(len(data)), data))
        await self._process.stdin.drain()
        return _read(await self._receive(limit=self._limits.output_bytes))

    async def close(self) -> None:
        """Kill the process and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        # The transport is closed by the loop's next step; without it a later end of the loop would complain.
        await asyncio.sleep(0)

    async def _receive(self, *, limit: int) -> bytes:
        assert self._process.stdout is not None
        head = await self._process.stdout.readexactly(parser_process.HEAD.size)
        (length,) = parser_process.HEAD.unpack(head)
        if length > limit:
            raise _Nonsense(f"an answer of {length} bytes")
        return await self._process.stdout.readexactly(length)


class _Nonsense(Exception):
    """The parser's answer is none."""


def _read(raw: bytes) -> dict[str, object]:
    try:
        answer = json.loads(raw)
    except ValueError as error:
        raise _Nonsense(type(error).__name__) from error
    if not isinstance(answer, dict):
        raise _Nonsense("an answer that is no object")
    return answer


def _document(answer: dict[str, object]) -> ParsedDocument:
    if "fault" in answer:
        raise fault(str(answer["fault"])[:64], str(answer.get("message"))[:512])
    try:
        return ParsedDocument.from_json(answer)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _Nonsense(type(error).__name__) from error
