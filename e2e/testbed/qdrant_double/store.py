"""The whole state of one double: its catalogue and its points, opened from a directory and closed again.

`app` owns one and hands it, with a `Call`, to the functions of `administration`, `sharding`, `writes` and `reads`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from e2e.testbed.qdrant_double.catalogue import Catalogue, Collection
from e2e.testbed.qdrant_double.refusals import malformed
from e2e.testbed.qdrant_double.shards import Shards

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

MOST_ERRORS_SHOWN = 3


@dataclass(frozen=True)
class Store:
    """Catalogue and points."""

    catalogue: Catalogue
    shards: Shards

    @classmethod
    def open(cls, directory: Path) -> Store:
        """Open or begin the state in `directory`; what a killed process left half-made is removed."""
        points = directory / "points"
        points.mkdir(parents=True, exist_ok=True)
        store = cls(Catalogue.open(directory / "catalogue.json"), Shards(points))
        store.catalogue.save()  # the peer's number must not change with the next start
        store.shards.remove_strangers(list(store.catalogue.collections.values()))
        return store

    def close(self) -> None:
        """Flush and close all shards."""
        self.shards.close()


@dataclass(frozen=True)
class Call:
    """One request: the variables of its path, its query parameters and its body."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes

    def collection(self, store: Store) -> Collection:
        """The collection that the path names, by its name or an alias; raises Refused (404)."""
        return store.catalogue.collection(self.path["name"])

    def read(self, model: type[M]) -> M:
        """The body as a `model`; raises Refused (400), naming fields and never their values."""
        return self.read_as(TypeAdapter(model))

    def read_as(self, adapter: TypeAdapter[T]) -> T:
        """The body as what `adapter` describes; raises Refused (400)."""
        try:
            return adapter.validate_json(self.body)
        except ValidationError as error:
            told = (
                f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
                for each in error.errors(include_input=False, include_url=False)[:MOST_ERRORS_SHOWN]
            )
            raise malformed("; ".join(told)) from None
