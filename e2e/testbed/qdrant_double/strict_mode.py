"""Strict mode: the limits of a collection that the double enforces, with the server's sentences.

Enforced: limits of results, of batches, of a filter's conditions, exact search, and filters on fields without an
index. `reads` and `writes` ask before they do anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from qdrant_client.http import models

from e2e.testbed.qdrant_double import filters
from e2e.testbed.qdrant_double.catalogue import Collection
from e2e.testbed.qdrant_double.refusals import strict_mode


def check_retrieval(collection: Collection, wanted: models.Filter | None, *, limit: int | None = None) -> None:
    """Refuse a read whose limit or filter strict mode forbids."""
    _check_limit(collection, "max_query_limit", limit, "limit")
    _check_filter(collection, wanted, "unindexed_filtering_retrieve")


def check_update(collection: Collection, wanted: models.Filter | None) -> None:
    """Refuse a write whose filter strict mode forbids."""
    _check_filter(collection, wanted, "unindexed_filtering_update")


def check_upsert(collection: Collection, points: int, wanted: models.Filter | None) -> None:
    """Refuse an upsert of too many points or with a forbidden filter."""
    _check_limit(collection, "upsert_max_batchsize", points, "upsert limit")
    check_update(collection, wanted)


def check_search(collection: Collection, params: models.SearchParams | None) -> None:
    """Refuse search parameters that strict mode forbids."""
    if params is None:
        return
    check_exact(collection, params.exact)
    _check_limit(collection, "search_max_hnsw_ef", params.hnsw_ef, "hnsw_ef")
    if isinstance(params.idf, models.IdfCorpusParams):
        _check_filter(collection, params.idf.corpus, "unindexed_filtering_retrieve")


def check_exact(collection: Collection, exact: bool | None) -> None:
    """Refuse an exact search or count where they are not allowed."""
    if exact and _limits(collection).get("search_allow_exact") is False:
        raise strict_mode("Exact search disabled!", "Set exact=false.")


def check_batch(collection: Collection, queries: int) -> None:
    """Refuse a batch of too many queries."""
    _check_limit(collection, "search_max_batchsize", queries, "search batch size")


def _limits(collection: Collection) -> dict[str, Any]:
    limits: dict[str, Any] = collection.config["strict_mode_config"]
    return limits if limits["enabled"] else {}


def _check_limit(collection: Collection, setting: str, value: int | None, name: str) -> None:
    limit = _limits(collection).get(setting)
    if limit is not None and value is not None and value > limit:
        raise strict_mode(
            f'Limit exceeded {value} > {limit} for "{name}"', f'Reduce the "{name}" parameter to or below {limit}.'
        )


def _check_filter(collection: Collection, wanted: models.Filter | None, setting: str) -> None:
    limits = _limits(collection)
    if wanted is None or not limits:
        return
    count, most = sum(1 for _ in _leaves(wanted)), limits.get("filter_max_conditions")
    if most is not None and count > most:
        raise strict_mode(
            f"Filter condition limit reached ({count} > {most})", "Reduce the amount of conditions of your filter."
        )
    if limits.get(setting) is not False:
        return
    for prefix, condition in _leaves(wanted):
        suitable = _suitable_indexes(condition)
        if suitable and not _indexed(collection, prefix + condition.key, suitable, condition):
            raise strict_mode(
                f'Index required but not found for "{prefix}{condition.key}" of one of the following types: '
                f"[{', '.join(sorted(suitable))}]",
                "Create an index for this key or use a different filter.",
            )


def _leaves(wanted: models.Filter, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The conditions that are no filters, each with the path of the nested objects around it."""
    for condition in filters.conditions(wanted):
        if isinstance(condition, models.Filter):
            yield from _leaves(condition, prefix)
        elif isinstance(condition, models.NestedCondition):
            key = condition.nested.key.removesuffix("[]")
            yield from _leaves(condition.nested.filter, f"{prefix}{key}[].")
        else:
            yield prefix, condition


def _suitable_indexes(condition: Any) -> frozenset[str]:
    """The kinds of index of which the condition needs one; none for conditions that need no index."""
    if not isinstance(condition, models.FieldCondition):
        return frozenset()
    match condition.match:
        case models.MatchText() | models.MatchTextAny() | models.MatchPhrase():
            return frozenset({"text"})
        case models.MatchPrefix() | models.MatchSubstring():
            return frozenset({"keyword"})
        case models.MatchValue(value=value):
            return _of_value(value)
        case models.MatchAny(any=[first, *_]) | models.MatchExcept(except_=[first, *_]):
            return _of_value(first)
    match condition.range:
        case models.Range():
            return frozenset({"integer", "float"})
        case models.DatetimeRange():
            return frozenset({"datetime"})
    if condition.geo_radius or condition.geo_bounding_box or condition.geo_polygon:
        return frozenset({"geo"})
    return frozenset()


def _of_value(value: object) -> frozenset[str]:
    if isinstance(value, bool):
        return frozenset({"bool"})
    if isinstance(value, int):
        return frozenset({"integer"})
    try:
        UUID(str(value))
    except ValueError:
        return frozenset({"keyword"})
    return frozenset({"keyword", "uuid"})


def _indexed(collection: Collection, key: str, suitable: frozenset[str], condition: models.FieldCondition) -> bool:
    index = collection.indexes.get(key)
    if index is None or index["data_type"] not in suitable:
        return False
    # An integer index serves what it was built for: both, unless its parameters say otherwise.
    capability = "lookup" if condition.match is not None else "range"
    return index["data_type"] != "integer" or index.get("params", {}).get(capability) is not False
