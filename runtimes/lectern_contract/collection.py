"""The collection of one index generation as it has to be: vectors, payload indexes, shard keys, whose it is.

The operator makes and mends collections by this, workers and queries route by `shard_key`. A partition that has a shard
key of its own lies there; all others share the fallback key. Every call names both, target first, so that nobody has to
know where a partition lies, nor when it moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lectern_contract import generation as generations
from lectern_contract import names
from lectern_contract.payload import INDEXED, Field
from lectern_contract.resources import KnowledgeBase

DENSE = "dense"
SPARSE = "sparse"
DISTANCE = "Cosine"
FALLBACK_SHARD_KEY = "_shared"
"""No partition has this key: the parts of a partition begin with a letter or a digit."""
GROWN_POINTS = 20_000
"""Points from which a partition is worth shards of its own (Qdrant's documentation on tiered multitenancy)."""
MAX_SHARD_KEYS = 1_000
"""Keys beside the fallback: each costs every node of a cluster memory and a place in its consensus."""
METADATA = "lectern"
"""Entry of a collection's metadata that says whose it is."""
LINKS_WITHOUT_GRAPH = 16
"""Edges of a node among its tenant's points where `hnsw.m` is 0: then there is no graph over all tenants."""

ShardBy = Literal["TenantAndAccessLevel", "Tenant"]
IndexType = Literal["keyword", "integer", "bool", "datetime"]
_TENANTS = frozenset({Field.TENANT, Field.ACCESS_LEVEL})
_FILTERABLE: Mapping[str, IndexType] = {
    "Boolean": "bool",
    "DateTime": "datetime",
    "Integer": "integer",
    "Keyword": "keyword",
}


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a collection is, and what decides its vectors; kept in the collection's metadata."""

    namespace: str
    knowledge_base: str
    generation: int
    index_identity: str

    def metadata(self) -> dict[str, Any]:
        """Return the metadata that says so."""
        entry = {
            "namespace": self.namespace,
            "knowledge_base": self.knowledge_base,
            "generation": self.generation,
            "index_identity": self.index_identity,
        }
        return {METADATA: entry}

    @classmethod
    def of(cls, metadata: Mapping[str, Any] | None) -> Owner | None:
        """Return the owner that `metadata` names; None for a collection that nobody of ours made."""
        match (metadata or {}).get(METADATA):
            case {
                "namespace": str(namespace),
                "knowledge_base": str(knowledge_base),
                "generation": int(generation),
                "index_identity": str(index_identity),
            }:
                return cls(namespace, knowledge_base, generation, index_identity)
        return None


@dataclass(frozen=True, slots=True)
class Shape:
    """What a collection gets when it is made and keeps for its life; `dimensions` None: no vector named `dense`."""

    dimensions: int | None
    distance: str | None
    sparse: bool
    custom_sharding: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be changed in place, as it takes effect.

    `links` are the edges of a node among the points of one tenant (Qdrant's `payload_m`); `quantization` may name a
    kind that no spec asks for; `strict` means that filters on fields without an index are refused; `idf` that the
    store weighs terms by how rare they are.
    """

    m: int
    ef_construct: int
    links: int
    quantization: str
    on_disk: bool
    replication_factor: int
    write_consistency_factor: int
    idf: bool
    strict: bool = True


@dataclass(frozen=True, slots=True, order=True)
class Index:
    """The index of one payload field.

    `tenant` keeps the points of one value together; `graph` gives each value edges of its own in the vector index,
    which is worth its price only for fields that questions filter by.
    """

    field: str
    type: str
    tenant: bool = False
    graph: bool = True


@dataclass(frozen=True, slots=True)
class ShardKey:
    """A shard key and what lies there: one tenant's points, of one access level where a key stands for it.

    The fallback key has neither. `shards` is how many shards the key has.
    """

    key: str
    tenant: str | None
    access_level: str | None
    shards: int = 1

    @classmethod
    def of(cls, shard_by: ShardBy, tenant: str, access_level: str, shards: int = 1) -> ShardKey:
        """Return the key of a partition."""
        level = access_level if shard_by == "TenantAndAccessLevel" else None
        return cls(shard_key(shard_by, tenant, access_level), tenant, level, shards)

    def where(self) -> dict[str, str]:
        """Return the payload fields that every point of this key has, with their values."""
        wanted = {Field.TENANT: self.tenant, Field.ACCESS_LEVEL: self.access_level}
        return {field: value for field, value in wanted.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Collection:
    """The collection of one generation, as it has to be."""

    name: str
    alias: str
    owner: Owner
    shape: Shape
    settings: Settings
    indexes: tuple[Index, ...]


def shard_key(shard_by: ShardBy, tenant: str, access_level: str) -> str:
    """Return the key that a partition has where it has one of its own: the target of every call."""
    return tenant if shard_by == "Tenant" else f"{tenant}/{access_level}"


def parsed(shard_by: ShardBy, key: str) -> ShardKey | None:
    """Return what a shard key stands for; None for one that no partition can have."""
    tenant, slash, level = key.partition("/")
    if not tenant or tenant == FALLBACK_SHARD_KEY or bool(slash) != (shard_by == "TenantAndAccessLevel"):
        return None
    return ShardKey(key, tenant, level or None) if bool(level) == bool(slash) else None


def fallback() -> ShardKey:
    """Return the key of all partitions that have none of their own; promotion needs it to be one shard."""
    return ShardKey(FALLBACK_SHARD_KEY, None, None)


def shard_keys(kb: KnowledgeBase) -> tuple[ShardKey, ...]:
    """Return the keys that the spec asks for: those of dedicated tenants by name, then the fallback."""
    spec = kb.spec.partitioning
    levels = spec.access_levels if spec.shard_by == "TenantAndAccessLevel" else spec.access_levels[:1]
    dedicated = [
        ShardKey.of(spec.shard_by, tenant.name, level, tenant.shard_number)
        for tenant in spec.tenants
        if tenant.dedicated
        for level in levels
    ]
    return (*sorted(dedicated, key=lambda each: each.key), fallback())


def owner(kb: KnowledgeBase, generation: int) -> Owner:
    """Return what the metadata of the collection of `generation` says."""
    return Owner(kb.namespace, kb.name, generation, generations.index_identity(kb.spec))


def collection(kb: KnowledgeBase, *, generation: int, dimensions: int) -> Collection:
    """Return the collection of one generation of `kb`; `dimensions` is the length of a vector as it was measured.

    Raises ValueError where `kb` names no vector store.
    """
    return Collection(
        name=names.collection(kb.namespace, kb.name, generation),
        alias=names.alias(kb.namespace, kb.name),
        owner=owner(kb, generation),
        shape=Shape(dimensions, DISTANCE, kb.spec.sparse.enabled, custom_sharding=True),
        settings=_settings(kb),
        indexes=_indexes(kb),
    )


def _settings(kb: KnowledgeBase) -> Settings:
    store = kb.spec.vector_store
    if store is None:
        raise ValueError(f"KnowledgeBase {kb.name} names no vector store")
    return Settings(
        m=store.hnsw.m,
        ef_construct=store.hnsw.ef_construct,
        links=store.hnsw.m or LINKS_WITHOUT_GRAPH,
        quantization=store.quantization,
        on_disk=store.on_disk,
        replication_factor=store.replication_factor,
        write_consistency_factor=store.write_consistency_factor,
        idf=kb.spec.sparse.enabled,
    )


def _indexes(kb: KnowledgeBase) -> tuple[Index, ...]:
    fields = kb.spec.vector_store.filterable_fields if kb.spec.vector_store is not None else ()
    ours = [Index(name, kind, tenant=name in _TENANTS, graph=name in _TENANTS) for name, kind in INDEXED.items()]
    declared = [Index(Field.metadata(each.name), _FILTERABLE[each.type]) for each in fields]
    return tuple(sorted((*ours, *declared)))
