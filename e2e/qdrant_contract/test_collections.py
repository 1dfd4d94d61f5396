"""Collections: what a creation stores, what an update may change, what is refused."""

from typing import Any

import httpx
import pytest
from qdrant_client import AsyncQdrantClient, models

from e2e.qdrant_contract.worlds import Collection, make, point, refused

DENSE = {"dense": models.VectorParams(size=4, distance=models.Distance.DOT)}


async def test_server_says_a_version_that_the_client_can_talk_to(qdrant: AsyncQdrantClient) -> None:
    info = await qdrant.info()
    major, minor = info.version.split(".")[:2]
    assert (int(major), int(minor) >= 19) == (1, True)


async def test_new_collection_exists_and_is_listed(qdrant: AsyncQdrantClient, name: str) -> None:
    before = await qdrant.collection_exists(name)
    await make(qdrant, name)
    listed = [each.name for each in (await qdrant.get_collections()).collections]
    assert (before, await qdrant.collection_exists(name), listed.count(name)) == (False, True, 1)


async def test_collection_shows_its_vectors_as_they_were_asked_for(qdrant: AsyncQdrantClient, name: str) -> None:
    await qdrant.create_collection(
        name,
        vectors_config={
            "dense": models.VectorParams(
                size=8,
                distance=models.Distance.COSINE,
                on_disk=True,
                hnsw_config=models.HnswConfigDiff(m=0, payload_m=16),
            )
        },
        sparse_vectors_config={"sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        sharding_method=models.ShardingMethod.CUSTOM,
        shard_number=1,
        replication_factor=1,
        write_consistency_factor=1,
        on_disk_payload=True,
    )
    params = (await qdrant.get_collection(name)).config.params
    assert isinstance(params.vectors, dict)
    assert params.sparse_vectors is not None
    dense = params.vectors["dense"]
    assert dense.hnsw_config is not None
    assert (dense.size, dense.distance, dense.on_disk) == (8, models.Distance.COSINE, True)
    assert (dense.hnsw_config.m, dense.hnsw_config.payload_m) == (0, 16)
    assert params.sparse_vectors["sparse"].modifier == models.Modifier.IDF
    assert (params.sharding_method, params.shard_number, params.replication_factor) == (
        models.ShardingMethod.CUSTOM,
        1,
        1,
    )
    assert (params.write_consistency_factor, params.on_disk_payload) == (1, True)


async def test_collection_shows_index_and_quantization_settings(qdrant: AsyncQdrantClient, name: str) -> None:
    quantization = models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    )
    await qdrant.create_collection(
        name,
        vectors_config=DENSE,
        hnsw_config=models.HnswConfigDiff(m=24, ef_construct=200),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=5000),
        quantization_config=quantization,
    )
    config = (await qdrant.get_collection(name)).config
    assert (config.hnsw_config.m, config.hnsw_config.ef_construct) == (24, 200)
    assert config.hnsw_config.full_scan_threshold == 10_000  # the server's default fills what was left out
    assert config.optimizer_config.indexing_threshold == 5000
    assert config.quantization_config == quantization


async def test_metadata_is_stored_and_returned(qdrant: AsyncQdrantClient, name: str) -> None:
    metadata = {"generation": 3, "settings": {"model": "m", "dimensions": [4, 8]}, "owner": "naïve ☃"}
    await qdrant.create_collection(name, vectors_config=DENSE, metadata=metadata)
    assert (await qdrant.get_collection(name)).config.metadata == metadata


async def test_updated_metadata_is_merged_with_what_was_there(qdrant: AsyncQdrantClient, name: str) -> None:
    await qdrant.create_collection(name, vectors_config=DENSE, metadata={"kept": 1, "changed": 1})
    await qdrant.update_collection(name, metadata={"changed": 2, "new": [3]})
    assert (await qdrant.get_collection(name)).config.metadata == {"kept": 1, "changed": 2, "new": [3]}


async def test_new_collection_is_green_and_empty(collection: Collection) -> None:
    info = await collection.qdrant.get_collection(collection.name)
    assert (info.status, info.points_count) == (models.CollectionStatus.GREEN, 0)


async def test_collection_counts_the_points_of_all_shard_keys(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "large")
    await collection.upsert(point(1), point(2))
    await collection.upsert(point(1), key="large")
    assert (await collection.qdrant.get_collection(collection.name)).points_count == 3


async def test_taken_name_is_refused(collection: Collection) -> None:
    with refused(400, 409, saying="already exists"):
        await collection.qdrant.create_collection(collection.name, vectors_config=DENSE)


async def test_missing_collection_is_not_found(qdrant: AsyncQdrantClient, name: str) -> None:
    with refused(404, saying=name):
        await qdrant.get_collection(name)


async def test_deleting_a_missing_collection_is_no_error(qdrant: AsyncQdrantClient, name: str) -> None:
    assert await qdrant.delete_collection(name) is False


