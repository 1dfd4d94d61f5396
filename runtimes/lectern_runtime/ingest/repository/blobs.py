"""Fetches files of a partial clone, many in one exchange, and reads them one by one.

Used by the git connector. Each group lies in a repository of its own that is removed when two newer ones are there, so
that the disk holds a bounded part of the remote, whatever its size. What a file takes over the wire is bounded by the
size of files that git may write: a group that passes it is halved until the file is alone that is too large.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from lectern_contract.errors import DocumentError
from lectern_runtime.ingest.connector import SourceUnavailable
from lectern_runtime.ingest.repository import faults
from lectern_runtime.ingest.repository.program import Git
from lectern_runtime.ingest.repository.remote import Remote
from lectern_runtime.ingest.unread import too_large, unread

GROUP_BYTES = 64 << 20
KEPT_GROUPS = 3
"""What a run reads lies in the group that was listed last and the one before."""
READ_SECONDS = 120.0
_SPARE_BYTES = 1 << 20
_HEADER_BYTES = 256


@dataclass(slots=True)
class _Group:
    git: Git
    blobs: frozenset[str] = frozenset()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    process: Process | None = None
    closing: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)


class Blobs:
    """The files of one remote by their object ids, of at most `max_bytes` each; `directory` is private."""

    def __init__(self, remote: Remote, directory: Path, *, max_bytes: int, whole: Git | None) -> None:
        """`whole` is a repository that has all files already, where the server sent them."""
        self._remote = remote
        self._directory = directory
        self._max_bytes = max_bytes
        self._whole = _Group(whole) if whole is not None else None
        self._groups: list[_Group] = []
        self._faults: dict[str, DocumentError] = {}
        self._numbers = count()
        self._fetching = asyncio.Lock()

    async def prefetch(self, blobs: Sequence[str]) -> None:
        """Bring these files here in as few exchanges as their sizes allow. Raises `SourceUnavailable`."""
        if self._whole is not None:
            return
        async with self._fetching:
            here = {blob for group in self._groups for blob in group.blobs}
            missing = [blob for blob in dict.fromkeys(blobs) if blob not in here and blob not in self._faults]
            await self._bring(missing)

    async def read(self, blob: str) -> bytes:
        """The bytes of a file. Raises `DocumentError` (TooLarge, Vanished), else `SourceUnavailable`."""
        while True:
            group = self._holder(blob)
            if group is None and blob not in self._faults:
                await self.prefetch([blob])
                group = self._holder(blob)
            if group is None:
                raise self._faults.get(blob) or _vanished()
            async with group.lock:
                if group is self._holder(blob):  # and was not removed while we waited
                    return await self._read_safely(group, blob)

    async def close(self) -> None:
        """End all programs; the directory is its owner's to remove."""
        for group in [*self._groups, *([self._whole] if self._whole is not None else [])]:
            await _stop(group)

    # --------------------------------------------------------------------------------------- fetching

    async def _bring(self, blobs: Sequence[str]) -> None:
        if not blobs:
            return
        single = len(blobs) == 1
        bound = self._max_bytes + _SPARE_BYTES if single else max(GROUP_BYTES, self._max_bytes + _SPARE_BYTES)
        git = await self._remote.prepare(self._directory / "blobs" / str(next(self._numbers)))
        ended = await self._remote.ask(
            git,
            (
                *("fetch", "--quiet", "--filter=blob:none", "--no-tags", "--no-write-fetch-head"),
                *("--stdin", "origin"),
            ),
            what="files of the commit",
            given="".join(f"{blob}\n" for blob in blobs).encode(),
            file_bytes=bound,
            expected=lambda ended: faults.is_too_large(ended.errors) or faults.has_moved(ended.errors),
        )
        if not ended.status:
            await self._keep(_Group(git, frozenset(blobs)))
            return
        await asyncio.to_thread(shutil.rmtree, git.directory)
        if single:
            larger = faults.is_too_large(ended.errors)
            self._faults[blobs[0]] = too_large(self._max_bytes) if larger else _vanished()
            return
        middle = len(blobs) // 2
        await self._bring(blobs[:middle])
        await self._bring(blobs[middle:])

    async def _keep(self, group: _Group) -> None:
        self._groups.append(group)
        while len(self._groups) > KEPT_GROUPS:
            old = self._groups.pop(0)
            async with old.lock:
                await _stop(old)
                await asyncio.to_thread(shutil.rmtree, old.git.directory)

    def _holder(self, blob: str) -> _Group | None:
        if self._whole is not None:
            return self._whole
        return next((group for group in reversed(self._groups) if blob in group.blobs), None)

    # ---------------------------------------------------------------------------------------- reading

    async def _read_safely(self, group: _Group, blob: str) -> bytes:
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await self._read(group, blob)
        except (TimeoutError, ValueError, OSError, asyncio.IncompleteReadError) as error:
            await _stop(group)
            raise SourceUnavailable(
                "git could not read what it fetched; see the space below the temporary directory"
            ) from error
        except asyncio.CancelledError:
            await _stop(group)  # half an answer may still be in the pipe
            raise

    async def _read(self, group: _Group, blob: str) -> bytes:
        kind, size = await _ask(group, f"info {blob}")
        if kind != "blob":
            raise _vanished()
        if size > self._max_bytes:
            raise too_large(self._max_bytes)
        await _ask(group, f"contents {blob}")
        process = await _process(group)
        assert process.stdout is not None
        return (await process.stdout.readexactly(size + 1))[:-1]


async def _process(group: _Group) -> Process:
    if group.process is None:
        group.process = await group.closing.enter_async_context(group.git.started(("cat-file", "--batch-command")))
    return group.process


async def _ask(group: _Group, command: str) -> tuple[str, int]:
    """Kind and size of an object; an empty kind where it is missing."""
    process = await _process(group)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(command.encode() + b"\n")
    await process.stdin.drain()
    header = await process.stdout.readuntil(b"\n")
    parts = header[:_HEADER_BYTES].decode("ascii", "replace").split()
    return (parts[1], int(parts[2])) if len(parts) == 3 else ("", 0)


async def _stop(group: _Group) -> None:
    group.process = None
    await group.closing.aclose()


def _vanished() -> DocumentError:
    return unread("Vanished", "the repository no longer has it; the next run reads the ref as it is then")
