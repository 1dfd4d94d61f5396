"""Parts of the Qdrant store that need no server: routes of a scope, filters, and how writes are cut."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import models

from lectern_contract.collection import FALLBACK_SHARD_KEY, ShardBy
from lectern_contract.payload import INDEXED
from lectern_contract.scope import Scope
from lectern_runtime.adapters import qdrant_filters, qdrant_points
from lectern_runtime.adapters.qdrant_routes import route_of, routes
from lectern_runtime.ports import Chunk, CollectionSpec, DocumentWrite
from lectern_runtime_tests.contracts import corpus

SPEC = CollectionSpec("test.kb-g1", corpus.DIMENSIONS, sparse=True, identity="i")
WAY = routes(corpus.writer(), "Tenant")[0]
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
        qdrant_filters.records_of(scope, [document]),
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
    write = DocumentWrite(corpus.record("a", 1, chunks=len(chunks)), chunks)
    steps = qdrant_points.steps(write, SPEC, WAY)
    requests = list(qdrant_points.requests(steps))
    assert [step for request in requests for step in request] == steps
    upserts = [step.operation.upsert for step in steps if isinstance(step.operation, models.UpsertOperation)]
    upserted = [each.points for each in upserts if isinstance(each, models.PointsList)]
    assert [point for part in upserted[:-1] for point in part] == points
    assert [step.failpoint for step in steps[-2:]] == ["delete-older", "record"]
    assert upserted[-1] == [qdrant_points.record_point(write.record)]
    for request in requests:
        assert 0 < sum(step.size for step in request) <= qdrant_points.MOST_BYTES


def test_writes_are_cut_by_number() -> None:
    chunks = [chunk(number, "word") for number in range(600)]
    steps = qdrant_points.steps(DocumentWrite(corpus.record("a", 1, chunks=600), chunks), SPEC, WAY)
    assert [[step.points for step in request] for request in qdrant_points.requests(steps)] == [
        [256],
        [256],
        [88, 0, 1],
    ]


def test_small_documents_share_a_request_and_keep_their_order() -> None:
    writes = [
        DocumentWrite(corpus.record(f"{number}", 1, chunks=2), [chunk(0, "a"), chunk(1, "b")]) for number in range(99)
    ]
    steps = [step for each in writes for step in qdrant_points.steps(each, SPEC, WAY)]
    assert [len(request) for request in qdrant_points.requests(steps)] == [85 * 3, 14 * 3]
