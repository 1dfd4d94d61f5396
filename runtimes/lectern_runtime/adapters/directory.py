"""A blob store in a directory: bytes under their sha256, and named objects beside them.

The embedded mode opens one in its data directory, connectors and workers of a cluster one on a shared volume; several
processes may use it at once, because a file appears under its name only when it is whole and on the disk.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar

from lectern_contract.ids import content_digest
from lectern_runtime.adapters import blob_names
from lectern_runtime.adapters.durable_file import sync_directory, write_synced
from lectern_runtime.errors import BlobDamaged, BlobMissing, BlobStoreError

P = ParamSpec("P")
R = TypeVar("R")

_MOST_AT_ONCE = 8  # files: each holds its bytes in memory, and a disk gains nothing from more
_NAMES_AT_ONCE = 256
_ABANDONED_SECONDS = 24 * 3600.0  # age at which a temporary file has no writer any more


class DirectoryBlobs:
    """The `BlobStore` in a directory: bytes in `sha256/ab/cd…`, named objects in `named`, unfinished files in `new`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)

    @classmethod
    async def open(cls, path: Path) -> DirectoryBlobs:
        """Open the store in the directory `path`, which is made when it is absent. Raises BlobStoreError."""
        blobs = cls(path)
        await blobs._run(blobs._prepare)
        return blobs

    async def put(self, data: bytes) -> str:
        """Store `data` durably and return its hex sha256; what is there already is kept, unless it is damaged."""
        return await self._run(self._put, data)

    async def get(self, sha256: str) -> bytes:
        """The bytes; raises BlobMissing, or BlobDamaged when they no longer have that digest."""
        return await self._run(self._get, sha256)

    async def exists(self, sha256: str) -> bool:
        """Whether the bytes are there; they are not read."""
        return await self._run(lambda: self._blob(sha256).is_file())

    async def write_named(self, name: str, data: bytes) -> None:
        """Replace the object `name` atomically and durably. Raises ConfigurationError for a name outside the rules."""
        await self._run(lambda: self._write(self._object(name), data))

    async def read_named(self, name: str) -> bytes | None:
        """The object `name`, or None."""

        def read() -> bytes | None:
            try:
                return self._object(name).read_bytes()
            except FileNotFoundError:
                return None

        return await self._run(read)

    async def list_named(self, prefix: str) -> AsyncIterator[str]:
        """Names of the objects below `prefix`, in order. Raises ConfigurationError for a prefix outside the rules."""
        names = self._names(blob_names.folder(prefix))
        while batch := await self._run(lambda: list(islice(names, _NAMES_AT_ONCE))):
            for name in batch:
                yield name

    async def delete_named(self, name: str) -> None:
        """Remove the object `name`; nothing when there is none. It may come back with a crash right after."""
        await self._run(lambda: self._object(name).unlink(missing_ok=True))

    async def close(self) -> None:
        """Nothing is held between calls."""

    # ------------------------------------------------------------------------------------- inside

    def _put(self, data: bytes) -> str:
        sha256 = content_digest(data)
        path = self._blob(sha256)
        try:
            unchanged = path.read_bytes() == data
        except FileNotFoundError:
            unchanged = False
        if not unchanged:
            self._write(path, data)
        return sha256

    def _get(self, sha256: str) -> bytes:
        try:
            data = self._blob(sha256).read_bytes()
        except FileNotFoundError:
            raise BlobMissing(sha256) from None
        if content_digest(data) != sha256:
            raise BlobDamaged(sha256)
        return data

    def _write(self, path: Path, data: bytes) -> None:
        fresh = self._root / "new" / os.urandom(16).hex()
        try:
            write_synced(fresh, data)
            self._make_directories(path.parent)
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)

    def _make_directories(self, path: Path) -> None:
        if not path.is_dir():
            self._make_directories(path.parent)
            path.mkdir(exist_ok=True)
            sync_directory(path.parent)

    def _names(self, folder: str) -> Iterator[str]:
        """Walk depth first; a folder sorts as its name with the slash, so that whole names come in order."""
        try:
            with os.scandir(self._root / "named" / folder) as found:
                entries = sorted(f"{each.name}/" if each.is_dir(follow_symlinks=False) else each.name for each in found)
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.endswith("/"):
                yield from self._names(folder + entry) if blob_names.is_name(folder + entry[:-1]) else ()
            elif blob_names.is_name(folder + entry):
                yield folder + entry

    def _prepare(self) -> None:
        (self._root / "new").mkdir(parents=True, exist_ok=True)
        for path in (self._root / "new").iterdir():
            # Another process may be writing the younger ones.
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)

    def _blob(self, sha256: str) -> Path:
        blob_names.digest(sha256)
        return self._root / "sha256" / sha256[:2] / sha256[2:]

    def _object(self, name: str) -> Path:
        return self._root / "named" / blob_names.name(name)

    async def _run(self, job: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        async with self._slots:
            try:
                return await asyncio.to_thread(job, *args, **kwargs)
            except OSError as error:
                raise BlobStoreError(
                    f"the blob store {self._root} failed: {error.strerror}; check its space and permissions"
                ) from error
