"""What a Qdrant server says of our collections, as facts. Imported by `qdrant` on first use.

A look costs two requests for the lists, and two for each collection of ours; a few more while partitions move, or where
copies of shards are missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from lectern_contract.collection import (
    DENSE,
    FALLBACK_SHARD_KEY,
    GROWN_POINTS,
    SPARSE,
    Index,
    Owner,
    Settings,
    Shape,
    ShardKey,
)
from lectern_contract.payload import Field, PayloadKind
from lectern_operator.clients import qdrant_connection
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.vector_store import (
    ObservedCollection,
    ObservedShard,
    Replica,
    Shared,
    StoreState,
    Subject,
)

MAX_TENANTS = 10_000
"""Tenants of the fallback shard that one look hears of, those with the most points first."""
MAX_DIVIDED = 50
"""Tenants whose points one look counts by access level."""
MAX_COUNTED = 20
"""Partitions whose documents one look counts in both places."""
_RECORD = {Field.KIND: PayloadKind.RECORD.value}


async def look(qdrant: AsyncQdrantClient, subject: Subject) -> Fact[StoreState]:
    """Return the collections and aliases of `subject`."""
    listed = {each.name for each in (await qdrant.get_collections()).collections}
    family = re.compile(rf"{re.escape(subject.alias)}(\.g[1-9][0-9]*)?")
    every = {each.alias_name: each.collection_name for each in (await qdrant.get_aliases()).aliases}
    aliases = {alias: name for alias, name in sorted(every.items()) if family.fullmatch(alias)}
    names = sorted(name for name in listed if family.fullmatch(name) or name == aliases.get(subject.alias))
    collections = {name: found for name in names if (found := await _collection(qdrant, name, subject)) is not None}
    return Known(StoreState(collections, aliases))


def where(values: Mapping[str, str]) -> models.Filter:
    """Return the filter that all these fields have these values."""
    return models.Filter(
        must=[models.FieldCondition(key=key, match=models.MatchValue(value=value)) for key, value in values.items()]
    )


async def owner(qdrant: AsyncQdrantClient, name: str) -> Owner | None:
    """Return whose a collection is now; None for nobody's of ours, and where there is none."""
    try:
        return Owner.of((await qdrant.get_collection(name)).config.metadata)
    except UnexpectedResponse as error:
        if error.status_code == 404:
            return None
        raise


async def keys(qdrant: AsyncQdrantClient, name: str) -> dict[str, tuple[ObservedShard, ...]]:
    """Return the shards of a collection by shard key."""
    cluster = await qdrant.collection_cluster_info(name)
    busy = {each.shard_id for each in cluster.shard_transfers}
    busy |= {each.to_shard_id for each in cluster.shard_transfers if each.to_shard_id is not None}
    replicas: dict[tuple[str, int], list[Replica]] = {}
    told: list[tuple[models.LocalShardInfo | models.RemoteShardInfo, int]] = []
    told += [(local, cluster.peer_id) for local in cluster.local_shards]
    told += [(remote, remote.peer_id) for remote in cluster.remote_shards]
    for shard, peer in told:
        if shard.shard_key is not None:
            copies = replicas.setdefault((str(shard.shard_key), shard.shard_id), [])
            copies.append(Replica(peer, shard.state.value))
    found: dict[str, list[ObservedShard]] = {}
    for (key, id_), copies in sorted(replicas.items()):
        in_order = tuple(sorted(copies, key=lambda each: each.peer))
        found.setdefault(key, []).append(ObservedShard(id_, in_order, busy=id_ in busy))
    return {key: tuple(shards) for key, shards in found.items()}


async def count(qdrant: AsyncQdrantClient, name: str, key: str, values: Mapping[str, str]) -> int:
    """Return exactly how many points with these values lie under a shard key."""
    return (await qdrant.count(name, count_filter=where(values), exact=True, shard_key_selector=key)).count


# ------------------------------------------------------------------------------------------------- one collection


