"""Parts of the Qdrant store that need no server: routes of a scope, filters, and how writes are cut."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract.collection import FALLBACK_SHARD_KEY, ShardBy
from lectern_contract.payload import INDEXED
from lectern_contract.scope import Scope
from lectern_runtime.adapters import qdrant_filters, qdrant_points
from lectern_runtime.adapters.qdrant_routes import route_of, routes
from lectern_runtime.ports import Chunk, CollectionSpec
from lectern_runtime_tests.contracts import corpus

SPEC = CollectionSpec("test.kb-g1", corpus.DIMENSIONS, sparse=True, identity="i")
LEVELS = st.lists(st.sampled_from(corpus.LEVELS), min_size=1, unique=True)


@pytest.mark.parametrize(
    ("shard_by", "expected"),
    [
        ("TenantAndAccessLevel", [("acme/internal", ("internal",)), ("acme/public", ("public",))]),
        ("Tenant", [("acme", ("internal", "public"))]),
    ],
)
def test_a_scope_goes_to_the_keys_of_its_partitions(
    shard_by: ShardBy, expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    ways = routes(corpus.reader(levels=["public", "internal"]), shard_by)
    assert [(way.selector.target, way.scope.access_levels) for way in ways] == expected
    assert {way.selector.fallback for way in ways} == {FALLBACK_SHARD_KEY}


@given(levels=LEVELS, shard_by=st.sampled_from(["TenantAndAccessLevel", "Tenant"]))
def test_every_partition_is_read_by_one_route_and_where_it_is_written(levels: list[str], shard_by: Any) -> None:
    scope = corpus.reader(levels=levels)
    ways = routes(scope, shard_by)
    reached = [(way.selector.target, partition) for way in ways for partition in way.scope.partitions]
    assert sorted(reached) == sorted((route_of(each, shard_by).target, each) for each in scope.partitions)


def test_every_filter_asks_for_tenant_and_level_and_only_for_fields_with_an_index() -> None:
    scope: Scope = corpus.reader(filters={"lang": ("de", 1, True)})
    document = corpus.doc("a")
    made = [
        qdrant_filters.chunks_of_scope(scope),
        qdrant_filters.chunks_by_id(scope, ["x"]),
        qdrant_filters.records_of_scope(scope),
        qdrant_filters.record_of(scope, document),
        qdrant_filters.chunks_of(scope, document),
        qdrant_filters.older_chunks_of(scope, document, version=3),
        qdrant_filters.overwritable(scope, version=3),
    ]
    for each in made:
        conditions: Any = each.must
        fields = {condition.key for condition in conditions if hasattr(condition, "key")}
        assert {"tenant", "access_level", "metadata_terms"} <= fields <= set(INDEXED)
        assert (each.should, each.must_not, each.min_should) == (None, None, None)


def chunk(number: int, text: str) -> Chunk:
    return corpus.chunk("a", number, text, 1)


@given(sizes=st.lists(st.integers(1, 3_000_000), max_size=12))
def test_writes_are_cut_by_size_in_order_and_nothing_is_lost(sizes: list[int]) -> None:
    like = chunk(0, "word")
    chunks = [
        dataclasses.replace(like, payload=like.payload.model_copy(update={"text": "x" * (size // 6), "number": number}))
        for number, size in enumerate(sizes)
    ]
    points = [qdrant_points.chunk_point(each, SPEC) for each in chunks]
    parts = qdrant_points.requests(points, chunks)
    assert [point for part in parts for point in part] == points
    weights = [sum(len(point.payload["text"]) * 6 for point in part if point.payload) for part in parts]
    assert all(weight <= qdrant_points.MOST_BYTES for weight in weights)
    assert all(parts)


def test_writes_are_cut_by_number() -> None:
    chunks = [chunk(number, "word") for number in range(600)]
    parts = qdrant_points.requests([qdrant_points.chunk_point(each, SPEC) for each in chunks], chunks)
    assert [len(part) for part in parts] == [256, 256, 88]
