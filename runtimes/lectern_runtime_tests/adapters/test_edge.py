"""The embedded vector store keeps the contract of every vector store, agrees with the engine, and survives kills."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_edge import EdgeShard, Fusion, IdfParams, Prefetch, Query, QueryRequest, SearchParams

from lectern_contract.collection import DENSE, SPARSE
from lectern_contract.errors import ConfigurationError, DataDirectoryError
from lectern_contract.ids import chunk_id
from lectern_runtime.adapters import edge_filters, edge_points
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.adapters.edge_catalogue import MOST_OPEN
from lectern_runtime.errors import CollectionMismatch, StoreError
from lectern_runtime.ports import SearchRequest, SparseVector
from lectern_runtime_tests.contracts import corpus
from lectern_runtime_tests.contracts.vector_scope_contract import VectorScopeContract
from lectern_runtime_tests.contracts.vector_store_contract import NAME, SPEC, MakeStore, VectorStoreContract
from lectern_runtime_tests.contracts.vector_version_contract import (
    DiesBeforeItReads,
    VectorVersionContract,
    chunks_of,
    hides_and_removes_what_came_late,
    seen,
)

WRITER = """
import asyncio, json, sys
from pathlib import Path
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime_tests.contracts import corpus

async def main():
    store = await EdgeStore.open(Path(sys.argv[1]))
    for version in range(int(sys.argv[3]), 1 << 30):
        uri = f"doc-{version % 3}"
        print(json.dumps(["begin", uri, version]), flush=True)
        await corpus.put(store, sys.argv[2], uri, corpus.texts_of(version), version)
        print(json.dumps(["done", uri, version]), flush=True)

