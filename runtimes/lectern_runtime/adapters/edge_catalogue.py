"""The directory of an embedded vector store: which collections and aliases there are, and which shards are open.

`edge.py` owns one and calls it in its thread. A collection exists from the moment its `spec.json` is on the disk
until that file is gone; whatever a crash leaves around that is removed on the next start.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path

from lectern_contract.errors import ConfigurationError, DataDirectoryError
from lectern_runtime.adapters.durable_file import DirectoryLock, replace_file, sync_directory
from lectern_runtime.adapters.edge_collection import EdgeCollection
from lectern_runtime.errors import CollectionMismatch, CollectionUnknown
from lectern_runtime.failpoints import Failpoint, no_failpoint
from lectern_runtime.ports import CollectionSpec

MOST_OPEN = 8  # shards; each holds about 10 MiB and what its vectors need
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,126}[a-z0-9])?")
_SPEC, _SHARD, _ALIASES, _COLLECTIONS = "spec.json", "shard", "aliases.json", "collections"


class EdgeCatalogue:
    """Collections on disk under `root`, locked against other processes. Not safe for threads."""

    def __init__(self, root: Path, lock: DirectoryLock, aliases: dict[str, str], failpoint: Failpoint) -> None:
        self._root = root
        self._failpoint = failpoint
        self._lock = lock
        self._aliases = aliases
        self._open: OrderedDict[str, EdgeCollection] = OrderedDict()

    @classmethod
    def open(cls, root: Path, failpoint: Failpoint = no_failpoint) -> EdgeCatalogue:
        """Lock and read the directory, which is made when it is absent; raises DataDirectoryError."""
        try:
            (root / _COLLECTIONS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataDirectoryError(f"vector store {root} cannot be made: {error.strerror}; choose another") from error
        lock = DirectoryLock.take(root, what="vector store", advice="stop that process or choose another directory")
        try:
            for path in (root / _COLLECTIONS).iterdir():
                if not (path / _SPEC).exists():
                    shutil.rmtree(path)
            return cls(root, lock, _read_aliases(root / _ALIASES), failpoint)
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Close all shards and give the directory free."""
        while self._open:
            self._open.popitem()[1].close()
        self._lock.release()

    # -------------------------------------------------------------------------------- collections

    def get(self, name: str) -> EdgeCollection:
        """The open collection behind a name or an alias; raises CollectionUnknown."""
        name = self._aliases.get(name, name)
        collection = self._open.get(name)
        if collection is None:
            spec = self.spec(name)
            if spec is None:
                raise CollectionUnknown(name)
            collection = EdgeCollection.load(spec, self._directory(name) / _SHARD, self._failpoint)
            self._keep(collection)
        self._open.move_to_end(name)
        return collection

    def spec(self, name: str) -> CollectionSpec | None:
        """What the collection `name` was made for, or None when there is none."""
        if name in self._open:
            return self._open[name].spec
        path = self._directory(name) / _SPEC
        try:
            return CollectionSpec(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise DataDirectoryError(
                f"{path} is damaged: {error}; remove the data directory and ingest again"
            ) from None

    def ensure(self, spec: CollectionSpec) -> None:
        """Make the collection, or raise CollectionMismatch when it exists for something else."""
        found = self.spec(spec.name)
        if found is None:
            directory = self._directory(spec.name)
            shutil.rmtree(directory, ignore_errors=True)  # what a call that failed half-way left
            directory.mkdir()
            collection = EdgeCollection.create(spec, directory / _SHARD, self._failpoint)
            replace_file(directory / _SPEC, _encoded(asdict(spec)))
            sync_directory(directory.parent)
            self._keep(collection)
        elif found != spec:
            raise CollectionMismatch(
                f"collection {spec.name!r} exists with {found} and cannot become {spec}; start a new index generation"
            )

    def drop(self, name: str) -> None:
        """Remove the collection and the aliases that point to it."""
        directory = self._directory(name)
        if self.spec(name) is None:
            return
        self._write_aliases({alias: target for alias, target in self._aliases.items() if target != name})
        if name in self._open:
            self._open.pop(name).close()
        (directory / _SPEC).unlink()
        sync_directory(directory)
        shutil.rmtree(directory)

    # ------------------------------------------------------------------------------------ aliases

    @property
    def aliases(self) -> dict[str, str]:
        """A copy of all aliases with their collections."""
        return dict(self._aliases)

    def point_alias(self, alias: str, name: str) -> None:
        """Let `alias` stand for the collection `name`, durably; raises CollectionUnknown."""
        if self.spec(name) is None:
            raise CollectionUnknown(name)
        if self.spec(alias) is not None:
            raise CollectionMismatch(f"{alias!r} is a collection and cannot be an alias as well; choose another name")
        self._write_aliases({**self._aliases, alias: name})

    # ------------------------------------------------------------------------------------- inside

    def _keep(self, collection: EdgeCollection) -> None:
        self._open[collection.spec.name] = collection
        while len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)[1].close()

    def _directory(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or ".." in name:
            raise ConfigurationError(
                f"{name!r} cannot name a collection: use up to 128 small letters, digits, hyphens and dots"
            )
        return self._root / _COLLECTIONS / name

    def _write_aliases(self, aliases: dict[str, str]) -> None:
        if aliases != self._aliases:
            replace_file(self._root / _ALIASES, _encoded(aliases))
            self._aliases = aliases


def _encoded(value: object) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"


def _read_aliases(path: Path) -> dict[str, str]:
    try:
        aliases = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataDirectoryError(f"{path} is damaged: {error}; remove the data directory and ingest again") from None
    if not (isinstance(aliases, dict) and all(isinstance(name, str) for name in aliases.values())):
        raise DataDirectoryError(f"{path} is damaged: not a map of names; remove the data directory and ingest again")
    return aliases
