"""Guarded writes: how a late or repeated write of a document is kept from undoing a newer one."""

from collections.abc import Sequence

import pytest
from qdrant_client import models

from e2e.qdrant_contract.worlds import SMALL, Collection, older_than, point, where

EPOCH = 3 * 2**44  # versions are an epoch and a position of the log


def operations(version: int, chunks: Sequence[int], record: int = 100) -> list[models.UpdateOperation]:
    """The write of one document's version: chunks, removal of older ones, its record; all guarded."""
    guard = older_than(version)
    written = [point(id_, document="d", version=version, kind="chunk") for id_ in chunks]
    rest = models.Filter(must=[where(document="d", kind="chunk"), guard])
    return [
        *(
            [models.UpsertOperation(upsert=models.PointsList(points=written, shard_key=SMALL, update_filter=guard))]
            if written
            else []
        ),
        models.DeleteOperation(delete=models.FilterSelector(filter=rest, shard_key=SMALL)),
        models.UpsertOperation(
            upsert=models.PointsList(
                points=[point(record, None, document="d", version=version, kind="record")],
                shard_key=SMALL,
                update_filter=guard,
            )
        ),
    ]


async def write(collection: Collection, version: int, chunks: Sequence[int]) -> None:
    await collection.qdrant.batch_update_points(
        collection.name, operations(version, chunks), wait=True, ordering=models.WriteOrdering.STRONG
    )


async def versions(collection: Collection) -> dict[object, int]:
    return {id_: payload["version"] for id_, payload in (await collection.payloads()).items()}


async def test_newer_write_replaces_an_older_point(collection: Collection) -> None:
    await collection.upsert(point(1, version=1))
    await collection.upsert(point(1, version=2), update_filter=older_than(2))
    assert await versions(collection) == {1: 2}


@pytest.mark.parametrize("late", [1, 2])
async def test_older_or_equal_write_leaves_a_point_as_it_is(collection: Collection, late: int) -> None:
    await collection.upsert(point(1, version=2, by="first"))
    done = await collection.upsert(point(1, version=late, by="second"), update_filter=older_than(late))
    assert (done.status, await collection.payloads()) == (
        models.UpdateStatus.COMPLETED,  # that it was left is seen by reading it back only
        {1: {"version": 2, "by": "first"}},
    )


async def test_guarded_write_inserts_what_is_absent(collection: Collection) -> None:
    await collection.upsert(point(1, version=1), update_filter=older_than(1))
    assert await versions(collection) == {1: 1}


async def test_large_versions_are_compared_exactly(collection: Collection) -> None:
    await collection.upsert(point(1, version=EPOCH + 1), point(2, version=EPOCH + 1), point(3, version=EPOCH))
    await collection.upsert(
        *(point(id_, version=EPOCH + 1, by="late") for id_ in (1, 2, 3)), update_filter=older_than(EPOCH + 1)
    )
    assert [id_ for id_, payload in (await collection.payloads()).items() if "by" in payload] == [3]


async def test_shorter_newer_version_leaves_no_tail(collection: Collection) -> None:
    await write(collection, 1, [1, 2, 3, 4, 5])
    await write(collection, 2, [1, 2, 3])
    assert await versions(collection) == {1: 2, 2: 2, 3: 2, 100: 2}


async def test_repeated_write_changes_nothing(collection: Collection) -> None:
    await write(collection, 2, [1, 2])
    before = await versions(collection)
    await write(collection, 2, [1, 2])
    assert await versions(collection) == before == {1: 2, 2: 2, 100: 2}


async def test_late_older_write_still_inserts_chunks_that_are_absent(collection: Collection) -> None:
    await write(collection, 2, [1, 2, 3])
    await write(collection, 1, [1, 2, 3, 4, 5])
    assert await versions(collection) == {1: 2, 2: 2, 3: 2, 4: 1, 5: 1, 100: 2}


async def test_late_write_after_a_delete_inserts_its_chunks_but_not_its_record(collection: Collection) -> None:
    await write(collection, 2, [])  # a tombstone: a record without chunks
    await write(collection, 1, [1, 2, 3])
    assert await versions(collection) == {1: 1, 2: 1, 3: 1, 100: 2}


async def test_insert_only_leaves_what_is_there(collection: Collection) -> None:
    await collection.upsert(point(1, by="first"))
    await collection.upsert(point(1, by="second"), point(2, by="second"), update_mode=models.UpdateMode.INSERT_ONLY)
    assert await collection.payloads() == {1: {"by": "first"}, 2: {"by": "second"}}


async def test_update_only_makes_nothing_new(collection: Collection) -> None:
    await collection.upsert(point(1, by="first"))
    await collection.upsert(point(1, by="second"), point(2, by="second"), update_mode=models.UpdateMode.UPDATE_ONLY)
    assert await collection.payloads() == {1: {"by": "second"}}


async def test_guard_holds_under_fallback_routing(collection: Collection) -> None:
    key = models.ShardKeyWithFallback(target="t", fallback=SMALL)
    await collection.upsert(point(1, version=2), key=key)
    await collection.upsert(point(1, version=1), key=key, update_filter=older_than(1))
    assert await versions(collection) == {1: 2}
