"""Files that outlive a crash, and a directory that only one process may open.

The embedded adapters keep their small state in these; nothing here knows what the bytes mean.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from lectern_contract.errors import DataDirectoryError


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` in place of the file `path`: after a crash either the old or the new bytes are there, whole.

    Raises OSError. The temporary file stands beside it under the name `.<name>.new`.
    """
    fresh = path.with_name(f".{path.name}.new")
    write_synced(fresh, data)
    fresh.replace(path)
    sync_directory(path.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Write `data` to the file `path` and return when it is on the disk."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def sync_file(path: Path) -> None:
    """Return when all that was written to the file is on the disk, through a memory map as well."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Return when the directory's entries are on the disk: a rename is durable only then."""
    sync_file(path)  # a directory is opened and synced like a file


class DirectoryLock:
    """The right to a directory, held through a lock on the file `lock` inside until `release` or the process's end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, directory: Path, *, what: str, advice: str) -> DirectoryLock:
        """Lock `directory` or raise DataDirectoryError that names `what`, the holder's process id and `advice`."""
        path = directory / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DataDirectoryError(f"{what} {directory} cannot be locked: {error.strerror}; {advice}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise DataDirectoryError(
                f"{what} {directory} is in use by process {holder or '(unknown)'}; {advice}"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Give the directory free; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
