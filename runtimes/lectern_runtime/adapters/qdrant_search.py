"""One search of a Qdrant server: lists of nearest points by route and vector, merged, fused, and given their payloads.

Each vector is one request over all routes, both at the same time; a last one fetches the payloads of what is shown.
Fusion is ours, so that the embedded store and this one rank alike and each hit keeps the scores that it is made of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from qdrant_client import models

from lectern_contract.collection import DENSE, SPARSE, ShardBy
from lectern_contract.ids import ChunkId, DocumentId
from lectern_contract.payload import ChunkPayload, Field
from lectern_contract.scope import Scope
from lectern_runtime.adapters import qdrant_filters, qdrant_points, stored_points
from lectern_runtime.adapters.qdrant_connection import QdrantConnection
from lectern_runtime.adapters.qdrant_routes import Route, routes
from lectern_runtime.adapters.rank_fusion import fuse
from lectern_runtime.adapters.store_calls import check_request
from lectern_runtime.errors import StoreError
from lectern_runtime.ports import CollectionSpec, Hit, Scores, SearchRequest

OVERFETCH = 8
"""Equal scores come in any order; these few more usually show where the run of them ends."""
MOST_FETCHED = 10_000
"""Of equal scores; beyond, which of them are chosen is left to the server."""

Ranked = list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The best `count` points by one vector."""

    using: str
    query: list[float] | models.SparseVector
    params: models.SearchParams | None
    count: int


async def search(
    connection: QdrantConnection, spec: CollectionSpec, name: str, shard_by: ShardBy, scope: Scope, asked: SearchRequest
) -> list[Hit]:
    """Return the best chunks of the scope in the collection or alias `name`; raises VectorInvalid or StoreError."""
    check_request(asked)
    wanted = _wanted(spec, scope, asked)
    ways = routes(scope, shard_by)
    lists = await asyncio.gather(*(_nearest(connection, name, ways, each) for each in wanted))
    found = {each.using: ranked for each, (ranked, _) in zip(wanted, lists, strict=True)}
    homes = {id_: way for _, home in lists for id_, way in home.items()}
    shown = _ranked(found, asked)[: asked.limit]
    payloads = await _payloads(connection, name, [id_ for id_, _ in shown], homes)
    newest = await _versions(connection, name, payloads, homes)
    # A chunk that was removed since it was found is no hit any more, and one that is older than its record never was.
    return [
        Hit(ChunkId(id_), payloads[id_], scores)
        for id_, scores in shown
        if id_ in payloads and not stored_points.is_outdated(payloads[id_], newest)
    ]


def _wanted(spec: CollectionSpec, scope: Scope, asked: SearchRequest) -> list[_Wanted]:
    count = asked.candidates if asked.mode == "Hybrid" else asked.limit
    wanted = []
    if asked.mode != "Sparse":
        if asked.dense is None:
            raise StoreError(f"a search of mode {asked.mode} needs a dense vector")
        values = stored_points.dense_values(asked.dense, spec, what="the question")
        wanted.append(_Wanted(DENSE, values, None, count))
    if asked.mode != "Dense":
        if not spec.sparse:
            raise StoreError(
                f"a search of mode {asked.mode} needs term weights, and collection {spec.name!r} was made "
                "without them; search in mode Dense"
            )
        if asked.sparse is None:
            raise StoreError(f"a search of mode {asked.mode} needs a sparse vector")
        terms = qdrant_points.sparse_values(asked.sparse, what="the question")
        # How rare a term is must not tell, or depend on, what other readers have.
        rarity = models.IdfCorpusParams(corpus=qdrant_filters.chunks_of_scope(scope))
        wanted.append(_Wanted(SPARSE, terms, models.SearchParams(idf=rarity), count))
    return wanted


def _ranked(found: dict[str, Ranked], asked: SearchRequest) -> list[tuple[str, Scores]]:
    match asked.mode:
        case "Dense":
            return [(id_, Scores(dense=score)) for id_, score in found[DENSE]]
        case "Sparse":
            return [(id_, Scores(sparse=score)) for id_, score in found[SPARSE]]
        case "Hybrid":
            return fuse(found[DENSE], found[SPARSE], k=asked.rrf_k, sparse_weight=asked.sparse_weight)


