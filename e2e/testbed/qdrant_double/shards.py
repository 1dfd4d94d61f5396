"""The points: one shard of Qdrant's engine (Edge) for each shard of a collection, each in a directory of its own.

A shard's files are made with its first point, so a thousand empty shard keys cost nothing; the least recently used
ones are closed. The write-ahead log is on, so what was acknowledged outlives a kill. Not safe for threads.
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    Modifier,
    MultiVectorComparator,
    MultiVectorConfig,
    UpdateOperation,
)

from e2e.testbed.qdrant_double import payload_indexes
from e2e.testbed.qdrant_double.catalogue import Collection, Shard
from e2e.testbed.qdrant_double.collection_config import named_vectors
from e2e.testbed.qdrant_double.refusals import Refused, from_engine

P = ParamSpec("P")
R = TypeVar("R")

MOST_OPEN = 32
NEVER_INDEX = 10_000_000  # KB: building HNSW would hold the interpreter for minutes


class Shards:
    """The shards under `root`; `sequence` counts the updates since the start."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: OrderedDict[Path, EdgeShard] = OrderedDict()
        self.sequence = 0

    def close(self) -> None:
        """Flush and close all shards."""
        while self._open:
            call(self._open.popitem()[1].close)

    def get(self, collection: Collection, shard: Shard) -> EdgeShard | None:
        """The shard, or None where it never had a point."""
        path = self._path(collection, shard)
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        if not _marker(path).exists():
            return None
        return self._keep(path, collection, call(EdgeShard.load, str(path), _config(collection)))

    def made(self, collection: Collection, shard: Shard) -> EdgeShard:
        """The shard, which is made where it never had a point."""
        found = self.get(collection, shard)
        if found is not None:
            return found
        path = self._path(collection, shard)
        shutil.rmtree(path, ignore_errors=True)  # of a process that was killed here
        path.mkdir(parents=True)
        new = call(EdgeShard.create, str(path), _config(collection))
        _marker(path).touch()
        return self._keep(path, collection, new)

    def update(self, shard: EdgeShard, operation: UpdateOperation) -> None:
        """Apply a write; it is in the shard's log when this returns."""
        call(shard.update, operation)
        self.sequence += 1

    def create_index(self, collection: Collection, field: str) -> None:
        """Build the index that the catalogue names, in every shard that has points."""
        for shard in filter(None, (self.get(collection, each) for each in collection.shards)):
            self.update(shard, payload_indexes.creation(field, collection.indexes[field]))

    def delete_index(self, collection: Collection, field: str) -> None:
        """Remove a field's index from every shard."""
        for shard in filter(None, (self.get(collection, each) for each in collection.shards)):
            self.update(shard, UpdateOperation.delete_field_index(field))

    def remove(self, collection: Collection, shard: Shard) -> None:
        """Remove a shard's points and files."""
        path = self._path(collection, shard)
        if path in self._open:
            call(self._open.pop(path).close)
        _marker(path).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)

    def remove_collection(self, collection: Collection) -> None:
        """Remove all shards of the collection."""
        for shard in collection.shards:
            self.remove(collection, shard)
        shutil.rmtree(self._root / collection.directory, ignore_errors=True)

    def remove_strangers(self, collections: list[Collection]) -> None:
        """Remove what a process that was killed in a removal left behind."""
        known = {self._path(collection, shard) for collection in collections for shard in collection.shards}
        for path in self._root.glob("*/*/"):
            if path not in known:
                _marker(path).unlink(missing_ok=True)
                shutil.rmtree(path)
        for directory in self._root.iterdir():
            if directory.name not in {collection.directory for collection in collections}:
                shutil.rmtree(directory)

    def _path(self, collection: Collection, shard: Shard) -> Path:
        return self._root / collection.directory / str(shard.id)

    def _keep(self, path: Path, collection: Collection, shard: EdgeShard) -> EdgeShard:
        """Keep the shard open, with exactly the indexes of the catalogue."""
        self._open[path] = shard
        present = call(shard.info).payload_schema
        for field in present.keys() - collection.indexes.keys():
            call(shard.update, UpdateOperation.delete_field_index(field))
        for field in collection.indexes.keys() - present.keys():
            call(shard.update, payload_indexes.creation(field, collection.indexes[field]))
        while len(self._open) > MOST_OPEN:
            call(self._open.popitem(last=False)[1].close)
        return shard


def _marker(path: Path) -> Path:
    """The file beside a shard's directory that says that the shard was made to its end."""
    return path.with_suffix(".made")


def call(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call the engine; its errors come out as the server would answer them."""
    try:
        return function(*args, **kwargs)
    except Refused:
        raise
    except Exception as error:  # the engine raises bare Exception and nothing narrower
        raise from_engine(error) from error


def _config(collection: Collection) -> EdgeConfig:
    params = collection.config["params"]
    vectors = {
        name: EdgeVectorParams(
            size=vector["size"],
            distance=getattr(Distance, vector["distance"]),
            multivector_config=MultiVectorConfig(MultiVectorComparator.MaxSim)
            if "multivector_config" in vector
            else None,
        )
        for name, vector in named_vectors(params).items()
    }
    sparse = {
        name: EdgeSparseVectorParams(modifier=Modifier.Idf if vector.get("modifier") == "idf" else None)
        for name, vector in params.get("sparse_vectors", {}).items()
    }
    return EdgeConfig(
        vectors=vectors or None,
        sparse_vectors=sparse or None,
        optimizers=EdgeOptimizersConfig(indexing_threshold=NEVER_INDEX),
        wal_enabled=True,
    )
