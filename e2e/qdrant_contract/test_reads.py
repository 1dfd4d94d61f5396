"""Reads without search: pages, points by id, counts, facets, order by a field."""

import pytest
from qdrant_client import models

from e2e.qdrant_contract.worlds import SMALL, Collection, point, refused, where

UUIDS = ["00000000-0000-0000-0000-000000000001", "ffffffff-0000-0000-0000-000000000000"]


async def test_scroll_pages_through_everything_in_order_of_ids(collection: Collection) -> None:
    await collection.upsert(point(UUIDS[1]), *(point(id_) for id_ in (30, 2, 7)), point(UUIDS[0]))
    pages, offset = [], None
    for _ in range(10):
        points, offset = await collection.qdrant.scroll(collection.name, limit=2, offset=offset)
        pages.append([each.id for each in points])
        if offset is None:
            break
    assert pages == [[2, 7], [30, UUIDS[0]], [UUIDS[1]]]


async def test_offset_of_a_page_is_its_first_point(collection: Collection) -> None:
    await collection.upsert(*(point(id_) for id_ in range(5)))
    first, offset = await collection.qdrant.scroll(collection.name, limit=2)
    second, _ = await collection.qdrant.scroll(collection.name, limit=2, offset=offset)
    assert ([each.id for each in first], offset, [each.id for each in second]) == ([0, 1], 2, [2, 3])


async def test_full_last_page_has_no_next(collection: Collection) -> None:
    await collection.upsert(point(1), point(2))
    _, offset = await collection.qdrant.scroll(collection.name, limit=2)
    assert offset is None


async def test_scroll_returns_the_fields_asked_for(collection: Collection) -> None:
    await collection.upsert(point(1, a=1, b={"c": 2, "d": 3}))
    reads = [
        await collection.qdrant.scroll(collection.name, with_payload=wanted)
        for wanted in (["a"], ["b.c"], models.PayloadSelectorExclude(exclude=["b"]), False)
    ]
    assert [points[0].payload for points, _ in reads] == [{"a": 1}, {"b": {"c": 2}}, {"a": 1}, None]


async def test_pages_can_be_ordered_by_a_field(collection: Collection) -> None:
    await collection.upsert(point(1, version=5), point(2, version=9), point(3, version=7), point(4))
    points, offset = await collection.qdrant.scroll(
        collection.name, order_by=models.OrderBy(key="version", direction=models.Direction.DESC), limit=2
    )
    assert ([each.id for each in points], offset) == ([2, 3], None)


async def test_order_by_a_field_without_an_index_is_refused(collection: Collection) -> None:
    await collection.upsert(point(1, size=1))
    with refused(400, saying="size"):
        await collection.qdrant.scroll(collection.name, order_by="size")


async def test_points_are_read_by_id(collection: Collection) -> None:
    await collection.upsert(point(1, n=1), point(UUIDS[0], n=2))
    records = await collection.qdrant.retrieve(collection.name, [UUIDS[0], 1, 99], shard_key_selector=SMALL)
    assert {each.id: each.payload for each in records} == {1: {"n": 1}, UUIDS[0]: {"n": 2}}


async def test_sparse_and_dense_vectors_are_read_back(collection: Collection) -> None:
    await collection.upsert(point(1, (1, 2, 3, 4), {7: 0.5, 3: 0.25}))
    [record] = await collection.qdrant.retrieve(collection.name, [1], with_vectors=True)
    assert isinstance(record.vector, dict)
    sparse = record.vector["sparse"]
    assert isinstance(sparse, models.SparseVector)
    assert (record.vector["dense"], dict(zip(sparse.indices, sparse.values, strict=True))) == (
        [1.0, 2.0, 3.0, 4.0],
        {3: 0.25, 7: 0.5},
    )


async def test_count_is_of_what_matches(collection: Collection) -> None:
    await collection.upsert(point(1, tenant="t"), point(2, tenant="u"), point(3, tenant="t"))
    assert (await collection.count(wanted=where(tenant="t")), await collection.count()) == (2, 3)


async def test_facet_counts_values_most_frequent_first(collection: Collection) -> None:
    await collection.upsert(point(1, acl=["a", "b"]), point(2, acl=["b"]), point(3, acl=["b", "c"]), point(4))
    facet = await collection.qdrant.facet(collection.name, "acl", exact=True, shard_key_selector=SMALL)
    assert [(hit.value, hit.count) for hit in facet.hits] == [("b", 3), ("a", 1), ("c", 1)]


async def test_facet_counts_over_all_shard_keys_within_a_filter(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "large")
    await collection.upsert(point(1, acl="a", tenant="t"), point(2, acl="a", tenant="u"))
    await collection.upsert(point(3, acl="a", tenant="t"), point(4, acl="b", tenant="t"), key="large")
    facet = await collection.qdrant.facet(collection.name, "acl", facet_filter=where(tenant="t"), exact=True)
    assert [(hit.value, hit.count) for hit in facet.hits] == [("a", 2), ("b", 1)]


async def test_facet_on_a_field_without_an_index_is_refused(collection: Collection) -> None:
    await collection.upsert(point(1, size=1))
    with refused(400, saying="size"):
        await collection.qdrant.facet(collection.name, "size", exact=True)


@pytest.mark.parametrize("limit", [0])
async def test_page_of_no_points_is_refused(collection: Collection, limit: int) -> None:
    with refused(400, 422):
        await collection.qdrant.scroll(collection.name, limit=limit)
