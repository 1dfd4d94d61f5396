"""A directory in memory for tests whose subject syncs files: the same calls, without waiting for a busy disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")


@contextmanager
def quick_directory() -> Iterator[Path]:
    """An empty directory that is removed afterwards; on the disk where the system has no memory file system."""
    with tempfile.TemporaryDirectory(prefix="lectern-", dir=_MEMORY if _MEMORY.is_dir() else None) as path:
        yield Path(path)
