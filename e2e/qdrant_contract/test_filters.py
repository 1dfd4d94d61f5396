"""Filters: what matches, and above all what does not when a field is missing."""

import datetime
from typing import Any

import pytest_asyncio
from qdrant_client import models

from e2e.qdrant_contract.worlds import Collection, point, where

UTC = datetime.UTC


@pytest_asyncio.fixture(loop_scope="session")
async def library(collection: Collection) -> Collection:
    """Five points of two tenants with access lists, one of them without any."""
    await collection.upsert(
        point(1, tenant="t", acl=["staff", "all"], version=1, size=1.5),
        point(2, tenant="t", acl=["board"], version=2, size=2.5),
        point(3, tenant="t", version=3),
        point(4, tenant="u", acl=["all"], version=4),
        point(5, None, tenant="u", acl=[], version=5, note=None),
    )
    return collection


def number(key: str, **bounds: float) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key=key, range=models.Range(**bounds))])


async def test_principal_filter_matches_tenant_and_any_of_the_groups(library: Collection) -> None:
    assert await library.ids(wanted=where(tenant="t", acl=["staff", "guests"])) == [1]


async def test_missing_access_list_matches_no_group(library: Collection) -> None:
    assert await library.ids(wanted=where(acl=["staff", "board", "all"])) == [1, 2, 4]


async def test_no_groups_match_nothing(library: Collection) -> None:
    wanted = models.Filter(must=[models.FieldCondition(key="acl", match=models.MatchAny(any=[]))])
    assert await library.ids(wanted=wanted) == []


async def test_range_bounds_are_open_or_closed_as_asked(library: Collection) -> None:
    assert (
        await library.ids(wanted=number("version", gt=2, lte=4)),
        await library.ids(wanted=number("version", gte=2, lt=4)),
    ) == ([3, 4], [2, 3])


async def test_range_on_a_field_without_an_index_works(library: Collection) -> None:
    assert await library.ids(wanted=number("size", gt=2)) == [2]


async def test_must_not_excludes(library: Collection) -> None:
    assert await library.ids(wanted=models.Filter(must_not=where(tenant="t").must)) == [4, 5]


async def test_should_needs_one(library: Collection) -> None:
    wanted = models.Filter(should=[where(acl="board"), where(version=4)])
    assert await library.ids(wanted=wanted) == [2, 4]


async def test_min_should_needs_as_many_as_asked(library: Collection) -> None:
    conditions: list[Any] = [where(tenant="t"), where(acl="all"), where(version=1)]
    wanted = models.Filter(min_should=models.MinShould(conditions=conditions, min_count=2))
    assert await library.ids(wanted=wanted) == [1]


async def test_filters_nest(library: Collection) -> None:
    wanted = models.Filter(must=[where(tenant="t"), models.Filter(should=[where(version=1), where(version=2)])])
    assert await library.ids(wanted=wanted) == [1, 2]


async def test_except_matches_present_other_values_only(library: Collection) -> None:
    wanted = models.Filter(must=[models.FieldCondition(key="tenant", match=models.MatchExcept(**{"except": ["t"]}))])
    assert await library.ids(wanted=wanted) == [4, 5]


async def test_empty_and_missing_lists_are_empty(library: Collection) -> None:
    wanted = models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="acl"))])
    assert await library.ids(wanted=wanted) == [3, 5]


async def test_null_is_null_and_missing_is_not(library: Collection) -> None:
    wanted = models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="note"))])
    assert await library.ids(wanted=wanted) == [5]


async def test_points_with_a_vector_can_be_told(library: Collection) -> None:
    wanted = models.Filter(must=[models.HasVectorCondition(has_vector="dense")])
    assert await library.ids(wanted=wanted) == [1, 2, 3, 4]


async def test_ids_can_be_filtered(library: Collection) -> None:
    assert await library.ids(wanted=models.Filter(must=[models.HasIdCondition(has_id=[2, 4, 9])])) == [2, 4]


async def test_values_of_nested_fields_are_matched(collection: Collection) -> None:
    await collection.upsert(point(1, meta={"lang": "de"}), point(2, meta={"lang": "en"}), point(3, meta="de"))
    assert await collection.ids(wanted=where(**{"meta.lang": "de"})) == [1]


async def test_nested_objects_match_as_one(collection: Collection) -> None:
    await collection.upsert(
        point(1, parts=[{"kind": "a", "size": 1}, {"kind": "b", "size": 2}]), point(2, parts=[{"kind": "a", "size": 2}])
    )
    nested = models.Nested(key="parts", filter=where(kind="a", size=2))
    assert await collection.ids(wanted=models.Filter(must=[models.NestedCondition(nested=nested)])) == [2]


async def test_datetimes_are_compared_as_moments(collection: Collection) -> None:
    await collection.qdrant.create_payload_index(collection.name, "at", models.PayloadSchemaType.DATETIME, wait=True)
    await collection.upsert(point(1, at="2026-01-01T00:00:00Z"), point(2, at="2026-01-01T03:00:00+02:00"))
    moment = datetime.datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    wanted = models.Filter(must=[models.FieldCondition(key="at", range=models.DatetimeRange(gt=moment))])
    assert await collection.ids(wanted=wanted) == [2]