async def _collection(qdrant: AsyncQdrantClient, name: str, subject: Subject) -> ObservedCollection | None:
    """Return a collection, without its shards where it is not ours; None when it is gone meanwhile."""
    try:
        info = await qdrant.get_collection(name)
        owner, settings = Owner.of(info.config.metadata), _settings(info.config)
        observed = ObservedCollection(
            name, owner, _shape(info.config.params), settings, _indexes(info), status=info.status.value
        )
        if owner is None:
            return observed
        shards = await keys(qdrant, name)
        return ObservedCollection(
            name,
            owner,
            observed.shape,
            settings,
            observed.indexes,
            shards,
            shared=await _shared(qdrant, observed, shards, subject),
            peers=await _peers(qdrant, shards, settings.replication_factor),
            status=observed.status,
        )
    except UnexpectedResponse as error:
        if error.status_code == 404:
            return None
        raise


async def _peers(
    qdrant: AsyncQdrantClient, shards: Mapping[str, tuple[ObservedShard, ...]], copies: int
) -> tuple[int, ...]:
    """Return the nodes, where some shard has fewer copies than it should."""
    if all(len(shard.replicas) >= copies for each in shards.values() for shard in each):
        return ()
    status = await qdrant.cluster_status()
    return tuple(sorted(int(peer) for peer in status.peers)) if isinstance(status, models.ClusterStatusOneOf1) else ()


def _shape(params: models.CollectionParams) -> Shape:
    dense = _dense(params)
    return Shape(
        dimensions=dense.size if dense is not None else None,
        distance=dense.distance.value if dense is not None else None,
        sparse=SPARSE in (params.sparse_vectors or {}),
        custom_sharding=params.sharding_method == models.ShardingMethod.CUSTOM,
    )


def _dense(params: models.CollectionParams) -> models.VectorParams | None:
    return params.vectors.get(DENSE) if isinstance(params.vectors, dict) else None


def _settings(config: models.CollectionConfig) -> Settings:
    """Return what is in force: what a vector says goes before what its collection says."""
    params, limits = config.params, config.strict_mode_config
    dense, sparse = _dense(params), (params.sparse_vectors or {}).get(SPARSE)
    own = dense.hnsw_config if dense is not None else None
    graph = {**_set(config.hnsw_config), **(_set(own) if own is not None else {})}
    return Settings(
        m=graph["m"],
        ef_construct=graph["ef_construct"],
        links=graph.get("payload_m", graph["m"]),
        quantization=_quantization((dense and dense.quantization_config) or config.quantization_config),
        on_disk=dense is not None and _on_disk(dense),
        replication_factor=params.replication_factor or 1,
        write_consistency_factor=params.write_consistency_factor or 1,
        idf=sparse is not None and sparse.modifier == models.Modifier.IDF,
        strict=limits is not None
        and bool(limits.enabled)
        and limits.unindexed_filtering_retrieve is False
        and limits.unindexed_filtering_update is False,
    )


def _set(graph: models.HnswConfig | models.HnswConfigDiff) -> dict[str, Any]:
    return {name: value for name, value in graph if value is not None}


def _on_disk(dense: models.VectorParams) -> bool:
    return dense.memory == models.Memory.COLD if dense.memory is not None else bool(dense.on_disk)


def _quantization(config: models.QuantizationConfig | None) -> str:
    """Return the word of the spec for what is set as we set it, a description for anything else."""
    match config:
        case None:
            return "None"
        case models.ScalarQuantization(scalar=scalar):
            return f"Scalar{_placed(scalar)}"
        case models.BinaryQuantization(binary=binary):
            return f"Binary{_placed(binary)}"
        case _:
            return type(config).__name__.removesuffix("Quantization")


def _placed(config: models.ScalarQuantizationConfig | models.BinaryQuantizationConfig) -> str:
    pinned = config.memory == models.Memory.PINNED if config.memory is not None else bool(config.always_ram)
    return "" if pinned else " not pinned in memory"


