"""Reads of points: each function answers one request over the shards that its key selects, and merges their answers.

The same id in several shard keys is shown once, as on the server; `count` counts each of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from qdrant_client.http import models
from qdrant_edge import CountRequest, EdgeShard, FacetRequest, QueryRequest, ScrollRequest

from e2e.testbed.qdrant_double import filters, fusion, queries, routing, strict_mode, vectors
from e2e.testbed.qdrant_double.catalogue import Collection, Shard
from e2e.testbed.qdrant_double.collection_config import named_vectors
from e2e.testbed.qdrant_double.refusals import bad_request, not_found, unsupported
from e2e.testbed.qdrant_double.shards import call
from e2e.testbed.qdrant_double.store import Call, Store

DEFAULT_LIMIT = 10
_SMALLER_IS_NEARER = ("Euclid", "Manhattan")

Found = tuple[Shard, Any]  # a shard and a record or scored point of the engine


def get_point(store: Store, request: Call) -> dict[str, Any]:
    """One point by the id in the path."""
    collection, text = request.collection(store), request.path["id"]
    id_ = vectors.point_id(int(text) if text.isdecimal() else text)
    found = _retrieved(store, collection, None, [id_], payload=True, vector=True)
    if not found:
        raise not_found(f"Point with id {text} does not exists!")
    return found[0]


def retrieve(store: Store, request: Call) -> list[dict[str, Any]]:
    """Points by their ids; those that do not exist are left out."""
    collection, wanted = request.collection(store), request.read(models.PointRequest)
    ids = [vectors.point_id(id_) for id_ in wanted.ids]
    payload = queries.payload_selector(wanted.with_payload, default=True)
    return _retrieved(store, collection, wanted.shard_key, ids, payload=payload, vector=wanted.with_vector or False)


def scroll(store: Store, request: Call) -> dict[str, Any]:
    """A page of points in the order of their ids, or of a payload field."""
    collection, wanted = request.collection(store), request.read(models.ScrollRequest)
    limit = DEFAULT_LIMIT if wanted.limit is None else wanted.limit
    if limit < 1:
        raise bad_request("Limit cannot be 0")
    strict_mode.check_retrieval(collection, wanted.filter, limit=limit)
    ordered = None if wanted.order_by is None else queries.order_by(wanted.order_by)
    page = ScrollRequest(
        offset=None if wanted.offset is None else vectors.point_id(wanted.offset),
        limit=limit + 1,
        filter=filters.optional(wanted.filter),
        with_payload=queries.payload_selector(wanted.with_payload, default=True),
        with_vector=wanted.with_vector or False,
        order_by=ordered,
    )
    found = _from_shards(store, collection, wanted.shard_key, lambda shard: shard.scroll(page)[0])
    if ordered is None:
        records = _once(sorted(found, key=lambda each: _rank(each[1].id)))
        following = _id(records[limit][1].id) if len(records) > limit else None
    else:
        records, following = _once(_ordered(found, wanted.order_by)), None
    return {"points": [_record(*each) for each in records[:limit]], "next_page_offset": following}


def count(store: Store, request: Call) -> dict[str, int]:
    """The number of points that the filter matches."""
    collection, wanted = request.collection(store), request.read(models.CountRequest)
    strict_mode.check_retrieval(collection, wanted.filter)
    strict_mode.check_exact(collection, wanted.exact)
    counted = CountRequest(exact=True, filter=filters.optional(wanted.filter))
    return {"count": sum(each for _, each in _each(store, collection, wanted.shard_key, lambda s: s.count(counted)))}


def facet(store: Store, request: Call) -> dict[str, Any]:
    """The most frequent values of a payload field, with their numbers of points."""
    collection, wanted = request.collection(store), request.read(models.FacetRequest)
    limit = DEFAULT_LIMIT if wanted.limit is None else wanted.limit
    strict_mode.check_retrieval(collection, wanted.filter, limit=limit)
    if wanted.key not in collection.indexes:
        raise bad_request(
            f"No appropriate index for faceting: `{wanted.key}`. Please create one to facet on this field."
        )
    # All of a shard's values: one that is rare here may be frequent in the next shard.
    asked = FacetRequest(wanted.key, 2**31, exact=True, filter=filters.optional(wanted.filter))
    counts: dict[Any, int] = {}
    for _, answer in _each(store, collection, wanted.shard_key, lambda shard: shard.facet(asked)):
        for hit in answer.hits:
            counts[hit.value] = counts.get(hit.value, 0) + hit.count
    hits = sorted(counts.items(), key=lambda each: (-each[1], str(each[0])))
    return {"hits": [{"value": value, "count": number} for value, number in hits[:limit]]}


def query(store: Store, request: Call) -> dict[str, Any]:
    """The best points for one query."""
    return _queried(store, request.collection(store), request.read(models.QueryRequest))


def query_batch(store: Store, request: Call) -> list[dict[str, Any]]:
    """The best points for several queries, in their order."""
    collection, wanted = request.collection(store), request.read(models.QueryRequestBatch).searches
    strict_mode.check_batch(collection, len(wanted))
    return [_queried(store, collection, each) for each in wanted]


def _queried(store: Store, collection: Collection, wanted: models.QueryRequest) -> dict[str, Any]:
    limit = DEFAULT_LIMIT if wanted.limit is None else wanted.limit
    offset = wanted.offset or 0
    if wanted.lookup_from is not None:
        raise unsupported("lookup_from")
    strict_mode.check_retrieval(collection, wanted.filter, limit=limit)
    strict_mode.check_search(collection, wanted.params)
    _check_prefetches(collection, queries.listed(wanted.prefetch))
    request = queries.root(wanted, limit + offset)
    shards = routing.for_reading(collection, wanted.shard_key)
    if isinstance(wanted.query, models.FusionQuery | models.RrfQuery) and len(shards) > 1:
        found = _fused(store, collection, wanted, limit + offset)
    else:
        found = _from_shards(store, collection, wanted.shard_key, lambda shard: shard.query(request))
        found = _once(_ranked(collection, found, wanted))
    return {"points": [_record(*each) for each in found[offset : offset + limit]]}


def _check_prefetches(collection: Collection, prefetches: list[models.Prefetch]) -> None:
    for each in prefetches:
        strict_mode.check_retrieval(collection, each.filter, limit=each.limit)
        strict_mode.check_search(collection, each.params)
        _check_prefetches(collection, queries.listed(each.prefetch))


def _ranked(collection: Collection, found: list[Found], wanted: Any) -> list[Found]:
    """Best first, equal scores by id."""
    if isinstance(wanted.query, models.OrderByQuery):
        return _ordered(found, wanted.query.order_by)
    vector = named_vectors(collection.config["params"]).get(wanted.using or "", {})
    sign = 1 if vector.get("distance") in _SMALLER_IS_NEARER else -1
    return sorted(found, key=lambda each: (sign * each[1].score, _rank(each[1].id)))


def _fused(store: Store, collection: Collection, wanted: models.QueryRequest, limit: int) -> list[Found]:
    """Fuse over several shards: each prefetch is merged over them first, as on the server."""
    rankings = []
    for each in queries.listed(wanted.prefetch):
        request = queries.source(each, wanted.filter)
        found = _from_shards(store, collection, wanted.shard_key, partial(_query, request=request))
        rankings.append(_once(_ranked(collection, found, each))[: request.limit])
    homes = {point.id: (shard, point) for ranking in reversed(rankings) for shard, point in ranking}
    scores = fusion.reciprocal_rank([[point.id for _, point in each] for each in rankings], wanted.query)
    best = sorted(scores, key=lambda id_: (-scores[id_], _rank(id_)))[:limit]
    least = -math.inf if wanted.score_threshold is None else wanted.score_threshold
    return [
        (homes[id_][0], _with_contents(store, collection, wanted, homes[id_], scores[id_]))
        for id_ in best
        if scores[id_] >= least
    ]


def _with_contents(
    store: Store, collection: Collection, wanted: models.QueryRequest, found: Found, score: float
) -> SimpleNamespace:
    """A fused point with what the request asks for of it."""
    shard, point = found
    payload = queries.payload_selector(wanted.with_payload, default=False)
    [record] = call(store.shards.made(collection, shard).retrieve, [point.id], payload, wanted.with_vector or False)
    return SimpleNamespace(
        id=point.id, version=point.version, score=score, payload=record.payload, vector=record.vector
    )


def _query(shard: EdgeShard, request: QueryRequest) -> Any:
    return shard.query(request)


def _retrieved(
    store: Store, collection: Collection, selector: Any, ids: list[Any], *, payload: Any, vector: Any
) -> list[dict[str, Any]]:
    found = _from_shards(store, collection, selector, lambda shard: shard.retrieve(ids, payload, vector))
    return [_record(*each) for each in _once(found)]


def _each(
    store: Store, collection: Collection, selector: Any, ask: Callable[[EdgeShard], Any]
) -> list[tuple[Shard, Any]]:
    """What each selected shard that has points answers."""
    answers = []
    for shard in routing.for_reading(collection, selector):
        stored = store.shards.get(collection, shard)
        if stored is not None:
            answers.append((shard, call(ask, stored)))
    return answers


def _from_shards(store: Store, collection: Collection, selector: Any, ask: Callable[[EdgeShard], Any]) -> list[Found]:
    return [(shard, each) for shard, found in _each(store, collection, selector, ask) for each in found]


def _once(found: Iterable[Found]) -> list[Found]:
    """Each id once, at its first place."""
    kept: dict[Any, Found] = {}
    for each in found:
        kept.setdefault(each[1].id, each)
    return list(kept.values())


def _ordered(found: list[Found], wanted: Any) -> list[Found]:
    descending = isinstance(wanted, models.OrderBy) and wanted.direction is models.Direction.DESC
    return sorted(found, key=lambda each: (each[1].order_value, _rank(each[1].id)), reverse=descending)


def _rank(id_: int | UUID) -> tuple[bool, int]:
    return isinstance(id_, UUID), id_.int if isinstance(id_, UUID) else id_


def _id(id_: int | UUID) -> int | str:
    return str(id_) if isinstance(id_, UUID) else id_


def _record(shard: Shard, point: Any) -> dict[str, Any]:
    record: dict[str, Any] = {"id": _id(point.id)}
    for name in ("version", "score", "payload", "order_value"):
        value = getattr(point, name, None)
        if value is not None:
            record[name] = value
    if point.vector is not None:
        record["vector"] = vectors.shown(point.vector)
    if shard.key is not None:
        record["shard_key"] = shard.key
    return record
