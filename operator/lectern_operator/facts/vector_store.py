"""What the operator reads of a Qdrant server, and the steps that it can ask of one.

Four kinds of failure are told apart, because another person has to act on each: nobody answers (`Unreachable`),
somebody answers and refuses us (`outside.Unauthorised`, `outside.Denied`), somebody answers and will not do what was
asked (`Rejected`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lectern_contract.collection import Collection, Index, Owner, Settings, Shape, ShardBy, ShardKey
from lectern_operator.facts import Fact, Known, Unknown

ACTIVE = "Active"
PARTIAL = "Partial"
DEAD = "Dead"


@dataclass(frozen=True, slots=True)
class Unreachable(Unknown):
    """The server gives no usable answer."""


@dataclass(frozen=True, slots=True)
class Rejected(Unknown):
    """The server answers and will not do what was asked; its words are in the reason."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a look is about: the collections behind one alias and the keys that their spec asks for."""

    alias: str
    shard_by: ShardBy
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Replica:
    """One copy of a shard on the node `peer`; `state` is Qdrant's word."""

    peer: int
    state: str


@dataclass(frozen=True, slots=True)
class ObservedShard:
    """A shard and its copies; `busy` while points move to or from it."""

    id: int
    replicas: tuple[Replica, ...]
    busy: bool = False

    @property
    def active(self) -> bool:
        """Whether some copy answers."""
        return any(replica.state == ACTIVE for replica in self.replicas)


@dataclass(frozen=True, slots=True)
class Shared:
    """Points of one partition in the fallback shard.

    `records` counts the documents among them, `arrived` those that lie under the partition's own key: documents are
    never forgotten (a deleted one keeps its record), so that no fewer arrived where a copy is complete. Both are None
    for a partition without a key that answers.
    """

    partition: ShardKey
    points: int
    records: int | None = None
    arrived: int | None = None

    @property
    def copied(self) -> bool:
        """Whether all of it may lie under the partition's own key too; the step makes sure document by document."""
        return self.records is not None and self.arrived is not None and self.arrived >= self.records


@dataclass(frozen=True, slots=True)
class ObservedCollection:
    """A collection as it is; `owner` None when its metadata names none of ours, `status` is Qdrant's word.

    `keys` are the shards by shard key; those without one are not told. `shared` are the partitions in the fallback
    shard by their key, as far as they matter: those that have grown, that have a key, or that the spec wants one for.
    `peers` are the nodes of the cluster, empty where nobody needs to know.
    """

    name: str
    owner: Owner | None
    shape: Shape
    settings: Settings
    indexes: tuple[Index, ...] = ()
    keys: Mapping[str, tuple[ObservedShard, ...]] = field(default_factory=dict)
    shared: Fact[Mapping[str, Shared]] = field(default_factory=lambda: Known({}))
    peers: tuple[int, ...] = ()
    status: str = "green"

    def answers(self, key: str) -> bool:
        """Say whether a key exists and every shard of it has a copy that answers."""
        shards = self.keys.get(key, ())
        return bool(shards) and all(shard.active for shard in shards)

    def coming(self, key: str) -> bool:
        """Say whether a key is prepared and waits for its points."""
        states = {replica.state for shard in self.keys.get(key, ()) for replica in shard.replicas}
        return PARTIAL in states and not self.answers(key)


@dataclass(frozen=True, slots=True)
class StoreState:
    """The collections of one alias by name, and where names that matter to it point to.

    `aliases` holds the alias, and every alias that has the name of a collection of ours. `collections` holds what is
    named so, and what the alias stands for.
    """

    collections: Mapping[str, ObservedCollection] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CreateCollection:
    """Make a collection without shards; one of that name that is there meanwhile is left as it is."""

    wanted: Collection


@dataclass(frozen=True, slots=True)
class ChangeSettings:
    """Set everything that can be changed in place."""

    collection: str
    shape: Shape
    settings: Settings


@dataclass(frozen=True, slots=True)
class CreateIndexes:
    """Make or replace the indexes of these fields, and leave all others alone."""

    collection: str
    indexes: tuple[Index, ...]


@dataclass(frozen=True, slots=True)
class CreateShardKeys:
    """Make keys that answer at once; for partitions of which nothing can lie in the fallback shard."""

    collection: str
    keys: tuple[ShardKey, ...]


@dataclass(frozen=True, slots=True)
class PreparePartition:
    """Make the key of one partition, of one shard, which does not answer before its points have come."""

    collection: str
    key: ShardKey


@dataclass(frozen=True, slots=True)
class CopyPartition:
    """Begin to copy a partition from the fallback shard to its own key, which answers once all is there."""

    collection: str
    key: ShardKey


@dataclass(frozen=True, slots=True)
class DeleteCopies:
    """Delete from the fallback shard those documents of a partition that lie under its own key as well."""

    collection: str
    owner: Owner
    key: ShardKey


@dataclass(frozen=True, slots=True)
class CopyShard:
    """Begin to copy a shard to a node that has no copy of it."""

    collection: str
    shard: int
    source: int
    target: int


@dataclass(frozen=True, slots=True)
class SetAlias:
    """Let the alias stand for a collection, unless it stands for something else than `before` meanwhile."""

    alias: str
    collection: str
    before: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteAlias:
    """Delete the alias if it still stands for the collection."""

    alias: str
    collection: str


@dataclass(frozen=True, slots=True)
class DeleteCollection:
    """Delete a collection if it still is the owner's."""

    collection: str
    owner: Owner


Step = (
    CreateCollection
    | ChangeSettings
    | CreateIndexes
    | CreateShardKeys
    | PreparePartition
    | CopyPartition
    | DeleteCopies
    | CopyShard
    | SetAlias
    | DeleteAlias
    | DeleteCollection
)
