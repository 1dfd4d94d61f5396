"""Steps on a Qdrant server, each safe to take twice. Imported by `qdrant` on first use.

Before anything is deleted, or copied over, it is looked at once more: somebody else may have been there since.
"""

from __future__ import annotations

import asyncio
from typing import Any, assert_never

from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from lectern_contract.collection import DENSE, FALLBACK_SHARD_KEY, SPARSE, Collection, Index, Settings, ShardKey
from lectern_operator.clients import qdrant_copies as copies
from lectern_operator.clients import qdrant_reading as reading
from lectern_operator.facts import Fact, Known
from lectern_operator.facts.vector_store import (
    ChangeSettings,
    CopyPartition,
    CopyShard,
    CreateCollection,
    CreateIndexes,
    CreateShardKeys,
    DeleteAlias,
    DeleteCollection,
    DeleteCopies,
    PreparePartition,
    Rejected,
    SetAlias,
    Step,
)

KEYS_SECONDS = 10.0
"""How long one step goes on making shard keys; the next pass makes the rest."""
DONE: Fact[None] = Known(None)


async def take(qdrant: AsyncQdrantClient, step: Step) -> Fact[None]:  # noqa: C901 -- one line for each step
    """Take `step`; raises what qdrant-client raises."""
    match step:
        case CreateCollection(wanted):
            return await _create(qdrant, wanted)
        case ChangeSettings():
            return await _change(qdrant, step)
        case CreateIndexes(collection, indexes):
            return await _index(qdrant, collection, indexes)
        case CreateShardKeys(collection, keys):
            return await _make_keys(qdrant, collection, keys)
        case PreparePartition(collection, key):
            return await _make_key(
                qdrant, collection, key, shards=1, replication_factor=1, initial_state=models.ReplicaState.PARTIAL
            )
        case CopyPartition(collection, key):
            return await _copy_partition(qdrant, collection, key)
        case DeleteCopies():
            return await copies.delete(qdrant, step)
        case CopyShard():
            return await _copy_shard(qdrant, step)
        case SetAlias():
            return await _set_alias(qdrant, step)
        case DeleteAlias():
            return await _delete_alias(qdrant, step)
        case DeleteCollection(collection, owner):
            if await reading.owner(qdrant, collection) == owner:
                await qdrant.delete_collection(collection)
            return DONE
        case _:
            assert_never(step)


async def _create(qdrant: AsyncQdrantClient, wanted: Collection) -> Fact[None]:
    settings, shape = wanted.settings, wanted.shape
    if shape.dimensions is None:
        raise ValueError(f"{wanted.name} has no vectors")
    dense = models.VectorParams(size=shape.dimensions, distance=models.Distance.COSINE, memory=_memory(settings))
    try:
        await qdrant.create_collection(
            wanted.name,
            vectors_config={DENSE: dense},
            sparse_vectors_config=_sparse(settings) if shape.sparse else None,
            sharding_method=models.ShardingMethod.CUSTOM,
            shard_number=1,
            replication_factor=settings.replication_factor,
            write_consistency_factor=settings.write_consistency_factor,
            hnsw_config=_graph(settings),
            quantization_config=_quantization(settings),
            strict_mode_config=_strict(),
            metadata=wanted.owner.metadata(),
        )
    except UnexpectedResponse as error:
        if not _exists(error):
            raise
    return DONE


async def _change(qdrant: AsyncQdrantClient, step: ChangeSettings) -> Fact[None]:
    """Set everything for the collection, and take back what its vector says otherwise."""
    settings = step.settings
    dense = models.VectorParamsDiff(
        hnsw_config=models.HnswConfigDiff(),
        quantization_config=models.Disabled.DISABLED,
        memory=_memory(settings),
    )
    await qdrant.update_collection(
        step.collection,
        collection_params=models.CollectionParamsDiff(
            replication_factor=settings.replication_factor,
            write_consistency_factor=settings.write_consistency_factor,
        ),
        vectors_config={DENSE: dense},
        hnsw_config=_graph(settings),
        quantization_config=_quantization(settings) or models.Disabled.DISABLED,
        sparse_vectors_config=_sparse(settings) if step.shape.sparse else None,
        strict_mode_config=_strict(),
    )
    return DONE


async def _index(qdrant: AsyncQdrantClient, collection: str, indexes: tuple[Index, ...]) -> Fact[None]:
    for each in indexes:
        # Not waited for: the index of a large collection takes minutes, and a look tells when it is there.
        await qdrant.create_payload_index(collection, each.field, field_schema=_schema(each), wait=False)
    return DONE


async def _make_keys(qdrant: AsyncQdrantClient, collection: str, keys: tuple[ShardKey, ...]) -> Fact[None]:
    end = asyncio.get_running_loop().time() + KEYS_SECONDS
    for key in keys:
        await _make_key(qdrant, collection, key, shards=key.shards)
        if asyncio.get_running_loop().time() > end:
            break
    return DONE


