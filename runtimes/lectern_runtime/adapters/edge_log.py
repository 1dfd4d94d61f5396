"""Makes the write-ahead log of Qdrant's engine outlive a power cut.

The engine leaves its log in memory maps, which outlive the process but not the machine; an offset that was committed
for such a write would be ahead of the store. `edge_collection.py` calls this at the end of each document's write.
"""

from __future__ import annotations

from pathlib import Path

from lectern_runtime.adapters.durable_file import sync_directory, sync_file
from lectern_runtime.errors import StoreError

_ATTEMPTS = 5


class EngineLog:
    """The engine's log files: `open-<n>`, of which the first is written, and `closed-<first index>`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._synced: frozenset[str] = frozenset()

    def sync(self) -> None:
        """Return when all that was logged is on the disk, or raise StoreError; costs some milliseconds."""
        for _ in range(_ATTEMPTS):
            try:
                self._sync()
                return
            except FileNotFoundError:
                continue  # a thread of the engine renames files; a look at the new names settles it
            except OSError as error:
                raise StoreError(f"the vector store cannot write to {self._directory}: {error.strerror}") from error
        raise StoreError(f"the files of the vector store in {self._directory} change under its hands")

    def _sync(self) -> None:
        # Not `tmp-open-<n>`: the engine is just preparing that one, and nothing is in it yet.
        names = frozenset(path.name for path in self._directory.iterdir() if path.name.startswith(("open-", "closed-")))
        for name in sorted(names):
            # What was closed and synced before is never written again.
            if not (name.startswith("closed-") and name in self._synced):
                sync_file(self._directory / name)
        if names != self._synced:
            sync_directory(self._directory)
            self._synced = names
