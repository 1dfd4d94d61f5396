"""What collections, shards, payload indexes and aliases there are: one JSON file, replaced durably at each change.

The points lie beside it, one directory a shard (`shards`). Administration and routing read and change the catalogue
in the server's one worker thread; a change counts from the moment that `save` returns.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from e2e.testbed.qdrant_double.refusals import not_found

ShardKey = str | int
State = Literal["Active", "Partial"]


@dataclass
class Shard:
    """One shard: its number in the collection, its key (None with automatic sharding) and its replica's state."""

    id: int
    key: ShardKey | None
    state: State = "Active"


@dataclass
class Transfer:
    """Points on their way from one shard to another: those that `filter` (JSON) matches, all where it is None."""

    source: int
    target: int
    filter: dict[str, Any] | None


@dataclass
class Collection:
    """A collection: `config` and `indexes` in the form in which the server shows them."""

    name: str
    directory: str
    config: dict[str, Any]
    indexes: dict[str, dict[str, Any]] = field(default_factory=dict)
    shards: list[Shard] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)

    @property
    def custom_sharding(self) -> bool:
        """Whether shards are made by shard key."""
        return bool(self.config["params"].get("sharding_method") == "custom")

    @property
    def keys(self) -> list[ShardKey]:
        """The shard keys in the order in which they were made."""
        return list(dict.fromkeys(shard.key for shard in self.shards if shard.key is not None))

    def of_key(self, key: ShardKey) -> list[Shard]:
        """The shards of a key; empty where there is none."""
        # 1 == True and 1 == 1.0 in Python, but a key is a word or a whole number
        return [shard for shard in self.shards if type(shard.key) is type(key) and shard.key == key]

    def next_shard(self) -> int:
        """The number that the next shard gets; custom sharding counts from 1."""
        lowest = 1 if self.custom_sharding else 0
        return max((shard.id + 1 for shard in self.shards), default=lowest)


@dataclass
class Catalogue:
    """All collections by name and all aliases with the collections behind them."""

    path: Path
    peer: int
    collections: dict[str, Collection] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> Catalogue:
        """Read the file, or begin an empty catalogue where there is none."""
        try:
            stored = json.loads(path.read_bytes())
        except FileNotFoundError:
            return cls(path, peer=uuid.uuid4().int >> 75)  # 53 bits: exact in every JSON reader
        return cls(
            path,
            peer=stored["peer"],
            collections={name: _collection(each) for name, each in stored["collections"].items()},
            aliases=stored["aliases"],
        )

    def save(self) -> None:
        """Replace the file; return when it is on the disk."""
        stored = {
            "peer": self.peer,
            "aliases": self.aliases,
            "collections": {name: asdict(each) for name, each in self.collections.items()},
        }
        draft = self.path.with_suffix(".draft")
        with draft.open("w") as file:
            json.dump(stored, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def collection(self, name: str) -> Collection:
        """The collection behind a name or an alias; raises Refused (404)."""
        found = self.collections.get(self.aliases.get(name, name))
        if found is None:
            raise not_found(f"Collection `{name}` doesn't exist!")
        return found


def _collection(stored: dict[str, Any]) -> Collection:
    return Collection(
        name=stored["name"],
        directory=stored["directory"],
        config=stored["config"],
        indexes=stored["indexes"],
        shards=[Shard(**each) for each in stored["shards"]],
        transfers=[Transfer(**each) for each in stored["transfers"]],
    )
