"""Queries of requests as queries of the engine, one shard at a time.

The filters of the root and of outer prefetches are put into every prefetch, as the server's planner does: whatever the
engine's own planner does with an outer filter, no prefetch may see beyond it. `reads` merges what the shards answer.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel
from qdrant_client.http import models
from qdrant_edge import (
    AcornSearchParams,
    Direction,
    Fusion,
    IdfParams,
    OrderBy,
    PayloadSelector,
    Prefetch,
    QuantizationSearchParams,
    Query,
    QueryRequest,
    Sample,
    SearchParams,
    SparseVector,
)

from e2e.testbed.qdrant_double import filters, vectors
from e2e.testbed.qdrant_double.refusals import bad_request, invalid, unsupported

DEFAULT_LIMIT = 10
DEFAULT_RRF_K = 2


def root(request: models.QueryRequest, limit: int) -> QueryRequest:
    """The request for one shard, for its best `limit` points from the first on."""
    prefetches = [prefetch(each, request.filter) for each in listed(request.prefetch)]
    check_prefetched(request.query, len(prefetches))
    return QueryRequest(
        limit=limit,
        query=scoring(request.query, request.using),
        prefetches=prefetches or None,
        filter=filters.optional(request.filter),
        params=search_params(request.params),
        score_threshold=request.score_threshold,
        with_payload=payload_selector(request.with_payload, default=False),
        with_vector=request.with_vector or False,
    )


def source(wanted: models.Prefetch, inherited: models.Filter | None) -> QueryRequest:
    """A prefetch as a request of its own, for one shard."""
    made = prefetch(wanted, inherited)
    return QueryRequest(
        limit=made.limit,
        query=made.query,
        prefetches=made.prefetches or None,
        filter=made.filter,
        params=made.params,
        score_threshold=made.score_threshold,
    )


def prefetch(wanted: models.Prefetch, inherited: models.Filter | None) -> Prefetch:
    """The prefetch with the filters of all that stand above it."""
    whole = filters.both(inherited, wanted.filter)
    inner = [prefetch(each, whole) for each in listed(wanted.prefetch)]
    check_prefetched(wanted.query, len(inner))
    if wanted.lookup_from is not None:
        raise unsupported("lookup_from")
    return Prefetch(
        limit=DEFAULT_LIMIT if wanted.limit is None else wanted.limit,
        query=scoring(wanted.query, wanted.using),
        prefetches=inner or None,
        params=search_params(wanted.params),
        filter=filters.optional(whole),
        score_threshold=wanted.score_threshold,
    )


def listed(prefetches: list[models.Prefetch] | models.Prefetch | None) -> list[models.Prefetch]:
    """The prefetches as a list."""
    if prefetches is None:
        return []
    return prefetches if isinstance(prefetches, list) else [prefetches]


def check_prefetched(query: Any, prefetches: int) -> None:
    """Refuse a fusion of nothing, prefetches that nothing merges, and weights that do not fit."""
    if isinstance(query, models.FusionQuery | models.RrfQuery) and not prefetches:
        raise bad_request("cannot apply Fusion without prefetches")
    if query is None and prefetches:
        raise bad_request("A query is needed to merge the prefetches. Can't have prefetches without defining a query.")
    if isinstance(query, models.RrfQuery):
        if query.rrf.k is not None and query.rrf.k < 1:
            raise invalid(f"query.rrf.k: value {query.rrf.k} invalid, must be 1 or larger")
        if query.rrf.weights is not None and len(query.rrf.weights) != prefetches:
            raise bad_request(f"RRF weights length mismatch: expected {prefetches}, got {len(query.rrf.weights)}")


def scoring(query: Any, using: str | None) -> Any:
    """The engine's scoring; raises Refused (501) for what the double lacks."""
    match query:
        case None:
            return None
        case list() | models.SparseVector() | models.Document():
            return _nearest(query, using)
        case models.NearestQuery(nearest=nearest, mmr=None):
            return _nearest(nearest, using)
        case models.FusionQuery(fusion=models.Fusion.RRF):
            return Fusion.Rrf(DEFAULT_RRF_K)
        case models.FusionQuery():
            return Fusion.Dbsf()
        case models.RrfQuery(rrf=rrf):
            return Fusion.Rrf(DEFAULT_RRF_K if rrf.k is None else rrf.k, rrf.weights)
        case models.OrderByQuery(order_by=wanted):
            return order_by(wanted)
        case models.SampleQuery():
            return Sample.Random
    raise unsupported(f"the query {type(query).__name__}")


def order_by(wanted: str | models.OrderBy) -> OrderBy:
    """The engine's order by a payload field."""
    if isinstance(wanted, str):
        return OrderBy(wanted)
    start = wanted.start_from
    return OrderBy(
        wanted.key,
        Direction.Desc if wanted.direction is models.Direction.DESC else Direction.Asc,
        start.isoformat() if isinstance(start, datetime | date) else start,
    )


def search_params(wanted: models.SearchParams | None) -> SearchParams | None:
    """The engine's search parameters; the search is exact whatever they say."""
    if wanted is None:
        return None
    quantization, acorn = _filled(wanted.quantization), _filled(wanted.acorn)
    idf = None
    if wanted.idf is not None:
        idf = IdfParams(filters.of(wanted.idf.corpus) if isinstance(wanted.idf, models.IdfCorpusParams) else None)
    return SearchParams(
        hnsw_ef=wanted.hnsw_ef,
        exact=bool(wanted.exact),
        quantization=QuantizationSearchParams(**quantization) if quantization else None,
        indexed_only=False,  # nothing is ever indexed here, so it would hide everything
        acorn=AcornSearchParams(**acorn) if acorn else None,
        idf=idf,
    )


def payload_selector(wanted: Any, *, default: bool) -> Any:
    """Which payload fields the engine returns."""
    match wanted:
        case None:
            return default
        case models.PayloadSelectorInclude(include=fields):
            return PayloadSelector.Include(fields)
        case models.PayloadSelectorExclude(exclude=fields):
            return PayloadSelector.Exclude(fields)
    return wanted


def _nearest(vector: Any, using: str | None) -> Query:
    asked = vectors.asked(vector)
    if isinstance(asked, SparseVector) and len(set(asked.indices)) != len(asked.indices):
        raise invalid("query.indices: must be unique")
    return Query.Nearest(asked, using)


def _filled(model: BaseModel | None) -> dict[str, Any]:
    return {} if model is None else model.model_dump(exclude_none=True)
