"""Promotion: a tenant that outgrew the fallback key gets a key of its own, while callers go on with the same calls.

On a real server the new key was Active within 2 s for 3 points; the bound here is generous.
"""

import asyncio
import time

import pytest_asyncio
from qdrant_client import models

from e2e.qdrant_contract.worlds import SMALL, Collection, point, refused, routed, where

ACTIVE_SECONDS = 20.0
LOOK_SECONDS = 0.05


async def replicate(collection: Collection, source: str, target: str, wanted: models.Filter | None) -> None:
    change = models.ReplicatePoints(from_shard_key=source, to_shard_key=target, filter=wanted)
    answer = await collection.qdrant.cluster_collection_update(
        collection.name, models.ReplicatePointsOperation(replicate_points=change)
    )
    assert answer is True


async def until_active(collection: Collection, key: str) -> None:
    deadline = time.monotonic() + ACTIVE_SECONDS
    while (state := (await collection.states())[key]) != "Active":
        assert time.monotonic() < deadline, f"shard key {key} is {state} after {ACTIVE_SECONDS:.0f} s"
        await asyncio.sleep(LOOK_SECONDS)


@pytest_asyncio.fixture(loop_scope="session")
async def grown(collection: Collection) -> Collection:
    """Tenant t with three points among others in the fallback, and its own key, still Partial."""
    await collection.upsert(*(point(number, tenant="t") for number in (1, 2, 3)), point(4, tenant="u"))
    await collection.qdrant.create_shard_key(collection.name, "t", initial_state=models.ReplicaState.PARTIAL)
    return collection


async def test_new_key_can_be_partial(grown: Collection) -> None:
    assert await grown.states() == {SMALL: "Active", "t": "Partial"}


async def test_partial_key_is_not_used_by_fallback_routing(grown: Collection) -> None:
    await grown.upsert(point(5, tenant="t"), key=routed("t"))
    mine = where(tenant="t")
    assert (await grown.ids(key=routed("t"), wanted=mine), await grown.ids(key=SMALL, wanted=mine)) == (
        [1, 2, 3, 5],
        [1, 2, 3, 5],
    )


async def test_partial_key_is_not_read_with_all_keys(grown: Collection) -> None:
    assert (await grown.ids(), await grown.count()) == ([1, 2, 3, 4], 4)


async def test_replicated_points_make_the_key_active(grown: Collection) -> None:
    await replicate(grown, SMALL, "t", where(tenant="t"))
    await until_active(grown, "t")
    assert (await grown.ids(key="t"), await grown.ids(key=SMALL)) == ([1, 2, 3], [1, 2, 3, 4])


async def test_same_calls_are_answered_from_the_new_key(grown: Collection) -> None:
    await replicate(grown, SMALL, "t", where(tenant="t"))
    await until_active(grown, "t")
    await grown.qdrant.delete(
        grown.name, models.FilterSelector(filter=where(tenant="t")), shard_key_selector=SMALL, wait=True
    )
    await grown.upsert(point(6, tenant="t"), key=routed("t"))
    found = await grown.query([1.0, 0.0, 0.0, 0.0], using="dense", key=routed("t"), query_filter=where(tenant="t"))
    assert (sorted(each.id for each in found), {each.shard_key for each in found}, await grown.ids(key=SMALL)) == (
        [1, 2, 3, 6],
        {"t"},
        [4],
    )


async def test_replicated_points_keep_payload_and_vectors(collection: Collection) -> None:
    await collection.upsert(point(1, (1, 2, 3, 4), {7: 0.5}, tenant="t", acl=["a"]), point(2, None, tenant="t"))
    await collection.qdrant.create_shard_key(collection.name, "t", initial_state=models.ReplicaState.PARTIAL)
    await replicate(collection, SMALL, "t", where(tenant="t"))
    await until_active(collection, "t")
    read = [
        await collection.qdrant.retrieve(collection.name, [1, 2], with_vectors=True, shard_key_selector=key)
        for key in (SMALL, "t")
    ]
    before, after = ([(each.id, each.payload, each.vector) for each in records] for records in read)
    assert sorted(after, key=str) == sorted(before, key=str)


async def test_whole_key_can_be_replicated(grown: Collection) -> None:
    await replicate(grown, SMALL, "t", None)
    await until_active(grown, "t")
    assert await grown.ids(key="t") == [1, 2, 3, 4]


async def test_finished_transfer_is_not_listed(grown: Collection) -> None:
    await replicate(grown, SMALL, "t", where(tenant="t"))
    await until_active(grown, "t")
    assert (await grown.qdrant.collection_cluster_info(grown.name)).shard_transfers == []


async def test_replicating_from_an_unknown_key_is_refused(grown: Collection) -> None:
    with refused(400, saying='"nobody"'):
        await replicate(grown, "nobody", "t", None)


async def test_replicating_from_a_key_of_several_shards_is_refused(grown: Collection) -> None:
    await grown.qdrant.create_shard_key(grown.name, "wide", shards_number=2)
    with refused(400, saying="exactly one shard"):
        await replicate(grown, "wide", "t", None)
