"""Writes of points: upserts, deletes, payload operations, batches, and what is refused."""

from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, models

from e2e.qdrant_contract.worlds import SMALL, Collection, make, point, refused, where

UUID = "6e9b0f3e-7f5c-4b0e-9a53-0d5d7f1f2a01"


async def test_waited_upsert_is_completed_and_read_back(collection: Collection) -> None:
    done = await collection.upsert(point(1, tenant="t"))
    assert (done.status, await collection.payloads()) == (models.UpdateStatus.COMPLETED, {1: {"tenant": "t"}})


async def test_upsert_that_is_not_waited_for_is_acknowledged(collection: Collection) -> None:
    done = await collection.qdrant.upsert(collection.name, [point(1)], wait=False, shard_key_selector=SMALL)
    assert done.status == models.UpdateStatus.ACKNOWLEDGED


async def test_write_with_strong_ordering_is_completed(collection: Collection) -> None:
    done = await collection.upsert(point(1), ordering=models.WriteOrdering.STRONG)
    assert done.status == models.UpdateStatus.COMPLETED


async def test_second_upsert_replaces_payload_and_vectors(collection: Collection) -> None:
    await collection.upsert(point(1, (1, 0, 0, 0), {3: 1.0}, old=1))
    await collection.upsert(point(1, (0, 1, 0, 0), new=1))
    [record] = await collection.qdrant.retrieve(collection.name, [1], with_vectors=True)
    assert (record.payload, record.vector) == ({"new": 1}, {"dense": [0.0, 1.0, 0.0, 0.0]})


@pytest.mark.parametrize("id_", [0, 17, 2**63, UUID])
async def test_ids_are_numbers_and_uuids(collection: Collection, id_: Any) -> None:
    await collection.upsert(point(id_, tenant="t"))
    assert (await collection.payloads(), await collection.ids(wanted=models.Filter(must=[has_id(id_)]))) == (
        {id_: {"tenant": "t"}},
        [id_],
    )


def has_id(id_: Any) -> models.HasIdCondition:
    return models.HasIdCondition(has_id=[id_])


async def test_id_that_is_neither_is_refused(collection: Collection) -> None:
    with refused(400, saying="word"):
        await collection.upsert(point("word"))


async def test_payload_comes_back_as_it_was_sent(collection: Collection) -> None:
    payload: dict[str, Any] = {
        "text": "naïve ☃ \u0000 text",
        "big": 2**53 - 1,
        "real": 0.1,
        "yes": True,
        "nested": {"list": [1, "two", [3.5], {"deep": False}]},
        "empty": [],
    }
    await collection.upsert(point(1, **payload))
    assert await collection.payloads() == {1: payload}


async def test_vector_of_another_size_is_refused(collection: Collection) -> None:
    with refused(400, saying="expected dim: 4, got 2"):
        await collection.upsert(point(1, (1, 0)))


async def test_unknown_vector_name_is_refused(collection: Collection) -> None:
    with refused(400, saying="Not existing vector name error: other"):
        await collection.upsert(models.PointStruct(id=1, vector={"other": [1.0, 0.0, 0.0, 0.0]}))


async def test_point_without_vectors_is_kept_beside_those_with(collection: Collection) -> None:
    await collection.upsert(point(1, kind="chunk"), point(2, None, kind="record"))
    found = await collection.query([1.0, 0.0, 0.0, 0.0], using="dense", limit=10)
    [record] = await collection.qdrant.retrieve(collection.name, [2], with_vectors=True)
    assert (await collection.ids(), await collection.ids(key=SMALL), [each.id for each in found], record.vector) == (
        [1, 2],
        [1, 2],
        [1],
        {},
    )


