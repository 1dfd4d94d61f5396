"""A DOUBLE of Qdrant servers for transition tests: collections, shard keys, aliases and points in memory, by address.

It passes `store_contract`, which runs against a Qdrant over HTTP too, and refuses states that cannot be: a point under
a key that is not there, an alias of nothing, a key without a shard. Tests act as other people by `make`, `drop`,
`change`, `put_index`, `drop_index`, `add_key`, `drop_key`, `point_alias` and `write`, and break the server by `silent`,
`api_key`, `rights` and `cluster_mode`. A copy that was begun arrives after the look that saw it, or with `finish`.

What it does not show: vectors and searches, time, nodes that disagree or fail half-way, TLS.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

from lectern_contract.collection import (
    FALLBACK_SHARD_KEY,
    GROWN_POINTS,
    Collection,
    Index,
    Owner,
    Settings,
    Shape,
    ShardBy,
    ShardKey,
)
from lectern_contract.resources.status import DocumentCounts, SourceDocuments
from lectern_operator.clients.qdrant import StoreServer
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.outside import Denied, Unauthorised
from lectern_operator.facts.vector_store import (
    ACTIVE,
    PARTIAL,
    ChangeSettings,
    CopyPartition,
    CopyShard,
    CreateCollection,
    CreateIndexes,
    CreateShardKeys,
    DeleteAlias,
    DeleteCollection,
    DeleteCopies,
    ObservedCollection,
    ObservedShard,
    PreparePartition,
    Rejected,
    Replica,
    SetAlias,
    Shared,
    Step,
    StoreState,
    Subject,
    Unreachable,
)

DONE: Fact[None] = Known(None)
SOMEBODYS = Shape(dimensions=4, distance="Dot", sparse=False, custom_sharding=True)
DEFAULTS = Settings(
    m=16,
    ef_construct=100,
    links=16,
    quantization="None",
    on_disk=False,
    replication_factor=1,
    write_consistency_factor=1,
    idf=False,
    strict=False,
)


class Impossible(AssertionError):
    """A test asked for a state that no server can be in."""


@dataclass(frozen=True)
class Point:
    """A point: the record of a document, or one of its chunks."""

    id: str
    document: str
    tenant: str
    access_level: str
    record: bool
    source: str = "guides"
    failure: str = ""
    """Why the document failed, of a record; empty for one that is indexed."""

    def belongs(self, partition: ShardKey) -> bool:
        """Say whether it is of that partition."""
        return self.tenant == partition.tenant and partition.access_level in (None, self.access_level)


class FakeServer:
    """One server; `steps` lists what it was asked to change, in order."""

    def __init__(self, *, peers: int = 1) -> None:
        if peers < 1:
            raise Impossible("a server without a node answers nobody: use `silent`")
        self.peers = tuple(range(1, peers + 1))
        self.collections: dict[str, ObservedCollection] = {}
        self.aliases: dict[str, str] = {}
        self.points: dict[tuple[str, str], dict[str, Point]] = {}
        """By collection and shard key, then by id."""
        self.steps: list[Step] = []
        self.silent = False
        self.cluster_mode = True
        self.api_key: str | None = None
        self.rights = True
        self._moving: list[tuple[str, ShardKey, bool]] = []
        self._ids = itertools.count(1)

    # --- what other people do -----------------------------------------------------------------------------------

    def make(self, name: str, *, owner: Owner | None = None, shape: Shape = SOMEBODYS) -> None:
        """Make a collection as somebody else would."""
        if name in self.collections or name in self.aliases:
            raise Impossible(f"{name} exists")
        self.collections[name] = ObservedCollection(name, owner, shape, DEFAULTS)

    def drop(self, name: str) -> None:
        """Delete a collection with its points and aliases."""
        self._must_exist(name)
        del self.collections[name]
        self.aliases = {alias: target for alias, target in self.aliases.items() if target != name}
        self.points = {place: points for place, points in self.points.items() if place[0] != name}
        self._moving = [each for each in self._moving if each[0] != name]

    def change(self, name: str, **settings: Any) -> None:
        """Change settings of a collection."""
        self._must_exist(name)
        found = self.collections[name]
        self.collections[name] = replace(found, settings=replace(found.settings, **settings))

    def put_index(self, name: str, index: Index) -> None:
        """Make or replace an index."""
        self._must_exist(name)
        others = tuple(each for each in self.collections[name].indexes if each.field != index.field)
        self.collections[name] = replace(self.collections[name], indexes=tuple(sorted((*others, index))))

    def drop_index(self, name: str, field: str) -> None:
        """Delete an index."""
        found = self.collections[name]
        if all(each.field != field for each in found.indexes):
            raise Impossible(f"{name} has no index of {field}")
        self.collections[name] = replace(found, indexes=tuple(each for each in found.indexes if each.field != field))

    def add_key(self, name: str, key: str, *, shards: int = 1, copies: int = 1, state: str = ACTIVE) -> None:
        """Make a shard key."""
        self._must_exist(name)
        if shards < 1 or copies < 1 or key in self.collections[name].keys:
            raise Impossible(f"{key}: {shards} shards, or the key exists")
        replicas = tuple(Replica(peer, state) for peer in self.peers[:copies])
        made = tuple(ObservedShard(next(self._ids), replicas) for _ in range(shards))
        self._set_key(name, key, made)
        self.points[name, key] = {}

    def drop_key(self, name: str, key: str) -> None:
        """Delete a shard key with its points."""
        self._must_exist(name, key)
        found = self.collections[name]
        keys = {each: shards for each, shards in found.keys.items() if each != key}
        self.collections[name] = replace(found, keys=keys)
        del self.points[name, key]

    def point_alias(self, alias: str, name: str | None) -> None:
        """Let an alias stand for a collection, or for none."""
        if name is None:
            del self.aliases[alias]
            return
        self._must_exist(name)
        if alias in self.collections:
            raise Impossible(f"{alias} is a collection")
        self.aliases[alias] = name

    def write(
        self,
        name: str,
        tenant: str,
        level: str,
        documents: int,
        *,
        by: ShardBy,
        chunks: int = 1,
        source: str = "guides",
        failure: str = "",
    ) -> None:
        """Write documents as a worker does: to the partition's own key where that answers, else to the fallback.

        With a `failure` they are given up: a record alone.
        """
        own = ShardKey.of(by, tenant, level).key
        key = own if self.collections[name].answers(own) else FALLBACK_SHARD_KEY
        self._must_exist(name, key)
        for _ in range(documents):
            document = str(next(self._ids))
            made = [
                Point(f"{document}-{each}", document, tenant, level, each == 0, source, failure)
                for each in range(1 if failure else chunks + 1)
            ]
            self.points[name, key] |= {point.id: point for point in made}

    def mend(self, name: str, source: str) -> None:
        """Index what failed of a source, as a worker does after a replay."""
        for (collection, _), points in self.points.items():
            for id_, point in points.items():
                if (collection, point.source) == (name, source):
                    points[id_] = replace(point, failure="")

    def finish(self) -> None:
        """Let every copy that was begun arrive: then its key answers."""
        for name, key, _ in self._moving:
            source, target = self.points[name, FALLBACK_SHARD_KEY], self.points[name, key.key]
            target |= {id_: point for id_, point in source.items() if point.belongs(key)}
            shards = self.collections[name].keys[key.key]
            active = tuple(replace(replica, state=ACTIVE) for shard in shards for replica in shard.replicas)
            self._set_key(name, key.key, (replace(shards[0], replicas=active, busy=False),))
        self._moving = []

    # --- what the operator asks -----------------------------------------------------------------------------------

    def refusal(self, server: StoreServer) -> Unknown | None:
        """Return why nothing is answered; None where it is."""
        if self.silent:
            return Unreachable(f"{server.url} keeps silent for 5 s")
        if self.api_key is not None and server.api_key != self.api_key:
            return Unauthorised(f"{server.url} refuses the API key (Invalid API key or JWT)")
        return None if self.rights else Denied(f"{server.url} lets us in but gives no right to our collections")

    def seen(self, subject: Subject) -> StoreState:
        """Return what is there of `subject`; a copy that was seen on its way arrives after this."""
        aliases = {alias: name for alias, name in sorted(self.aliases.items()) if _ours(subject.alias, alias)}
        names = {name for name in self.collections if _ours(subject.alias, name)} | {aliases.get(subject.alias)}
        found = {name: self._observed(name, subject) for name in sorted(filter(None, names))}
        if all(shown for _, _, shown in self._moving):
            self.finish()
        self._moving = [(name, key, True) for name, key, _ in self._moving]
        return StoreState(found, aliases)

    def counts(self, found: ObservedCollection) -> Fact[DocumentCounts]:
        """Return how many documents there are."""
        if not isinstance(found.shared, Unknown) and any(found.answers(key) for key in found.shared.value):
            return Unknown("a partition lies in two places until its copies are deleted")
        failed = [bool(point.failure) for point in self._records(found)]
        return Known(DocumentCounts(indexed=failed.count(False), failed=failed.count(True)))

    def by_source(self, found: ObservedCollection) -> Fact[tuple[SourceDocuments, ...]]:
        """Return how many documents each source has."""
        counted = self.counts(found)
        if isinstance(counted, Unknown):
            return counted
        told = []
        for name in sorted({point.source for point in self._records(found)}):
            failures = [point.failure for point in self._records(found) if point.source == name]
            reasons = [each.partition(":")[0] for each in failures if each]
            told.append(
                SourceDocuments(
                    name=name,
                    indexed=failures.count(""),
                    failed=len(reasons),
                    last_reason=reasons[-1] if reasons else "",
                )
            )
        return Known(tuple(told))

    def _records(self, found: ObservedCollection) -> list[Point]:
        """Return the records of documents in the order in which they were written."""
        places = [points for (name, _), points in self.points.items() if name == found.name]
        records = [point for points in places for point in points.values() if point.record]
        return sorted(records, key=lambda point: int(point.document))

    def take(self, url: str, step: Step) -> Fact[None]:
        """Take a step as a server would."""
        match step:
            case CreateCollection(wanted):
                return self._create(wanted)
            case ChangeSettings(collection, _, settings):
                self.change(collection, **{name: getattr(settings, name) for name in Settings.__slots__})
            case CreateIndexes(collection, indexes):
                for index in indexes:
                    self.put_index(collection, index)
            case CreateShardKeys(collection, keys):
                if not self.cluster_mode:
                    return Rejected(
                        f"{url} has no shard keys (Distributed mode disabled): start Qdrant with "
                        "cluster.enabled, one node is enough"
                    )
                for each in keys:
                    if each.key not in self.collections[collection].keys:
                        copies = self.collections[collection].settings.replication_factor
                        self.add_key(collection, each.key, shards=each.shards, copies=copies)
            case PreparePartition(collection, key):
                if key.key not in self.collections[collection].keys:
                    self.add_key(collection, key.key, state=PARTIAL)
            case CopyPartition(collection, key):
                return self._copy(collection, key)
            case DeleteCopies():
                return self._delete_copies(step)
            case CopyShard():
                self._copy_shard(step)
            case SetAlias(alias, collection, before):
                if self.aliases.get(alias) not in (before, collection):
                    return Rejected(f"alias {alias} stands for {self.aliases[alias]} meanwhile: it is left as it is")
                self.point_alias(alias, collection)
            case DeleteAlias(alias, collection):
                if self.aliases.get(alias) == collection:
                    del self.aliases[alias]
            case DeleteCollection(collection, owner):
                if collection in self.collections and self.collections[collection].owner == owner:
                    self.drop(collection)
            case _:
                assert_never(step)
        return DONE

    def _create(self, wanted: Collection) -> Fact[None]:
        if wanted.name not in self.collections:
            self.make(wanted.name, owner=wanted.owner, shape=wanted.shape)
            self.collections[wanted.name] = replace(self.collections[wanted.name], settings=wanted.settings)
        return DONE

    def _copy(self, name: str, key: ShardKey) -> Fact[None]:
        shards = self.collections[name].keys.get(key.key, ())
        if not shards:
            return Rejected(f"shard key {key.key} of {name} is gone; it is made anew")
        if any(shard.active or shard.busy for shard in shards):
            return DONE
        if self._moving:
            raise Impossible("a shard is copied to one place at a time")
        self._set_key(name, key.key, tuple(replace(shard, busy=True) for shard in shards))
        self._moving.append((name, key, False))
        return DONE

    def _delete_copies(self, step: DeleteCopies) -> Fact[None]:
        name, key = step.collection, step.key
        left, arrived = self._of(name, FALLBACK_SHARD_KEY, key), self._of(name, key.key, key)
        if self.collections[name].owner != step.owner or not self.collections[name].answers(key.key):
            return Rejected(f"{name} was changed meanwhile: nothing is deleted from {FALLBACK_SHARD_KEY}")
        documents = {point.document for point in arrived if point.record}
        for point in left:
            if point.document in documents:
                del self.points[name, FALLBACK_SHARD_KEY][point.id]
        if any(point.document not in documents for point in left):
            return Rejected(f"points of {key.key} lie in {FALLBACK_SHARD_KEY} of {name} only: they are not deleted")
        return DONE

    def _copy_shard(self, step: CopyShard) -> None:
        if step.target not in self.peers:
            raise Impossible(f"there is no node {step.target}")
        for key, shards in self.collections[step.collection].keys.items():
            grown = tuple(
                replace(each, replicas=(*each.replicas, Replica(step.target, ACTIVE)))
                if each.id == step.shard
                else each
                for each in shards
            )
            self._set_key(step.collection, key, grown)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _observed(self, name: str, subject: Subject) -> ObservedCollection:
        found = self.collections[name]
        if found.owner is None:
            return replace(found, keys={}, shared=Known({}))
        copies = found.settings.replication_factor
        short = any(len(shard.replicas) < copies for shards in found.keys.values() for shard in shards)
        keys = dict(sorted(found.keys.items()))
        busy = any(place == name for place, _, _ in self._moving)
        if busy:
            keys[FALLBACK_SHARD_KEY] = tuple(replace(each, busy=True) for each in keys[FALLBACK_SHARD_KEY])
        shared = Known(self._shared(name, subject))
        return replace(found, keys=keys, shared=shared, peers=self.peers if short else ())

    def _shared(self, name: str, subject: Subject) -> Mapping[str, Shared]:
        found = self.collections[name]
        points = self.points.get((name, FALLBACK_SHARD_KEY), {}).values()
        partitions = {ShardKey.of(subject.shard_by, point.tenant, point.access_level) for point in points}
        shared = {}
        for each in sorted(partitions, key=lambda partition: partition.key):
            left = self._of(name, FALLBACK_SHARD_KEY, each)
            if len(left) >= GROWN_POINTS or each.key in found.keys or each.key in subject.keys:
                records = sum(point.record for point in left)
                arrived = sum(point.record for point in self._of(name, each.key, each))
                own = found.answers(each.key)
                shared[each.key] = Shared(each, len(left), *((records, arrived) if own else ()))
        return shared

    def _of(self, name: str, key: str, partition: ShardKey) -> list[Point]:
        return [point for point in self.points.get((name, key), {}).values() if point.belongs(partition)]

    def _set_key(self, name: str, key: str, shards: tuple[ObservedShard, ...]) -> None:
        self.collections[name] = replace(self.collections[name], keys={**self.collections[name].keys, key: shards})

    def _must_exist(self, name: str, key: str | None = None) -> None:
        if name not in self.collections or (key is not None and key not in self.collections[name].keys):
            raise Impossible(f"there is no {name} {key or ''}".rstrip())


class FakeStores:
    """The client, with servers by their URL; an address without one answers nobody."""

    def __init__(self, servers: Mapping[str, FakeServer] | None = None) -> None:
        self.servers = dict(servers or {})
        self.looks = 0

    async def look(self, server: StoreServer, subject: Subject) -> Fact[StoreState]:
        """Return what is there of `subject`."""
        self.looks += 1
        found = self._server(server)
        return found if isinstance(found, Unknown) else Known(found.seen(subject))

    async def documents(self, server: StoreServer, found: ObservedCollection) -> Fact[DocumentCounts]:
        """Return how many documents a collection has."""
        asked = self._server(server)
        return asked if isinstance(asked, Unknown) else asked.counts(found)

    async def by_source(self, server: StoreServer, found: ObservedCollection) -> Fact[tuple[SourceDocuments, ...]]:
        """Return how many documents each source has."""
        asked = self._server(server)
        return asked if isinstance(asked, Unknown) else asked.by_source(found)

    async def perform(self, server: StoreServer, step: Step) -> Fact[None]:
        """Take `step` at once."""
        found = self._server(server)
        if isinstance(found, Unknown):
            return found
        found.steps.append(step)
        return found.take(server.url, step)

    def _server(self, server: StoreServer) -> FakeServer | Unknown:
        found = self.servers.get(server.url)
        if found is None:
            return Unreachable(f"{server.url} cannot be reached (ConnectError)")
        return found.refusal(server) or found


def _ours(alias: str, name: str) -> bool:
    rest = name.removeprefix(alias)
    return name == alias or (name.startswith(alias) and rest.startswith(".g") and rest[2:].isdigit())
