"""Puts what a list of changes names aside on disk and gives back the last that was said of each id.

Used by the sharePoint connector: its list may name an item several times, and a folder after what lies in it. What is
put is spread over files by a digest of its id, so that only one of them is in memory at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import zlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import IO

BUCKETS = 64


class Latest:
    """Texts without line breaks by their ids. Raises OSError where the disk does not take them."""

    def __init__(self) -> None:
        self._directory: Path | None = None
        self._files: list[IO[str]] = []

    async def put(self, rows: Sequence[tuple[str, str]]) -> None:
        """Take in what was said of these ids, in this order."""
        await asyncio.to_thread(self._put, rows)

    async def rows(self) -> AsyncIterator[tuple[str, str]]:
        """Every id once, with what was said of it last."""
        for file in self._files:
            for row in await asyncio.to_thread(_last, file):
                yield row

    async def close(self) -> None:
        """Remove what was put."""
        directory, self._directory = self._directory, None
        with contextlib.ExitStack() as stack:
            for file in self._files:
                stack.callback(file.close)
            self._files = []
        if directory is not None:
            await asyncio.to_thread(shutil.rmtree, directory)

    def _put(self, rows: Sequence[tuple[str, str]]) -> None:
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="lectern-changes-"))
            self._files = [(self._directory / str(bucket)).open("w+", encoding="utf-8") for bucket in range(BUCKETS)]
        for key, text in rows:
            self._files[zlib.crc32(key.encode()) % BUCKETS].write(f"{key}\t{text}\n")


def _last(file: IO[str]) -> list[tuple[str, str]]:
    file.seek(0)
    found: dict[str, str] = {}
    for line in file:
        key, _, text = line.rstrip("\n").partition("\t")
        found[key] = text
    file.seek(0, 2)
    return list(found.items())