async def test_cosine_vectors_are_normalised(qdrant: AsyncQdrantClient, name: str) -> None:
    cosine = await make(
        qdrant, name, vectors_config={"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)}
    )
    await cosine.upsert(point(1, (0, 3, 0, 4)))
    [record] = await qdrant.retrieve(name, [1], with_vectors=["dense"])
    assert isinstance(record.vector, dict)
    assert record.vector["dense"] == pytest.approx([0.0, 0.6, 0.0, 0.8], abs=1e-6)


async def test_unnamed_vector_works_as_well(qdrant: AsyncQdrantClient, name: str) -> None:
    await qdrant.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    await qdrant.upsert(name, [models.PointStruct(id=1, vector=[1.0, 2.0])], wait=True)
    found = await qdrant.query_points(name, query=[1.0, 1.0], with_vectors=True)
    assert [(each.id, each.score, each.vector) for each in found.points] == [(1, 3.0, [1.0, 2.0])]


# --------------------------------------------------------------------------------------------------- deletes


async def test_points_are_deleted_by_id(collection: Collection) -> None:
    await collection.upsert(point(1), point(2), point(3))
    await collection.qdrant.delete(collection.name, [1, 3, 99], shard_key_selector=SMALL, wait=True)
    assert await collection.ids() == [2]


async def test_points_are_deleted_by_filter(collection: Collection) -> None:
    await collection.upsert(point(1, tenant="t"), point(2, tenant="u"), point(3, tenant="t"))
    await collection.qdrant.delete(
        collection.name, models.FilterSelector(filter=where(tenant="t")), shard_key_selector=SMALL, wait=True
    )
    assert await collection.ids() == [2]


async def test_delete_that_matches_nothing_is_no_error(collection: Collection) -> None:
    done = await collection.qdrant.delete(
        collection.name, models.FilterSelector(filter=where(tenant="t")), shard_key_selector=SMALL, wait=True
    )
    assert done.status == models.UpdateStatus.COMPLETED


# -------------------------------------------------------------------------------------------------- payloads


async def test_set_payload_adds_and_replaces_fields(collection: Collection) -> None:
    await collection.upsert(point(1, kept=1, changed=1), point(2, kept=1))
    await collection.qdrant.set_payload(
        collection.name, {"changed": 2, "new": 3}, points=[1], shard_key_selector=SMALL, wait=True
    )
    assert await collection.payloads() == {1: {"kept": 1, "changed": 2, "new": 3}, 2: {"kept": 1}}


async def test_set_payload_by_filter_changes_what_matches(collection: Collection) -> None:
    await collection.upsert(point(1, tenant="t"), point(2, tenant="u"))
    await collection.qdrant.set_payload(
        collection.name, {"acl": ["g"]}, points=where(tenant="t"), shard_key_selector=SMALL, wait=True
    )
    assert await collection.payloads() == {1: {"tenant": "t", "acl": ["g"]}, 2: {"tenant": "u"}}


async def test_overwritten_payload_has_only_the_new_fields(collection: Collection) -> None:
    await collection.upsert(point(1, old=1))
    await collection.qdrant.overwrite_payload(
        collection.name, {"new": 1}, points=[1], shard_key_selector=SMALL, wait=True
    )
    assert await collection.payloads() == {1: {"new": 1}}


async def test_payload_fields_are_deleted(collection: Collection) -> None:
    await collection.upsert(point(1, kept=1, gone=1))
    await collection.qdrant.delete_payload(collection.name, ["gone"], points=[1], shard_key_selector=SMALL, wait=True)
    assert await collection.payloads() == {1: {"kept": 1}}


async def test_payload_of_a_missing_point_is_not_found(collection: Collection) -> None:
    await collection.upsert(point(1))
    with refused(404, saying="99"):
        await collection.qdrant.set_payload(collection.name, {"a": 1}, points=[99], shard_key_selector=SMALL, wait=True)


# --------------------------------------------------------------------------------------------------- batches


async def test_batch_applies_different_operations_in_order(collection: Collection) -> None:
    await collection.upsert(point(1, tenant="t"), point(2, tenant="t"))
    operations: list[models.UpdateOperation] = [
        models.UpsertOperation(upsert=models.PointsList(points=[point(3, tenant="t")], shard_key=SMALL)),
        models.DeleteOperation(delete=models.PointIdsList(points=[1], shard_key=SMALL)),
        models.SetPayloadOperation(
            set_payload=models.SetPayload(payload={"seen": 1}, filter=where(tenant="t"), shard_key=SMALL)
        ),
        models.DeleteOperation(delete=models.FilterSelector(filter=where(tenant="u"), shard_key=SMALL)),
    ]
    done = await collection.qdrant.batch_update_points(
        collection.name, operations, wait=True, ordering=models.WriteOrdering.STRONG
    )
    assert ([each.status.value for each in done], await collection.payloads()) == (
        ["completed"] * 4,
        {2: {"tenant": "t", "seen": 1}, 3: {"tenant": "t", "seen": 1}},
    )


async def test_batch_routes_each_operation_by_its_own_key(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "large")
    await collection.qdrant.batch_update_points(
        collection.name,
        [
            models.UpsertOperation(upsert=models.PointsList(points=[point(1)], shard_key=SMALL)),
            models.UpsertOperation(upsert=models.PointsList(points=[point(2)], shard_key="large")),
        ],
        wait=True,
    )
    assert (await collection.ids(key=SMALL), await collection.ids(key="large")) == ([1], [2])


async def test_columns_are_written_like_points(collection: Collection) -> None:
    vectors: Any = {"dense": [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]}
    columns = models.Batch(ids=[1, 2], vectors=vectors, payloads=[{"n": 1}, {"n": 2}])
    await collection.qdrant.upsert(collection.name, columns, shard_key_selector=SMALL, wait=True)
    assert await collection.payloads() == {1: {"n": 1}, 2: {"n": 2}}


async def test_write_to_a_missing_collection_is_not_found(qdrant: AsyncQdrantClient, name: str) -> None:
    with refused(404, saying=name):
        await Collection(qdrant, name).upsert(point(1))