asyncio.run(main())
"""


class TestEdgeStore(VectorStoreContract, VectorScopeContract, VectorVersionContract):
    @pytest.fixture
    def make_store(self, quick_path: Path) -> MakeStore:
        return lambda: EdgeStore.open(quick_path / "store")


@pytest.fixture
async def store(quick_path: Path) -> AsyncIterator[EdgeStore]:
    opened = await EdgeStore.open(quick_path)
    await opened.ensure_collection(SPEC)
    yield opened
    await opened.close()


async def test_what_a_dead_writer_left_is_never_found_and_can_be_removed(quick_path: Path) -> None:
    died = DiesBeforeItReads()
    store = await EdgeStore.open(quick_path, failpoint=died)
    await store.ensure_collection(SPEC)
    await hides_and_removes_what_came_late(store, died)
    await store.close()


async def write_random(store: EdgeStore, count: int, seed: int) -> None:
    """Chunks with random directions and a few random terms each, so that no scores are equal by chance."""
    chance = np.random.default_rng(seed)
    chunks = []
    for number in range(count):
        vector = chance.standard_normal(corpus.DIMENSIONS).astype(np.float32)
        terms = tuple(int(term) for term in chance.choice(40, size=6, replace=False))
        weights = tuple(float(weight) for weight in chance.uniform(0.5, 2.0, size=6))
        chunk = corpus.chunk("a", number, f"text {number}", 1, vector=vector / np.linalg.norm(vector))
        chunks.append(dataclasses.replace(chunk, sparse=SparseVector(terms, weights)))
    await corpus.write(store, NAME, corpus.record("a", 1, chunks=count), chunks)


def random_question(seed: int) -> SearchRequest:
    chance = np.random.default_rng(seed)
    vector = chance.standard_normal(corpus.DIMENSIONS).astype(np.float32)
    terms = tuple(int(term) for term in chance.choice(40, size=5, replace=False))
    asked = corpus.hybrid("alpha", candidates=30, limit=60)
    return dataclasses.replace(asked, dense=vector / np.linalg.norm(vector), sparse=SparseVector(terms, (1.0,) * 5))


async def test_fusion_agrees_with_the_engines_own(quick_path: Path, store: EdgeStore) -> None:
    await write_random(store, 300, seed=1)
    asked = [
        dataclasses.replace(random_question(seed), rrf_k=k, sparse_weight=weight)
        for seed, (k, weight) in enumerate(itertools.product((1, 2, 61), (0.5, 1.0, 1.5, 3.0)))
    ]
    ours = [await store.search(NAME, corpus.reader(), request) for request in asked]
    await store.close()
    shard = EdgeShard.load(str(quick_path / "collections" / NAME / "shard"))
    visible = edge_filters.chunks_of_scope(corpus.reader())
    for request, hits in zip(asked, ours, strict=True):
        assert request.dense is not None
        assert request.sparse is not None
        dense = Query.Nearest(request.dense.tolist(), DENSE)
        sparse = Query.Nearest(edge_points.sparse_values(request.sparse, what="test"), SPARSE)
        idf = SearchParams(exact=True, idf=IdfParams(corpus=visible))
        lists = [
            Prefetch(request.candidates, dense, filter=visible, params=SearchParams(exact=True)),
            Prefetch(request.candidates, sparse, filter=visible, params=idf),
        ]
        fusion: Any = Fusion.Rrf(request.rrf_k, weights=[1.0, request.sparse_weight])  # the stub has no base class
        theirs = shard.query(QueryRequest(limit=60, query=fusion, prefetches=lists, filter=visible))
        expected = {str(point.id): point.score for point in theirs}
        fused = {str(hit.id): hit.scores.fused or 0.0 for hit in hits}
        assert fused == pytest.approx(expected, rel=1e-5)
        order = sorted(expected, key=lambda id_: (-round(expected[id_], 6), id_))
        assert sorted(fused, key=lambda id_: (-round(fused[id_], 6), id_)) == order
    shard.close()


async def test_dense_search_is_exact(store: EdgeStore) -> None:
    await write_random(store, 500, seed=2)
    known = await store.list_records(NAME, corpus.reader(), after=None, limit=1)
    assert known[0].chunks == 500
    chance = np.random.default_rng(2)
    vectors = {}
    for number in range(500):
        vectors[chunk_id(corpus.doc("a"), number)] = chance.standard_normal(corpus.DIMENSIONS).astype(np.float32)
        chance.choice(40, size=6, replace=False)
        chance.uniform(0.5, 2.0, size=6)
    request = dataclasses.replace(random_question(9), mode="Dense", limit=50)
    assert request.dense is not None
    cosines = {id_: float(vector @ request.dense / np.linalg.norm(vector)) for id_, vector in vectors.items()}
    best = sorted(cosines, key=lambda id_: -cosines[id_])[:50]
    hits = await store.search(NAME, corpus.reader(), request)
    assert [hit.id for hit in hits] == best
    assert [hit.scores.dense for hit in hits] == pytest.approx([cosines[id_] for id_ in best], abs=1e-5)


async def test_a_search_sees_one_version_of_a_document_while_it_is_rewritten(store: EdgeStore) -> None:
    await corpus.put(store, NAME, "a", corpus.texts_of(5), 5)
    done = asyncio.Event()

    async def rewrite() -> None:
        for version in range(6, 40):
            await corpus.put(store, NAME, "a", corpus.texts_of(version), version)
        done.set()

    async def watch() -> int:
        looks = 0
        while not done.is_set():
            found = await seen(store, at_rest=False)
            (version,) = {each[2] for each in found} or {0}
            assert not version or found == chunks_of("a", version, corpus.texts_of(version))
            looks += 1
        return looks

    _, looks = await asyncio.gather(rewrite(), watch())
    assert looks > 3


@pytest.mark.parametrize("name", ["we ird", "a.b", 'q"uote', "x=1", "ключ", "[0]"])
async def test_metadata_of_any_name_can_be_filtered(store: EdgeStore, name: str) -> None:
    await corpus.put(store, NAME, "yes", ["alpha"], metadata={name: "v"})
    await corpus.put(store, NAME, "no", ["alpha"], metadata={name: "w", "other": "v"})
    hits = await store.search(NAME, corpus.reader(filters={name: ("v",)}), corpus.hybrid("alpha"))
    assert [hit.payload.uri for hit in hits] == ["yes"]


async def test_writes_that_fill_several_files_of_the_engines_log_are_kept(quick_path: Path, store: EdgeStore) -> None:
    for number in range(12):
        await corpus.put(store, NAME, f"long-{number}", [f"alpha {part} " + "x" * 200_000 for part in range(40)])
    await store.close()
    again = await EdgeStore.open(quick_path)
    found = await again.describe(NAME)
    assert found is not None
    assert (found.chunks, found.records) == (480, 12)
    await again.close()


async def test_a_log_that_cannot_be_synced_is_not_acknowledged(
    store: EdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StoreError, match="Input/output error"):
            await corpus.put(store, NAME, "a", ["alpha"])
        with pytest.raises(StoreError, match="Input/output error"):
            await store.point_alias("test.kb", NAME)
    assert await store.aliases() == {}
    assert not (await corpus.put(store, NAME, "a", ["alpha"])).superseded


async def test_more_collections_than_may_be_open_can_be_used(store: EdgeStore) -> None:
    names = [f"test.many-{number}" for number in range(MOST_OPEN + 2)]
    for name in names:
        await store.ensure_collection(dataclasses.replace(SPEC, name=name))
        await corpus.put(store, name, "a", [name.replace("-", " ")])
    for name in names:
        (hit,) = await store.search(name, corpus.reader(), corpus.by_meaning("many"))
        assert hit.payload.text == name.replace("-", " ")


@pytest.mark.parametrize("name", ["", "..", "a..b", "a/b", "../a", "A", ".a", "a.", "a" * 200])
async def test_a_name_that_could_lead_elsewhere_is_refused(store: EdgeStore, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot name a collection"):
        await store.ensure_collection(dataclasses.replace(SPEC, name=name))


async def test_an_alias_cannot_have_a_collections_name(store: EdgeStore) -> None:
    await store.ensure_collection(dataclasses.replace(SPEC, name="test.other"))
    with pytest.raises(CollectionMismatch, match="alias"):
        await store.point_alias("test.other", NAME)


async def test_a_closed_store_says_so(store: EdgeStore) -> None:
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="was closed"):
        await store.describe(NAME)


async def test_a_second_opening_is_refused(quick_path: Path, store: EdgeStore) -> None:
    with pytest.raises(DataDirectoryError, match="in use by process"):
        await EdgeStore.open(quick_path)
    assert await store.describe(NAME)


async def test_what_a_crash_left_of_a_new_collection_is_removed(quick_path: Path, store: EdgeStore) -> None:
    await store.close()
    (quick_path / "collections" / "test.half" / "shard").mkdir(parents=True)
    again = await EdgeStore.open(quick_path)
    assert not (quick_path / "collections" / "test.half").exists()
    half = dataclasses.replace(SPEC, name="test.half")
    await again.ensure_collection(half)
    await corpus.put(again, "test.half", "a", ["alpha"])
    await again.close()


@pytest.mark.parametrize("file", ["aliases.json", f"collections/{NAME}/spec.json"])
@pytest.mark.parametrize("content", ["", "[1]", '{"a": 1'])
async def test_damaged_files_are_a_clear_error_and_kept(
    quick_path: Path, store: EdgeStore, file: str, content: str
) -> None:
    await store.point_alias("test.kb", NAME)
    await store.close()
    (quick_path / file).write_text(content)
    with pytest.raises(DataDirectoryError, match="is damaged"):
        again = await EdgeStore.open(quick_path)
        try:
            await again.describe(NAME)
        finally:
            await again.close()
    assert (quick_path / file).read_text() == content


async def test_a_shard_that_cannot_be_read_names_its_collection(quick_path: Path, store: EdgeStore) -> None:
    await store.close()
    (quick_path / "collections" / NAME / "shard" / "edge_config.json").write_text("{")
    again = await EdgeStore.open(quick_path)
    with pytest.raises(StoreError, match=NAME):
        await again.search(NAME, corpus.reader(), corpus.hybrid("alpha"))
    await again.close()


def write_until_killed(path: Path, first: int, seconds: float) -> list[tuple[str, str, int]]:
    """Write documents from another process, kill it, and return what it had begun and done."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), NAME, str(first)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]  # it is at work
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        lines += process.stdout
    return [tuple(json.loads(line)) for line in lines if line.endswith("]\n")]


@pytest.mark.slow
async def test_no_acknowledged_document_is_lost_or_half_visible_after_a_kill(
    quick_path: Path, store: EdgeStore
) -> None:
    await store.close()
    chance = random.Random(3)
    newest: dict[str, int] = {}
    first, killed_amid_a_write = 1, 0
    for _ in range(10):
        events = write_until_killed(quick_path, first, chance.uniform(0.0, 0.1))
        begun = {(uri, version) for what, uri, version in events if what == "begin"}
        done = {(uri, version) for what, uri, version in events if what == "done"}
        again = await EdgeStore.open(quick_path)
        for uri, version in sorted(done, key=lambda each: each[1]):
            record = await corpus.stored(again, NAME, uri)
            assert record is not None
            assert record.version >= version
            newest[uri] = version
        for uri, version in begun - done:  # not committed, so the log delivers it again
            killed_amid_a_write += 1
            assert not (await corpus.put(again, NAME, uri, corpus.texts_of(version), version)).superseded
            newest[uri] = version
        expected = [chunks_of(uri, version, corpus.texts_of(version)) for uri, version in newest.items()]
        assert await seen(again) == set().union(*expected)
        await again.close()
        first = 1 + max(version for _, version in begun)
    assert killed_amid_a_write >= 2
