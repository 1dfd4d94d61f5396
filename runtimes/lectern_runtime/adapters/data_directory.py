"""The directory in which the embedded mode keeps all that it must not lose, for one process at a time.

`lectern up` opens it first and hands its paths to the log, the blob store and the vector store. The file
`lectern.json` says which layout the directory has, so that an older Lectern never misreads a newer one's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from lectern_contract.errors import DataDirectoryError
from lectern_runtime.adapters.durable_file import DirectoryLock, replace_file

FORMAT = 1
_MARKER = "lectern.json"
# What may lie in a directory that is still to become ours: a first start that crashed, the root of a volume.
_HARMLESS = {"lock", f".{_MARKER}.new", "lost+found"}


@dataclass(frozen=True)
class DataDirectory:
    """An open data directory; `close` or the end of a `with` block gives it free for another process."""

    root: Path
    created_by: str
    lock: DirectoryLock

    @classmethod
    def open(cls, path: Path, *, created_by: str) -> DataDirectory:
        """Open the data directory, or make it and note the version `created_by`. Changes nothing when it fails.

        Raises DataDirectoryError when it is in use, damaged, of a newer Lectern, not ours, or not accessible.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            strangers = {each.name for each in path.iterdir()} - _HARMLESS
        except (FileExistsError, NotADirectoryError) as error:
            raise DataDirectoryError(f"{path} is not a directory; choose another --data-dir") from error
        except OSError as error:
            raise DataDirectoryError(
                f"data directory {path} cannot be used: {error.strerror}; choose another --data-dir"
            ) from error
        marker = path / _MARKER
        if strangers and _MARKER not in strangers:
            raise DataDirectoryError(
                f"{path} is not empty and has no {_MARKER}, so it is not Lectern's; choose another --data-dir"
            )
        lock = DirectoryLock.take(path, what="data directory", advice="stop it or choose another --data-dir")
        try:
            return cls(path, _read(marker) or _write(marker, created_by), lock)
        except BaseException:
            lock.release()
            raise

    @property
    def log_path(self) -> Path:
        """File of the log."""
        return self.root / "log.sqlite3"

    @property
    def blobs_path(self) -> Path:
        """Directory of the blob store."""
        return self.root / "blobs"

    @property
    def store_path(self) -> Path:
        """Directory of the vector store."""
        return self.root / "store"

    def close(self) -> None:
        """Give the directory free; a second call does nothing."""
        self.lock.release()

    def __enter__(self) -> DataDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read(marker: Path) -> str | None:
    """The version that made the directory, or None when it is new."""
    try:
        content = json.loads(marker.read_bytes())
        found, created_by = content["format"], content["created_by"]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataDirectoryError(f"{marker} cannot be read: {error.strerror}; check its owner and mode") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataDirectoryError(
            f"{marker} is damaged; restore it from a backup, or choose another --data-dir and ingest again"
        ) from error
    if not (isinstance(found, int) and isinstance(created_by, str)) or found < 1:
        raise DataDirectoryError(
            f"{marker} has no valid format; restore it from a backup, or choose another --data-dir and ingest again"
        )
    if found > FORMAT:
        raise DataDirectoryError(
            f"data directory {marker.parent} has format {found} of Lectern {created_by}, and this version reads up to "
            f"{FORMAT}; use that version or choose another --data-dir"
        )
    return created_by


def _write(marker: Path, created_by: str) -> str:
    content = json.dumps({"format": FORMAT, "created_by": created_by}, indent=2) + "\n"
    try:
        replace_file(marker, content.encode())
    except OSError as error:
        raise DataDirectoryError(
            f"data directory {marker.parent} cannot be written: {error.strerror}; choose another --data-dir"
        ) from error
    return created_by