async def _make_key(
    qdrant: AsyncQdrantClient, collection: str, key: ShardKey, *, shards: int, **options: Any
) -> Fact[None]:
    try:
        await qdrant.create_shard_key(collection, key.key, shards_number=shards, **options)
    except UnexpectedResponse as error:
        if not _exists(error):
            raise
    return DONE


async def _copy_partition(qdrant: AsyncQdrantClient, collection: str, key: ShardKey) -> Fact[None]:
    there = (await reading.keys(qdrant, collection)).get(key.key, ())
    if not there:
        return Rejected(f"shard key {key.key} of {collection} is gone; it is made anew")
    if any(shard.active or shard.busy for shard in there):
        return DONE  # it answers or is on its way: what lies there is newer than what would be copied
    operation = models.ReplicatePointsOperation(
        replicate_points=models.ReplicatePoints(
            filter=reading.where(key.where()), from_shard_key=FALLBACK_SHARD_KEY, to_shard_key=key.key
        )
    )
    await qdrant.cluster_collection_update(collection, operation)
    return DONE


async def _copy_shard(qdrant: AsyncQdrantClient, step: CopyShard) -> Fact[None]:
    shards = [shard for each in (await reading.keys(qdrant, step.collection)).values() for shard in each]
    wanted = [shard for shard in shards if shard.id == step.shard]
    if any(shard.busy for shard in shards) or any(each.peer == step.target for each in _replicas(wanted)):
        return DONE
    operation = models.ReplicateShardOperation(
        replicate_shard=models.ReplicateShard(shard_id=step.shard, from_peer_id=step.source, to_peer_id=step.target)
    )
    await qdrant.cluster_collection_update(step.collection, operation)
    return DONE


async def _set_alias(qdrant: AsyncQdrantClient, step: SetAlias) -> Fact[None]:
    now = await _target(qdrant, step.alias)
    if now == step.collection:
        return DONE
    if now != step.before:
        return Rejected(f"alias {step.alias} stands for {now} meanwhile: it is left as it is")
    gone = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=step.alias))
    made = models.CreateAliasOperation(
        create_alias=models.CreateAlias(alias_name=step.alias, collection_name=step.collection)
    )
    # One request: nobody sees the time between.
    await qdrant.update_collection_aliases([made] if now is None else [gone, made])
    return DONE


async def _delete_alias(qdrant: AsyncQdrantClient, step: DeleteAlias) -> Fact[None]:
    if await _target(qdrant, step.alias) == step.collection:
        gone = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=step.alias))
        await qdrant.update_collection_aliases([gone])
    return DONE


async def _target(qdrant: AsyncQdrantClient, alias: str) -> str | None:
    found = (await qdrant.get_aliases()).aliases
    return next((each.collection_name for each in found if each.alias_name == alias), None)


def _replicas(shards: list[Any]) -> list[Any]:
    return [replica for shard in shards for replica in shard.replicas]


def _exists(error: UnexpectedResponse) -> bool:
    return error.status_code in (400, 409) and b"already exists" in error.content


def _memory(settings: Settings) -> models.Memory:
    return models.Memory.COLD if settings.on_disk else models.Memory.CACHED


def _graph(settings: Settings) -> models.HnswConfigDiff:
    return models.HnswConfigDiff(m=settings.m, ef_construct=settings.ef_construct, payload_m=settings.links)


def _quantization(settings: Settings) -> models.ScalarQuantization | models.BinaryQuantization | None:
    """Return how vectors are compressed for the search; kept in memory, also where the full ones are not."""
    memory = models.Memory.PINNED
    match settings.quantization:
        case "Scalar":
            scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, memory=memory)
            return models.ScalarQuantization(scalar=scalar)
        case "Binary":
            return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(memory=memory))
        case _:
            return None


def _sparse(settings: Settings) -> dict[str, models.SparseVectorParams]:
    modifier = models.Modifier.IDF if settings.idf else models.Modifier.NONE
    return {SPARSE: models.SparseVectorParams(modifier=modifier)}


def _strict() -> models.StrictModeConfig:
    return models.StrictModeConfig(enabled=True, unindexed_filtering_retrieve=False, unindexed_filtering_update=False)


def _schema(index: Index) -> Any:
    """Return the index as Qdrant wants it; what is Qdrant's default is left out."""
    graph = None if index.graph else False
    match index.type:
        case "keyword":
            tenant = True if index.tenant else None
            kind = models.KeywordIndexType.KEYWORD
            return models.KeywordIndexParams(type=kind, is_tenant=tenant, enable_hnsw=graph)
        case "integer":
            return models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, enable_hnsw=graph)
        case "bool":
            return models.BoolIndexParams(type=models.BoolIndexType.BOOL, enable_hnsw=graph)
        case "datetime":
            return models.DatetimeIndexParams(type=models.DatetimeIndexType.DATETIME, enable_hnsw=graph)
        case other:
            raise ValueError(f"no index is made of type {other}")
