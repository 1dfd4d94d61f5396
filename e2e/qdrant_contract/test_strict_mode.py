"""Strict mode: a collection that refuses what would scan it, and says which field lacks an index."""

from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio
from qdrant_client import AsyncQdrantClient, models

from e2e.qdrant_contract.worlds import SMALL, Collection, make, point, refused, where

ALONG_X = [1.0, 0.0, 0.0, 0.0]


@pytest_asyncio.fixture(loop_scope="session")
async def strict(qdrant: AsyncQdrantClient, name: str) -> Collection:
    """A collection that filters on indexed fields only, with a limit of 5 for results, batches and conditions."""
    limits = models.StrictModeConfig(
        enabled=True,
        unindexed_filtering_retrieve=False,
        unindexed_filtering_update=False,
        max_query_limit=100,
        upsert_max_batchsize=5,
        filter_max_conditions=5,
        search_allow_exact=False,
        max_payload_index_count=4,
    )
    collection = await make(qdrant, name, strict_mode_config=limits)
    await collection.upsert(point(1, tenant="t", version=1))
    return collection


UNINDEXED = where(owner="o")
READS: dict[str, Callable[[Collection], Awaitable[object]]] = {
    "scroll": lambda strict: strict.ids(wanted=UNINDEXED),
    "count": lambda strict: strict.count(wanted=UNINDEXED),
    "query": lambda strict: strict.query(ALONG_X, using="dense", query_filter=UNINDEXED),
    "prefetch": lambda strict: strict.query(
        models.FusionQuery(fusion=models.Fusion.RRF),
        prefetch=[models.Prefetch(query=ALONG_X, using="dense", filter=UNINDEXED)],
    ),
    "facet": lambda strict: strict.qdrant.facet(strict.name, "acl", facet_filter=UNINDEXED),
    "inner": lambda strict: strict.ids(wanted=models.Filter(should=[models.Filter(must_not=UNINDEXED.must)])),
}


@pytest.mark.parametrize("read", READS)
async def test_read_filtered_by_an_unindexed_field_is_refused(strict: Collection, read: str) -> None:
    with refused(400, saying='"owner"'):
        await READS[read](strict)


async def test_delete_filtered_by_an_unindexed_field_is_refused(strict: Collection) -> None:
    with refused(400, saying='"owner"'):
        await strict.qdrant.delete(
            strict.name, models.FilterSelector(filter=UNINDEXED), shard_key_selector=SMALL, wait=True
        )


async def test_indexed_fields_are_allowed(strict: Collection) -> None:
    wanted = where(tenant="t", version=1, acl=["a"])
    found = await strict.query(ALONG_X, using="dense", query_filter=where(tenant="t"))
    assert (await strict.ids(wanted=wanted), [each.id for each in found]) == ([], [1])


async def test_index_of_another_kind_does_not_serve(strict: Collection) -> None:
    with refused(400, saying='"tenant"'):
        await strict.ids(wanted=where(tenant=3))


async def test_filter_is_allowed_once_the_index_is_made(strict: Collection) -> None:
    await strict.qdrant.create_payload_index(strict.name, "owner", models.PayloadSchemaType.KEYWORD, wait=True)
    assert await strict.ids(wanted=UNINDEXED) == []


async def test_filters_are_free_without_strict_mode(collection: Collection) -> None:
    assert await collection.ids(wanted=UNINDEXED) == []


async def test_too_large_a_limit_is_refused(strict: Collection) -> None:
    with refused(400, saying="limit"):
        await strict.query(ALONG_X, using="dense", limit=101)


async def test_too_large_an_upsert_is_refused(strict: Collection) -> None:
    with refused(400, saying="upsert"):
        await strict.upsert(*(point(id_) for id_ in range(6)))


async def test_too_many_conditions_are_refused(strict: Collection) -> None:
    wanted = models.Filter(must=[where(tenant="t") for _ in range(6)])
    with refused(400, saying="condition limit"):
        await strict.ids(wanted=wanted)


async def test_exact_search_is_refused(strict: Collection) -> None:
    with refused(400, saying="xact"):
        await strict.query(ALONG_X, using="dense", search_params=models.SearchParams(exact=True))


async def test_exact_count_is_refused(strict: Collection) -> None:
    with refused(400, saying="xact"):
        await strict.count()


async def test_estimated_count_is_allowed(strict: Collection) -> None:
    counted = await strict.qdrant.count(strict.name, where(tenant="t"), exact=False, shard_key_selector=SMALL)
    assert counted.count == 1


async def test_too_many_indexes_are_refused(strict: Collection) -> None:
    await strict.qdrant.create_payload_index(strict.name, "fourth", models.PayloadSchemaType.KEYWORD, wait=True)
    with refused(400, saying="maximum number of payload ind"):
        await strict.qdrant.create_payload_index(strict.name, "fifth", models.PayloadSchemaType.KEYWORD, wait=True)
