"""Shard keys: where writes and reads go with one key, several, none, an unknown one, and a target with a fallback."""

from collections.abc import Awaitable, Callable

import pytest
from qdrant_client import AsyncQdrantClient, models

from e2e.qdrant_contract.worlds import SMALL, Collection, make, point, refused, routed, where


async def keys_of(collection: Collection) -> list[object]:
    answer = await collection.qdrant.list_shard_keys(collection.name)
    return sorted((each.key for each in answer.shard_keys or []), key=str)


async def test_made_keys_are_listed(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "large")
    await collection.qdrant.create_shard_key(collection.name, 7)
    assert await keys_of(collection) == [7, "large", SMALL]


async def test_new_key_is_active_at_once(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "large")
    assert await collection.states() == {SMALL: "Active", "large": "Active"}


async def test_key_can_have_several_shards(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "wide", shards_number=3)
    await collection.upsert(*(point(number) for number in range(40)), key="wide")
    info = await collection.qdrant.collection_cluster_info(collection.name)
    points = [shard.points_count for shard in info.local_shards if shard.shard_key == "wide"]
    assert (info.shard_count, len(points), sum(points), min(points) > 0) == (4, 3, 40, True)
    assert await collection.ids(key="wide") == list(range(40))


async def test_key_twice_is_refused(collection: Collection) -> None:
    with refused(400, saying="already exists"):
        await collection.qdrant.create_shard_key(collection.name, SMALL)


async def test_key_on_an_automatically_sharded_collection_is_refused(qdrant: AsyncQdrantClient, name: str) -> None:
    await qdrant.create_collection(name, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    with refused(400, saying="Auto sharding"):
        await qdrant.create_shard_key(name, "key")


async def test_key_in_another_state_than_active_or_partial_is_refused(collection: Collection) -> None:
    with refused(400, saying="only Active or Partial"):
        await collection.qdrant.create_shard_key(collection.name, "k", initial_state=models.ReplicaState.DEAD)


async def test_deleted_key_takes_its_points_with_it(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "large")
    await collection.upsert(point(1), point(2), key="large")
    await collection.upsert(point(3))
    await collection.qdrant.delete_shard_key(collection.name, "large")
    assert (await keys_of(collection), await collection.ids()) == ([SMALL], [3])


async def test_deleting_an_unknown_key_is_refused(collection: Collection) -> None:
    with refused(400, 404, saying="nobody"):
        await collection.qdrant.delete_shard_key(collection.name, "nobody")


# ---------------------------------------------------------------------------------------------------- writes


async def test_write_without_a_key_is_refused(collection: Collection) -> None:
    with refused(400, saying="Shard key not specified"):
        await collection.upsert(point(1), key=None)


async def test_delete_without_a_key_is_refused(collection: Collection) -> None:
    with refused(400, saying="Shard key not specified"):
        await collection.qdrant.delete(collection.name, models.FilterSelector(filter=where(tenant="t")), wait=True)


async def test_write_with_an_unknown_key_is_refused(collection: Collection) -> None:
    with refused(400, saying='Shard key "nobody" not found'):
        await collection.upsert(point(1), key="nobody")


async def test_write_with_several_keys_goes_to_each(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "large")
    await collection.upsert(point(1), key=[SMALL, "large"])
    assert (await collection.ids(key=SMALL), await collection.ids(key="large")) == ([1], [1])


async def test_write_goes_to_the_fallback_while_the_target_is_missing(collection: Collection) -> None:
    await collection.upsert(point(1, tenant="t"), key=routed("t"))
    assert await collection.ids(key=SMALL) == [1]


async def test_write_goes_to_the_target_once_it_exists(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "t")
    await collection.upsert(point(1, tenant="t"), key=routed("t"))
    assert (await collection.ids(key=SMALL), await collection.ids(key="t")) == ([], [1])


async def test_write_with_neither_target_nor_fallback_is_refused(collection: Collection) -> None:
    with refused(400, 404, saying="fallback"):
        await collection.upsert(point(1), key=models.ShardKeyWithFallback(target="a", fallback="b"))


async def test_filtered_delete_stays_in_its_key(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "large")
    await collection.upsert(point(1, tenant="t"), key=[SMALL, "large"])
    await collection.qdrant.delete(
        collection.name, models.FilterSelector(filter=where(tenant="t")), shard_key_selector=SMALL, wait=True
    )
    assert (await collection.ids(key=SMALL), await collection.ids(key="large")) == ([], [1])


# ----------------------------------------------------------------------------------------------------- reads


async def test_read_without_a_key_goes_to_all(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "large")
    await collection.upsert(point(1, (1, 0, 0, 0)))
    await collection.upsert(point(2, (2, 0, 0, 0)), key="large")
    found = await collection.query([1.0, 0.0, 0.0, 0.0], using="dense", key=None)
    assert ([(each.id, each.shard_key) for each in found], await collection.ids(), await collection.count()) == (
        [(2, "large"), (1, SMALL)],
        [1, 2],
        2,
    )


async def test_read_with_a_key_sees_only_that_key(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "large")
    await collection.upsert(point(1))
    await collection.upsert(point(2), key="large")
    found = await collection.query([1.0, 0.0, 0.0, 0.0], using="dense", key="large")
    assert (await collection.ids(key="large"), [each.id for each in found]) == ([2], [2])


async def test_read_with_several_keys_sees_those(collection: Collection) -> None:
    for number, key in enumerate(("a", "b", "c")):
        await collection.qdrant.create_shard_key(collection.name, key)
        await collection.upsert(point(number), key=key)
    assert await collection.ids(key=["a", "c"]) == [0, 2]


@pytest.mark.parametrize("read", ["scroll", "count", "query", "retrieve"])
async def test_read_with_an_unknown_key_is_refused(collection: Collection, read: str) -> None:
    qdrant, name = collection.qdrant, collection.name
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "scroll": lambda: qdrant.scroll(name, shard_key_selector="nobody"),
        "count": lambda: qdrant.count(name, shard_key_selector="nobody"),
        "query": lambda: collection.query([1.0, 0.0, 0.0, 0.0], using="dense", key="nobody"),
        "retrieve": lambda: qdrant.retrieve(name, [1], shard_key_selector="nobody"),
    }
    with refused(400, saying='Shard key "nobody" not found'):
        await calls[read]()


async def test_read_falls_back_while_the_target_is_missing(collection: Collection) -> None:
    await collection.upsert(point(1, tenant="t"), point(2, tenant="u"))
    wanted = where(tenant="t")
    assert (await collection.ids(key=routed("t"), wanted=wanted), await collection.count(key=routed("t"))) == ([1], 2)


async def test_one_id_in_two_keys_is_two_points(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "large")
    await collection.upsert(point(1, place="small"))
    await collection.upsert(point(1, place="large"), key="large")
    assert (
        await collection.count(),
        await collection.payloads(key=SMALL),
        await collection.payloads(key="large"),
    ) == (2, {1: {"place": "small"}}, {1: {"place": "large"}})


async def test_collection_without_shard_keys_reads_empty(qdrant: AsyncQdrantClient, name: str) -> None:
    await make(qdrant, name)
    await qdrant.delete_shard_key(name, SMALL)
    assert (await Collection(qdrant, name).ids(), await Collection(qdrant, name).count()) == ([], 0)
