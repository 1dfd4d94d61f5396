"""Search: dense, sparse and fused, always within the filter of the request.

The scores of the IDF test differ by corpus as they do on a real server; exact figures depend on the points.
"""

from typing import Any

import pytest
import pytest_asyncio
from qdrant_client import AsyncQdrantClient, models

from e2e.qdrant_contract.worlds import SMALL, Collection, make, point, refused, sparse_vector, where

ALONG_X = [1.0, 0.0, 0.0, 0.0]


@pytest_asyncio.fixture(loop_scope="session")
async def library(collection: Collection) -> Collection:
    """Points of two tenants whose dense and sparse orders differ; tenant u has the best of both."""
    await collection.upsert(
        point(1, (3, 0, 0, 0), {1: 0.1}, tenant="t"),
        point(2, (2, 0, 0, 0), {1: 3.0}, tenant="t"),
        point(3, (1, 0, 0, 0), {1: 2.0}, tenant="t"),
        point(4, (9, 0, 0, 0), {1: 9.0}, tenant="u"),
        point(5, None, tenant="t"),
    )
    return collection


def prefetches(limit: int = 10) -> list[models.Prefetch]:
    return [
        models.Prefetch(query=ALONG_X, using="dense", limit=limit),
        models.Prefetch(query=sparse_vector({1: 1.0}), using="sparse", limit=limit),
    ]


def ids(points: list[models.ScoredPoint]) -> list[Any]:
    return [each.id for each in points]


async def test_dense_search_scores_by_the_distance(library: Collection) -> None:
    found = await library.query(ALONG_X, using="dense")
    assert [(each.id, each.score) for each in found] == [(4, 9.0), (1, 3.0), (2, 2.0), (3, 1.0)]


async def test_filter_limits_dense_search(library: Collection) -> None:
    assert ids(await library.query(ALONG_X, using="dense", query_filter=where(tenant="t"))) == [1, 2, 3]


async def test_limit_and_offset_cut_a_page(library: Collection) -> None:
    assert ids(await library.query(ALONG_X, using="dense", limit=2, offset=1)) == [1, 2]


async def test_score_threshold_cuts_the_rest(library: Collection) -> None:
    assert ids(await library.query(ALONG_X, using="dense", score_threshold=2.5)) == [4, 1]


async def test_euclidean_distance_is_best_when_small(qdrant: AsyncQdrantClient, name: str) -> None:
    euclid = await make(
        qdrant, name, vectors_config={"dense": models.VectorParams(size=4, distance=models.Distance.EUCLID)}
    )
    await qdrant.create_shard_key(name, "large")
    await euclid.upsert(point(1, (5, 0, 0, 0)), point(2, (2, 0, 0, 0)))
    await euclid.upsert(point(3, (3, 0, 0, 0)), key="large")
    found = await euclid.query(ALONG_X, using="dense", key=None)
    assert [(each.id, each.score) for each in found] == [(2, 1.0), (3, 2.0), (1, 4.0)]


async def test_payload_and_vectors_come_only_when_asked_for(library: Collection) -> None:
    [bare] = await library.query(ALONG_X, using="dense", limit=1, with_payload=False)
    [full] = await library.query(ALONG_X, using="dense", limit=1, with_payload=["tenant"], with_vectors=["dense"])
    assert ((bare.payload, bare.vector), (full.payload, full.vector)) == (
        (None, None),
        ({"tenant": "u"}, {"dense": [9.0, 0.0, 0.0, 0.0]}),
    )


async def test_sparse_search_ranks_by_weight(library: Collection) -> None:
    assert ids(await library.query(sparse_vector({1: 1.0}), using="sparse")) == [4, 2, 3, 1]


async def test_filter_limits_sparse_search(library: Collection) -> None:
    found = await library.query(sparse_vector({1: 1.0}), using="sparse", query_filter=where(tenant="t"))
    assert ids(found) == [2, 3, 1]


async def test_term_that_no_point_has_finds_nothing(library: Collection) -> None:
    assert await library.query(sparse_vector({99: 1.0}), using="sparse") == []


@pytest.mark.parametrize("key", [SMALL, None])
async def test_root_filter_holds_in_every_prefetch(library: Collection, key: str | None) -> None:
    await library.qdrant.create_shard_key(library.name, "large")
    await library.upsert(point(6, (8, 0, 0, 0), {1: 8.0}, tenant="u"), key="large")
    query = models.RrfQuery(rrf=models.Rrf(k=2))
    # With a prefetch of 2, two better points of the other tenant would push all of t out.
    found = await library.query(query, prefetch=prefetches(limit=2), query_filter=where(tenant="t"), key=key)
    assert sorted(ids(found)) == [1, 2, 3]


async def test_filters_of_prefetch_and_root_both_hold(library: Collection) -> None:
    wanted = models.Filter(must=[models.HasIdCondition(has_id=[1, 4])])
    prefetch = models.Prefetch(query=ALONG_X, using="dense", filter=wanted)
    fusion = models.FusionQuery(fusion=models.Fusion.RRF)
    found = await library.query(fusion, prefetch=[prefetch], query_filter=where(tenant="t"))
    assert ids(found) == [1]