async def test_deleted_collection_is_gone_and_its_name_is_free(collection: Collection) -> None:
    await collection.upsert(point(1))
    deleted = await collection.qdrant.delete_collection(collection.name)
    exists = await collection.qdrant.collection_exists(collection.name)
    again = await make(collection.qdrant, collection.name)
    assert (deleted, exists, await again.count()) == (True, False, 0)


async def test_vector_of_no_dimensions_is_refused(qdrant: AsyncQdrantClient, name: str) -> None:
    with refused(400, 422):
        await qdrant.create_collection(name, vectors_config=models.VectorParams(size=0, distance=models.Distance.DOT))


@pytest.mark.parametrize("bad", ["a:b", "a*b", "a b<"])
async def test_name_with_a_reserved_character_is_refused(qdrant: AsyncQdrantClient, bad: str) -> None:
    with refused(400, 422):
        await qdrant.create_collection(bad, vectors_config=DENSE)


# --------------------------------------------------------------------------------------------------- updates


async def test_index_settings_can_be_changed(collection: Collection) -> None:
    await collection.qdrant.update_collection(
        collection.name,
        hnsw_config=models.HnswConfigDiff(m=8),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=123),
    )
    config = (await collection.qdrant.get_collection(collection.name)).config
    assert (config.hnsw_config.m, config.hnsw_config.ef_construct) == (8, 100)
    assert config.optimizer_config.indexing_threshold == 123


async def test_replication_settings_can_be_changed(collection: Collection) -> None:
    await collection.qdrant.update_collection(
        collection.name,
        collection_params=models.CollectionParamsDiff(replication_factor=2, write_consistency_factor=2),
    )
    params = (await collection.qdrant.get_collection(collection.name)).config.params
    assert (params.replication_factor, params.write_consistency_factor, params.shard_number) == (2, 2, 1)


async def test_quantization_can_be_changed_and_disabled(collection: Collection) -> None:
    wanted = models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
    await collection.qdrant.update_collection(collection.name, quantization_config=wanted)
    changed = (await collection.qdrant.get_collection(collection.name)).config.quantization_config
    await collection.qdrant.update_collection(collection.name, quantization_config=models.Disabled.DISABLED)
    disabled = (await collection.qdrant.get_collection(collection.name)).config.quantization_config
    assert (changed, disabled) == (wanted, None)


async def test_placement_and_index_of_a_vector_can_be_changed(collection: Collection) -> None:
    change = models.VectorParamsDiff(on_disk=True, hnsw_config=models.HnswConfigDiff(m=4))
    await collection.qdrant.update_collection(collection.name, vectors_config={"dense": change})
    vectors = (await collection.qdrant.get_collection(collection.name)).config.params.vectors
    assert isinstance(vectors, dict)
    dense = vectors["dense"]
    assert dense.hnsw_config is not None
    assert (dense.size, dense.distance, dense.on_disk, dense.hnsw_config.m) == (4, models.Distance.DOT, True, 4)


async def test_update_of_an_unknown_vector_is_refused(collection: Collection) -> None:
    with refused(400, saying="other"):
        await collection.qdrant.update_collection(
            collection.name, vectors_config={"other": models.VectorParamsDiff(on_disk=True)}
        )


@pytest.mark.parametrize(
    "body",
    [
        {"vectors": {"dense": {"size": 8}}},
        {"vectors": {"dense": {"distance": "Cosine"}}},
        {"params": {"shard_number": 7}},
        {"params": {"sharding_method": "auto"}},
    ],
)
async def test_size_distance_and_sharding_stay_as_they_were_made(
    collection: Collection, http: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    before = (await collection.qdrant.get_collection(collection.name)).config.params
    # The client has no such fields, so by hand. A server ignores or refuses them; what matters is what stays.
    answer = await http.patch(f"/collections/{collection.name}", json=body)
    after = (await collection.qdrant.get_collection(collection.name)).config.params
    assert (answer.status_code in {200, 400, 422}, after) == (True, before)


async def test_limits_of_strict_mode_are_stored_and_changed(qdrant: AsyncQdrantClient, name: str) -> None:
    await make(qdrant, name, strict_mode_config=models.StrictModeConfig(enabled=True, max_query_limit=50))
    await qdrant.update_collection(name, strict_mode_config=models.StrictModeConfig(max_query_limit=20))
    limits = (await qdrant.get_collection(name)).config.strict_mode_config
    assert limits is not None
    assert (limits.enabled, limits.max_query_limit) == (True, 20)


async def test_cluster_has_this_peer(qdrant: AsyncQdrantClient) -> None:
    status = await qdrant.cluster_status()
    assert isinstance(status, models.ClusterStatusOneOf1)
    assert str(status.peer_id) in status.peers
