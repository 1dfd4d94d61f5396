"""Filters of requests as filters of the engine.

`reads`, `writes`, `queries` and `sharding` translate with `of`; `both` makes one filter of a query's and a prefetch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from qdrant_client.http import models
from qdrant_edge import (
    FieldCondition,
    Filter,
    GeoBoundingBox,
    GeoPoint,
    GeoPolygon,
    GeoRadius,
    HasIdCondition,
    HasVectorCondition,
    IsEmptyCondition,
    IsNullCondition,
    MatchAny,
    MatchExcept,
    MatchPhrase,
    MatchPrefix,
    MatchSubstring,
    MatchText,
    MatchTextAny,
    MatchValue,
    MinShould,
    NestedCondition,
    RangeDateTime,
    RangeFloat,
    ValuesCount,
)

from e2e.testbed.qdrant_double.refusals import unsupported

if TYPE_CHECKING:
    from qdrant_edge import ConditionType

Condition: TypeAlias = (
    models.FieldCondition
    | models.IsEmptyCondition
    | models.IsNullCondition
    | models.HasIdCondition
    | models.HasVectorCondition
    | models.SliceCondition
    | models.NestedCondition
    | models.Filter
)

_MATCHES: Mapping[type[Any], Callable[[Any], Any]] = {
    models.MatchAny: lambda match: MatchAny(match.any),
    models.MatchExcept: lambda match: MatchExcept(match.except_),
    models.MatchPhrase: lambda match: MatchPhrase(match.phrase),
    models.MatchPrefix: lambda match: MatchPrefix(match.prefix),
    models.MatchSubstring: lambda match: MatchSubstring(match.substring),
    models.MatchText: lambda match: MatchText(match.text),
    models.MatchTextAny: lambda match: MatchTextAny(match.text_any),
    models.MatchValue: lambda match: MatchValue(match.value),
}


def of(wanted: models.Filter) -> Filter:
    """The engine's filter; raises Refused (501) for conditions that the double lacks."""
    return Filter(
        must=_conditions(wanted.must),
        should=_conditions(wanted.should),
        must_not=_conditions(wanted.must_not),
        min_should=None
        if wanted.min_should is None
        else MinShould(_listed(wanted.min_should.conditions), wanted.min_should.min_count),
    )


def optional(wanted: models.Filter | None) -> Filter | None:
    """The engine's filter, or None."""
    return None if wanted is None else of(wanted)


def both(one: models.Filter | None, other: models.Filter | None) -> models.Filter | None:
    """A filter that matches what both match."""
    present = [each for each in (one, other) if each is not None]
    return models.Filter(must=list(present)) if len(present) == 2 else next(iter(present), None)


def conditions(wanted: models.Filter) -> list[Condition]:
    """The conditions directly in a filter, of whichever clause."""
    clauses = [wanted.must, wanted.should, wanted.must_not]
    if wanted.min_should is not None:
        clauses.append(wanted.min_should.conditions)
    lists = [clause if isinstance(clause, list) else [clause] for clause in clauses if clause is not None]
    return [each for clause in lists for each in clause]


def _conditions(clause: Any) -> list[ConditionType] | None:
    if clause is None:
        return None
    return _listed(clause if isinstance(clause, list) else [clause])


def _listed(clause: list[Any]) -> list[ConditionType]:
    return [_condition(each) for each in clause]


def _condition(wanted: Condition) -> ConditionType:
    match wanted:
        case models.FieldCondition():
            return _field(wanted)
        case models.Filter():
            return of(wanted)
        case models.HasIdCondition():
            return HasIdCondition(set(wanted.has_id))
        case models.HasVectorCondition():
            return HasVectorCondition(wanted.has_vector)
        case models.IsEmptyCondition():
            return IsEmptyCondition(wanted.is_empty.key)
        case models.IsNullCondition():
            return IsNullCondition(wanted.is_null.key)
        case models.NestedCondition():
            return NestedCondition(wanted.nested.key, of(wanted.nested.filter))
    raise unsupported(f"the condition {type(wanted).__name__}")


def _field(wanted: models.FieldCondition) -> FieldCondition:
    return FieldCondition(
        wanted.key,
        match=None if wanted.match is None else _match(wanted.match),
        range=_range(wanted.range),
        geo_bounding_box=None if wanted.geo_bounding_box is None else _box(wanted.geo_bounding_box),
        geo_radius=None
        if wanted.geo_radius is None
        else GeoRadius(_place(wanted.geo_radius.center), wanted.geo_radius.radius),
        geo_polygon=None if wanted.geo_polygon is None else _polygon(wanted.geo_polygon),
        values_count=None if wanted.values_count is None else ValuesCount(**wanted.values_count.model_dump()),
        is_empty=wanted.is_empty,
        is_null=wanted.is_null,
    )


def _match(wanted: Any) -> Any:
    if isinstance(wanted, models.MatchValue) and isinstance(wanted.value, bool):
        raise unsupported("`match` of a boolean (the engine's Python binding makes a number of it)")
    return _MATCHES[type(wanted)](wanted)


def _range(wanted: models.Range | models.DatetimeRange | None) -> RangeFloat | RangeDateTime | None:
    if wanted is None:
        return None
    if isinstance(wanted, models.Range):
        return RangeFloat(gte=wanted.gte, gt=wanted.gt, lte=wanted.lte, lt=wanted.lt)
    return RangeDateTime(gte=_moment(wanted.gte), gt=_moment(wanted.gt), lte=_moment(wanted.lte), lt=_moment(wanted.lt))


def _moment(moment: datetime | date | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _place(point: models.GeoPoint) -> GeoPoint:
    return GeoPoint(point.lon, point.lat)


def _box(wanted: models.GeoBoundingBox) -> GeoBoundingBox:
    return GeoBoundingBox(_place(wanted.top_left), _place(wanted.bottom_right))


def _polygon(wanted: models.GeoPolygon) -> GeoPolygon:
    return GeoPolygon(
        [_place(each) for each in wanted.exterior.points],
        [[_place(each) for each in ring.points] for ring in wanted.interiors or []],
    )
