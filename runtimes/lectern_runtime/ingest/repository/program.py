"""Runs the `git` program with bounds on time, output and the size of files, and ends all its children with it.

Used by `checkout.py` and `blobs.py`. Nothing of the caller's environment reaches git but PATH, and nothing of a
system's or a user's configuration: what git may do stands in the environment that is handed in.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lectern_runtime.ingest.connector import SourceUnavailable

MAX_OUTPUT_BYTES = 1 << 20
MAX_ERROR_BYTES = 16384
MAX_RECORD_BYTES = 1 << 16
"""A path with what stands before it in a listing."""
_BLOCK = 512
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left: its exit status, its output up to the limit, the beginning of what it complained of."""

    status: int
    output: bytes
    errors: str


@dataclass(frozen=True, slots=True)
class Git:
    """The program with the environment it runs in; `directory` is the repository."""

    environment: Mapping[str, str]
    directory: Path

    async def run(
        self, arguments: Sequence[str], *, seconds: float, given: bytes = b"", file_bytes: int | None = None
    ) -> Ended:
        """Run one command to its end. Raises `TimeoutError`, or `SourceUnavailable` where there is no git.

        `file_bytes` is the size that no file it writes may pass: the system ends a command that tries.
        """
        async with asyncio.timeout(seconds), self.started(arguments, file_bytes=file_bytes) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            _, output, errors = await asyncio.gather(
                _give(process.stdin, given),
                _beginning(process.stdout, MAX_OUTPUT_BYTES),
                _beginning(process.stderr, MAX_ERROR_BYTES),
            )
            status = await process.wait()
        return Ended(status, output, errors.decode("utf-8", "replace"))

    async def records(self, arguments: Sequence[str], *, seconds: float) -> AsyncIterator[bytes]:
        """The output's records, which end with a NUL, as they come. Raises `SourceUnavailable` where it fails.

        `seconds` bounds each wait for the next piece of output.
        """
        async with self.started(arguments) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            complaints = asyncio.create_task(_beginning(process.stderr, MAX_ERROR_BYTES))
            try:
                rest = b""
                while part := await asyncio.wait_for(process.stdout.read(_READ_BYTES), seconds):
                    *whole, rest = (rest + part).split(b"\0")
                    if len(rest) > MAX_RECORD_BYTES:
                        break
                    for record in whole:
                        yield record
                if rest:
                    raise _damaged()
                async with asyncio.timeout(seconds):
                    if await process.wait():
                        raise _damaged()
            except TimeoutError as error:
                raise _damaged() from error
            finally:
                complaints.cancel()
                await asyncio.gather(complaints, return_exceptions=True)

    @asynccontextmanager
    async def started(self, arguments: Sequence[str], *, file_bytes: int | None = None) -> AsyncIterator[Process]:
        """The running command; all that is left of it is killed when the block ends."""
        command = ("git", *arguments)
        if file_bytes is not None:
            command = ("sh", "-c", 'ulimit -f "$0" && exec git "$@"', str(file_bytes // _BLOCK + 1), *arguments)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                cwd=self.directory,
                env={"PATH": os.environ.get("PATH", os.defpath), **self.environment},
                start_new_session=True,
            )
        except OSError as error:
            raise SourceUnavailable(
                f"the program git cannot be started ({error.strerror}); use an image that has it"
            ) from error
        try:
            yield process
        finally:
            await _end(process)


async def _end(process: Process) -> None:
    """Kill the command with its children, which share its session, and wait for it whatever else happens."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    await asyncio.shield(process.wait())


async def _give(stream: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # it ended before it read all: its status says more
        stream.write(data)
        await stream.drain()
    stream.close()


async def _beginning(stream: asyncio.StreamReader, limit: int) -> bytes:
    """Read to the end, so that nobody waits for us, and keep the first `limit` bytes."""
    kept = bytearray()
    while part := await stream.read(_READ_BYTES):
        kept += part[: limit - len(kept)]
    return bytes(kept)


def _damaged() -> SourceUnavailable:
    return SourceUnavailable("git could not list what it fetched; see the space below the temporary directory")