async def test_root_filter_holds_in_nested_prefetches(library: Collection) -> None:
    inner = models.Prefetch(query=ALONG_X, using="dense", limit=1)
    outer = models.Prefetch(prefetch=inner, query=sparse_vector({1: 1.0}), using="sparse", limit=5)
    found = await library.query(ALONG_X, using="dense", prefetch=outer, query_filter=where(tenant="t"))
    assert ids(found) == [1]


async def test_fusion_scores_by_rank_with_k_of_two(library: Collection) -> None:
    query = models.FusionQuery(fusion=models.Fusion.RRF)
    found = await library.query(query, prefetch=prefetches(), query_filter=where(tenant="t"))
    # Dense ranks 1, 2, 3; sparse ranks 2, 3, 1; each place p from 0 gives 1 / (2 + p).
    expected = {1: 1 / 2 + 1 / 4, 2: 1 / 3 + 1 / 2, 3: 1 / 4 + 1 / 3}
    assert {each.id: each.score for each in found} == pytest.approx(expected)
    assert ids(found) == [2, 1, 3]


async def test_k_of_the_fusion_can_be_chosen(library: Collection) -> None:
    query = models.RrfQuery(rrf=models.Rrf(k=60))
    found = await library.query(query, prefetch=prefetches(), query_filter=where(tenant="t"))
    assert {each.id: each.score for each in found} == pytest.approx(
        {1: 1 / 60 + 1 / 62, 2: 1 / 61 + 1 / 60, 3: 1 / 62 + 1 / 61}
    )


async def test_weights_of_the_fusion_count(library: Collection) -> None:
    query = models.RrfQuery(rrf=models.Rrf(k=2, weights=[4.0, 1.0]))
    found = await library.query(query, prefetch=prefetches(), query_filter=where(tenant="t"))
    # 1 / ((place + 1) / weight + k - 1): a weight stretches the places of its prefetch.
    expected = {1: 1 / 1.25 + 1 / 4, 2: 1 / 1.5 + 1 / 2, 3: 1 / 1.75 + 1 / 3}
    assert {each.id: each.score for each in found} == pytest.approx(expected)


async def test_weighted_fusion_scores_the_same_in_one_shard_and_in_two(library: Collection) -> None:
    await library.qdrant.create_shard_key(library.name, "empty")
    query = models.RrfQuery(rrf=models.Rrf(k=2, weights=[1.0, 2.0]))
    one, two = [await library.query(query, prefetch=prefetches(), key=key, with_payload=True) for key in (SMALL, None)]
    assert {each.id: each.score for each in one} == pytest.approx({each.id: each.score for each in two})
    assert {each.id: each.payload for each in one} == {each.id: each.payload for each in two}


async def test_wrong_number_of_weights_is_refused(library: Collection) -> None:
    with refused(400, 422):
        await library.query(models.RrfQuery(rrf=models.Rrf(weights=[1.0])), prefetch=prefetches())


async def test_rarity_of_a_term_depends_on_the_corpus_asked_for(collection: Collection) -> None:
    await collection.upsert(
        *(point(id_, None, {1: 1.0}, tenant="u") for id_ in range(10, 20)),
        point(1, None, {1: 1.0}, tenant="t"),
        *(point(id_, None, {2: 1.0}, tenant="t") for id_ in range(2, 8)),
    )
    mine, query = where(tenant="t"), sparse_vector({1: 1.0})
    [whole] = await collection.query(query, using="sparse", query_filter=mine)
    params = models.SearchParams(idf=models.IdfCorpusParams(corpus=mine))
    [own] = await collection.query(query, using="sparse", query_filter=mine, search_params=params)
    assert (whole.id, own.id, own.score > whole.score) == (1, 1, True)  # rare among t's, frequent among all


async def test_batch_answers_each_query_in_order(library: Collection) -> None:
    answers = await library.qdrant.query_batch_points(
        library.name,
        [
            models.QueryRequest(query=ALONG_X, using="dense", limit=1, shard_key=SMALL),
            models.QueryRequest(
                query=ALONG_X, using="dense", limit=1, shard_key=SMALL, filter=where(tenant="t"), with_payload=True
            ),
        ],
    )
    assert [[(each.id, each.payload) for each in answer.points] for answer in answers] == [
        [(4, None)],
        [(1, {"tenant": "t"})],
    ]


async def test_query_without_a_vector_lists_what_matches(library: Collection) -> None:
    assert ids(await library.query(None, query_filter=where(tenant="t"))) == [1, 2, 3, 5]


async def test_query_of_another_size_is_refused(library: Collection) -> None:
    with refused(400, saying="expected dim: 4, got 2"):
        await library.query([1.0, 2.0], using="dense")


async def test_query_by_an_unknown_vector_is_refused(library: Collection) -> None:
    with refused(400, saying="Not existing vector name error: other"):
        await library.query(ALONG_X, using="other")


async def test_server_makes_bm25_vectors_of_texts(collection: Collection) -> None:
    def text(words: str) -> models.Document:
        return models.Document(text=words, model="qdrant/bm25", options={"avg_len": 4.0, "language": "english"})

    texts = {1: "the cats are sleeping", 2: "a dog barks at cats and cats", 3: "rain in spring"}
    await collection.upsert(
        *(models.PointStruct(id=id_, vector={"sparse": text(words)}, payload={}) for id_, words in texts.items())
    )
    found = await collection.query(text("sleeping cat"), using="sparse")
    assert ids(found) == [1, 2]