async def _nearest(
    connection: QdrantConnection, name: str, ways: Sequence[Route], wanted: _Wanted
) -> tuple[Ranked, dict[str, Route]]:
    """The best points over all routes, equal scores by id, and by which route each was found.

    Fetches on while equal scores cross the border.
    """
    if isinstance(wanted.query, models.SparseVector) and not wanted.query.indices:
        return [], {}
    limit = wanted.count + OVERFETCH
    while True:
        queries = [_query(way, wanted, limit) for way in ways]
        answers = await connection.read(name, lambda client, asked=queries: client.query_batch_points(name, asked))  # type: ignore[misc] # the default binds the loop's value
        points: Ranked = []
        homes: dict[str, Route] = {}
        cut = False
        for way, answer in zip(ways, answers, strict=True):
            scored = [(str(point.id), _score(point.score, wanted.using)) for point in answer.points]
            homes.update((id_, way) for id_, _ in scored)
            points += scored
            cut = cut or _is_cut(scored, limit, wanted.count)
        points.sort(key=lambda point: (-point[1], point[0]))
        if not cut or limit >= MOST_FETCHED:
            return points[: wanted.count], homes
        limit = min(8 * limit, MOST_FETCHED)


def _query(way: Route, wanted: _Wanted, limit: int) -> models.QueryRequest:
    return models.QueryRequest(
        query=models.NearestQuery(nearest=wanted.query),
        using=wanted.using,
        filter=qdrant_filters.chunks_of_scope(way.scope),
        params=wanted.params,
        limit=limit,
        with_payload=False,
        shard_key=way.selector,
    )


def _score(score: float, using: str) -> float:
    return max(-1.0, min(1.0, score)) if using == DENSE else score


def _is_cut(scored: Ranked, limit: int, count: int) -> bool:
    """Whether more points of the score at the border may be left behind."""
    return len(scored) >= limit and scored[-1][1] >= scored[count - 1][1]


async def _versions(
    connection: QdrantConnection, name: str, payloads: dict[str, ChunkPayload], homes: dict[str, Route]
) -> dict[str, int]:
    """The version of the record of each document that these chunks are of; a record lies where its chunks do."""
    ways = {str(way.selector.target): way for way in homes.values()}
    by_way: dict[str, set[DocumentId]] = {}
    for id_, payload in payloads.items():
        by_way.setdefault(str(homes[id_].selector.target), set()).add(payload.document_id)

    async def of(way: Route, documents: list[DocumentId]) -> list[models.Record]:
        points, _ = await connection.read(
            name,
            lambda client: client.scroll(
                name,
                scroll_filter=qdrant_filters.records_by_id(way.scope, documents),
                limit=len(documents),
                with_payload=[Field.VERSION],
                shard_key_selector=way.selector,
            ),
        )
        return points

    found = await asyncio.gather(*(of(ways[key], sorted(documents)) for key, documents in by_way.items()))
    return {str(point.id): stored_points.read_version(point.payload) for points in found for point in points}


async def _payloads(
    connection: QdrantConnection, name: str, ids: Sequence[str], homes: dict[str, Route]
) -> dict[str, ChunkPayload]:
    """Payloads by id; asked for with the scope's filter once more, for a point may have been replaced."""
    by_way: dict[str, list[str]] = {}
    ways = {str(way.selector.target): way for way in homes.values()}
    for id_ in ids:
        by_way.setdefault(str(homes[id_].selector.target), []).append(id_)

    async def of(way: Route, some: list[str]) -> list[models.Record]:
        points, _ = await connection.read(
            name,
            lambda client: client.scroll(
                name,
                scroll_filter=qdrant_filters.chunks_by_id(way.scope, some),
                limit=len(some),
                with_payload=True,
                shard_key_selector=way.selector,
            ),
        )
        return points

    found = await asyncio.gather(*(of(ways[key], some) for key, some in by_way.items()))
    return {str(point.id): stored_points.read_chunk(point.payload) for points in found for point in points}