def _indexes(info: models.CollectionInfo) -> tuple[Index, ...]:
    return tuple(
        Index(
            name,
            each.data_type.value,
            tenant=bool(getattr(each.params, "is_tenant", None)),
            graph=getattr(each.params, "enable_hnsw", None) is not False,
        )
        for name, each in sorted(info.payload_schema.items())
    )


# ------------------------------------------------------------------------------------------ in the fallback shard


async def _shared(
    qdrant: AsyncQdrantClient,
    observed: ObservedCollection,
    shards: Mapping[str, tuple[ObservedShard, ...]],
    subject: Subject,
) -> Fact[Mapping[str, Shared]]:
    """Return the partitions in the fallback shard that matter, or why they cannot be counted."""
    by_level = subject.shard_by == "TenantAndAccessLevel"
    fields = {Field.TENANT, *((Field.ACCESS_LEVEL,) if by_level else ()), Field.KIND}
    if not all(shard.active for shard in shards.get(FALLBACK_SHARD_KEY, ())):
        return Unknown(f"shard key {FALLBACK_SHARD_KEY} does not answer")
    if not shards.get(FALLBACK_SHARD_KEY):
        return Known({})
    if not fields <= {index.field for index in observed.indexes if index.type == "keyword"}:
        return Unknown("points cannot be counted before the indexes are there")
    ours = frozenset(shards) | subject.keys
    try:
        found = [
            Shared(partition, points)
            for partition, points in await _partitions(qdrant, observed.name, subject, ours)
            if points >= GROWN_POINTS or partition.key in ours
        ]
        counted = [await _counted(qdrant, observed.name, each, shards) for each in found[:MAX_COUNTED]]
    except UnexpectedResponse as error:
        return Unknown(f"partitions cannot be counted: {qdrant_connection.words(error)}")
    return Known({each.partition.key: each for each in (*counted, *found[MAX_COUNTED:]) if each.points})


async def _partitions(
    qdrant: AsyncQdrantClient, name: str, subject: Subject, ours: frozenset[str]
) -> list[tuple[ShardKey, int]]:
    """Return partitions of the fallback shard and about how many points they have, the largest first."""
    tenants = await _values(qdrant, name, Field.TENANT, {}, MAX_TENANTS)
    if subject.shard_by == "Tenant":
        return [(ShardKey.of("Tenant", tenant, ""), points) for tenant, points in tenants]
    with_keys = {key.partition("/")[0] for key in ours}
    matter = [tenant for tenant, points in tenants if points >= GROWN_POINTS or tenant in with_keys]
    found = [
        (ShardKey.of(subject.shard_by, tenant, level), points)
        for tenant in matter[:MAX_DIVIDED]
        for level, points in await _values(qdrant, name, Field.ACCESS_LEVEL, {Field.TENANT: tenant}, MAX_TENANTS)
    ]
    return sorted(found, key=lambda each: (-each[1], each[0].key))


async def _values(
    qdrant: AsyncQdrantClient, name: str, field: str, within: Mapping[str, str], limit: int
) -> list[tuple[str, int]]:
    # Not exact: that counts each value by itself. What matters is counted again.
    answer = await qdrant.facet(
        name,
        key=field,
        facet_filter=where(within) if within else None,
        limit=limit,
        shard_key_selector=FALLBACK_SHARD_KEY,
    )
    return [(hit.value, hit.count) for hit in answer.hits if isinstance(hit.value, str)]


async def _counted(
    qdrant: AsyncQdrantClient, name: str, shared: Shared, shards: Mapping[str, tuple[ObservedShard, ...]]
) -> Shared:
    """Return `shared` with exact counts in both places, where its own key answers."""
    key, values = shared.partition.key, shared.partition.where()
    if not shards.get(key) or not all(shard.active for shard in shards[key]):
        return shared
    return Shared(
        shared.partition,
        await count(qdrant, name, FALLBACK_SHARD_KEY, values),
        records=await count(qdrant, name, FALLBACK_SHARD_KEY, {**values, **_RECORD}),
        arrived=await count(qdrant, name, key, {**values, **_RECORD}),
    )
