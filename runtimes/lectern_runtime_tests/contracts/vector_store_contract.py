"""What every `VectorStore` promises: collections, aliases, search, catalogue.

Scope and versions have suites of their own beside this one. A test module derives from all three and gives them
`make_store`, which opens the same storage at every call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from lectern_contract.errors import DependencyError
from lectern_contract.ids import text_digest
from lectern_contract.payload import DocumentState
from lectern_runtime.errors import CollectionMismatch, CollectionUnknown, StoreError, VectorInvalid
from lectern_runtime.ports import (
    CollectionInfo,
    CollectionSpec,
    DocumentWrite,
    Scores,
    SearchRequest,
    SparseVector,
    VectorStore,
)
from lectern_runtime_tests.contracts import corpus

MakeStore = Callable[[], Awaitable[VectorStore]]
SPEC = CollectionSpec("test.kb-g1", corpus.DIMENSIONS, True, "identity-1")
NAME = SPEC.name
NEXT = dataclasses.replace(SPEC, name="test.kb-g2", identity="identity-2")
DENSE_ONLY = dataclasses.replace(SPEC, name="test.dense-g1", sparse=False)


class VectorStoreContract:
    @pytest.fixture
    async def store(self, make_store: MakeStore) -> AsyncIterator[VectorStore]:
        store = await make_store()
        for spec in (SPEC, NEXT, DENSE_ONLY):
            await store.drop_collection(spec.name)
        await store.ensure_collection(SPEC)
        yield store
        await store.close()

    # ------------------------------------------------------------------------------- collections

    async def test_a_collection_is_described_by_its_spec_and_counts(self, store: VectorStore) -> None:
        assert await store.describe(NAME) == CollectionInfo(SPEC, 0, 0)
        await corpus.put(store, NAME, "a", ["alpha", "beta"])
        await corpus.delete(store, NAME, "b", 1)
        assert await store.describe(NAME) == CollectionInfo(SPEC, 2, 2)
        assert await store.describe("test.none") is None

    async def test_ensuring_again_keeps_the_content(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "a", ["alpha"])
        await store.ensure_collection(SPEC)
        assert await store.describe(NAME) == CollectionInfo(SPEC, 1, 1)

    @pytest.mark.parametrize("change", [{"dimensions": 8}, {"sparse": False}, {"identity": "other"}])
    async def test_a_collection_for_something_else_is_refused(
        self, store: VectorStore, change: dict[str, object]
    ) -> None:
        with pytest.raises(CollectionMismatch, match=NAME):
            await store.ensure_collection(dataclasses.replace(SPEC, **change))  # type: ignore[arg-type] # a table
        assert await store.describe(NAME) == CollectionInfo(SPEC, 0, 0)

    async def test_dropping_removes_content_and_aliases(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "a", ["alpha"])
        await store.point_alias("test.kb", NAME)
        await store.drop_collection(NAME)
        await store.drop_collection(NAME)
        assert await store.describe(NAME) is None
        assert await store.resolve_alias("test.kb") is None
        await store.ensure_collection(SPEC)
        assert await store.describe(NAME) == CollectionInfo(SPEC, 0, 0)

    async def test_an_unknown_collection_is_a_clear_error_in_every_call(self, store: VectorStore) -> None:
        document, scope, name = corpus.doc("a"), corpus.writer(), "test.unknown"
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.search(name, scope, corpus.hybrid("alpha")),
            lambda: store.get_records(name, scope, [document]),
            lambda: store.known_vectors(name, scope, document),
            lambda: store.write_documents(name, scope, [DocumentWrite(corpus.record("a", 1))]),
            lambda: store.list_records(name, scope, after=None, limit=1),
            lambda: store.count_documents(name),
            lambda: store.point_alias("test.kb", name),
        ]
        for call in calls:
            with pytest.raises(CollectionUnknown, match=r"test\.unknown") as caught:
                await call()
            assert isinstance(caught.value, StoreError | DependencyError)

    async def test_everything_is_there_after_reopening(self, store: VectorStore, make_store: MakeStore) -> None:
        await corpus.put(store, NAME, "a", ["alpha", "beta"], metadata={"lang": "en"})
        await store.point_alias("test.kb", NAME)
        before = await store.search("test.kb", corpus.reader(), corpus.hybrid("alpha"))
        await store.close()
        again = await make_store()
        try:
            assert await again.describe(NAME) == CollectionInfo(SPEC, 2, 1)
            assert await again.aliases() == {"test.kb": NAME}
            assert await again.search("test.kb", corpus.reader(), corpus.hybrid("alpha")) == before
            assert await corpus.stored(again, NAME, "a") == corpus.record("a", 1, chunks=2)
        finally:
            await again.close()

    # ----------------------------------------------------------------------------------- aliases

    async def test_an_alias_switches_from_one_generation_to_the_next(self, store: VectorStore) -> None:
        await store.ensure_collection(NEXT)
        await corpus.put(store, NAME, "a", ["alpha old"])
        await corpus.put(store, NEXT.name, "a", ["alpha new"])
        found = []
        for name in (NAME, NEXT.name, NAME):
            await store.point_alias("test.kb", name)
            assert await store.resolve_alias("test.kb") == name
            assert await store.aliases() == {"test.kb": name}
            found += [
                hit.payload.text for hit in await store.search("test.kb", corpus.reader(), corpus.hybrid("alpha"))
            ]
        assert found == ["alpha old", "alpha new", "alpha old"]

    async def test_an_alias_that_was_never_pointed_stands_for_nothing(self, store: VectorStore) -> None:
        assert await store.resolve_alias("test.other") is None
        assert await store.aliases() == {}

    # ------------------------------------------------------------------------------------ search

    @pytest.mark.parametrize("request_", [corpus.hybrid("x"), corpus.by_meaning("x"), corpus.by_terms("x")])
    async def test_an_empty_collection_gives_no_hits(self, store: VectorStore, request_: SearchRequest) -> None:
        assert list(await store.search(NAME, corpus.reader(), request_)) == []

    async def test_a_hit_carries_its_whole_payload(self, store: VectorStore) -> None:
        written = corpus.chunk("a", 0, "alpha", 7, metadata={"lang": "de", "year": 2026, "draft": False})
        await corpus.write(store, NAME, corpus.record("a", 7, chunks=1), [written])
        (hit,) = await store.search(NAME, corpus.reader(), corpus.hybrid("alpha"))
        assert (hit.id, hit.payload) == (written.id, written.payload)

    async def test_dense_scores_are_cosines_and_fall(self, store: VectorStore) -> None:
        texts = ["alpha", "alpha beta", "beta gamma"]
        await corpus.put(store, NAME, "a", texts)
        hits = await store.search(NAME, corpus.reader(), corpus.by_meaning("alpha"))
        assert [hit.payload.text for hit in hits] == texts
        expected = [float(corpus.dense(text) @ corpus.dense("alpha")) for text in texts]
        assert [hit.scores.dense for hit in hits] == pytest.approx(expected, abs=1e-5)
        assert all(hit.scores == Scores(dense=hit.scores.dense) for hit in hits)

    async def test_sparse_scores_are_positive_and_rare_terms_weigh_more(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "a", ["common rare", "common", "common", "other"])
        hits = await store.search(NAME, corpus.reader(), corpus.by_terms("common rare"))
        assert hits[0].payload.number == 0
        assert {hit.payload.text for hit in hits} == {"common rare", "common"}
        scores = [hit.scores.sparse or 0.0 for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] > 2 * scores[1] > 0
        assert all(hit.scores == Scores(sparse=hit.scores.sparse) for hit in hits)

    async def test_terms_that_no_chunk_has_find_nothing(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "a", ["alpha"])
        assert list(await store.search(NAME, corpus.reader(), corpus.by_terms("omega"))) == []
        nothing = dataclasses.replace(corpus.by_terms("x"), sparse=SparseVector((), ()))
        assert list(await store.search(NAME, corpus.reader(), nothing)) == []

    async def test_hybrid_scores_are_the_fused_ranks_of_both_lists(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "a", ["alpha beta", "alpha", "gamma delta", "alpha beta gamma"])
        scope = corpus.reader()
        asked = corpus.hybrid("alpha beta", candidates=3, rrf_k=2, weight=1.5)
        hits = await store.search(NAME, scope, asked)
        lists = [
            await store.search(NAME, scope, corpus.by_meaning("alpha beta", limit=3)),
            await store.search(NAME, scope, corpus.by_terms("alpha beta", limit=3)),
        ]
        expected: dict[str, float] = {}
        for found, weight in zip(lists, (1.0, 1.5), strict=True):
            for rank, hit in enumerate(found):
                expected[hit.id] = expected.get(hit.id, 0.0) + 1 / ((rank + 1) / weight + 2 - 1)
        assert {hit.id: hit.scores.fused for hit in hits} == pytest.approx(expected)
        assert [hit.id for hit in hits] == sorted(expected, key=lambda id_: (-expected[id_], id_))
        dense = {hit.id: hit.scores.dense for hit in lists[0]}
        sparse = {hit.id: hit.scores.sparse for hit in lists[1]}
        assert {hit.id: hit.scores.dense for hit in hits} == {hit.id: dense.get(hit.id) for hit in hits}
        assert {hit.id: hit.scores.sparse for hit in hits} == {hit.id: sparse.get(hit.id) for hit in hits}

    async def test_a_chunk_of_one_list_only_has_no_score_of_the_other(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "a", ["alpha", "omega"])
        hits = await store.search(NAME, corpus.reader(), corpus.hybrid("alpha"))
        by_text = {hit.payload.text: hit.scores for hit in hits}
        assert by_text["omega"].sparse is None
        assert by_text["omega"].dense == pytest.approx(float(corpus.dense("alpha") @ corpus.dense("omega")), abs=1e-5)
        assert (by_text["alpha"].sparse or 0) > 0

    async def test_candidates_bound_the_lists_and_limit_the_answer(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "a", ["alpha", "alpha beta", "alpha beta gamma", "alpha gamma"])
        scope = corpus.reader()
        assert len(await store.search(NAME, scope, corpus.hybrid("alpha", limit=2))) == 2
        assert len(await store.search(NAME, scope, corpus.by_meaning("alpha", limit=3))) == 3
        narrow = await store.search(NAME, scope, corpus.hybrid("beta gamma", candidates=1))
        lists = [
            await store.search(NAME, scope, ask("beta gamma", limit=1)) for ask in (corpus.by_meaning, corpus.by_terms)
        ]
        assert {hit.id for hit in narrow} == {hit.id for found in lists for hit in found}

    @pytest.mark.parametrize("mode", ["hybrid", "by_meaning", "by_terms"])
    async def test_equal_scores_come_in_order_of_chunk_id(self, store: VectorStore, mode: str) -> None:
        for number in range(60):
            await corpus.put(store, NAME, f"copy-{number}", ["alpha beta"])
        await corpus.put(store, NAME, "best", ["alpha"])
        expected = sorted(str(corpus.chunk(f"copy-{number}", 0, "alpha beta", 1).id) for number in range(60))
        best = str(corpus.chunk("best", 0, "alpha", 1).id)
        asked = (
            corpus.hybrid("alpha", limit=5, candidates=5)
            if mode == "hybrid"
            else getattr(corpus, mode)("alpha", limit=5)
        )
        for _ in range(3):
            hits = await store.search(NAME, corpus.reader(), asked)
            without_best = [str(hit.id) for hit in hits if hit.id != best]
            assert without_best == expected[: len(without_best)]
            assert len(without_best) >= 4

    async def test_a_search_without_the_vector_that_its_mode_needs_is_refused(self, store: VectorStore) -> None:
        await store.ensure_collection(DENSE_ONLY)
        scope = corpus.reader()
        for broken in (
            dataclasses.replace(corpus.hybrid("alpha"), dense=None),
            dataclasses.replace(corpus.hybrid("alpha"), sparse=None),
            dataclasses.replace(corpus.by_meaning("alpha"), dense=None),
            dataclasses.replace(corpus.by_terms("alpha"), sparse=None),
            dataclasses.replace(corpus.by_terms("alpha"), limit=0),
            dataclasses.replace(corpus.hybrid("alpha"), rrf_k=0),
            dataclasses.replace(corpus.hybrid("alpha"), sparse_weight=0.0),
        ):
            with pytest.raises(StoreError):
                await store.search(NAME, scope, broken)
        with pytest.raises(StoreError, match="Dense"):
            await store.search(DENSE_ONLY.name, scope, corpus.hybrid("alpha"))

    async def test_a_collection_without_term_weights_answers_by_meaning(self, store: VectorStore) -> None:
        await store.ensure_collection(DENSE_ONLY)
        written = corpus.chunk("a", 0, "alpha", 1, with_sparse=False)
        await corpus.write(store, DENSE_ONLY.name, corpus.record("a", 1, chunks=1), [written])
        hits = await store.search(DENSE_ONLY.name, corpus.reader(), corpus.by_meaning("alpha"))
        assert [hit.id for hit in hits] == [written.id]

    # ------------------------------------------------------------------------------- bad vectors

    @pytest.mark.parametrize(
        "vector",
        [
            np.full(corpus.DIMENSIONS, np.nan, np.float32),
            np.array([np.inf] + [0.0] * (corpus.DIMENSIONS - 1), np.float32),
            np.zeros(corpus.DIMENSIONS, np.float32),
            np.ones(corpus.DIMENSIONS, np.float32),
            np.ones(1, np.float32),
            np.eye(corpus.DIMENSIONS, dtype=np.float32),
        ],
        ids=["nan", "infinite", "zero", "not-normalised", "too-short", "two-axes"],
    )
    async def test_a_dense_vector_that_cannot_be_compared_is_refused(
        self, store: VectorStore, vector: NDArray[np.float32]
    ) -> None:
        good = corpus.chunk("a", 0, "alpha", 1)
        bad = corpus.chunk("a", 1, "beta", 1, vector=vector)
        with pytest.raises(VectorInvalid, match=str(bad.id)):
            await corpus.write(store, NAME, corpus.record("a", 1, chunks=2), [good, bad])
        assert await store.describe(NAME) == CollectionInfo(SPEC, 0, 0)
        with pytest.raises(VectorInvalid, match="question"):
            await store.search(NAME, corpus.reader(), dataclasses.replace(corpus.by_meaning("a"), dense=vector))

    @pytest.mark.parametrize(
        "vector",
        [
            None,
            SparseVector((1, 1), (1.0, 2.0)),
            SparseVector((1, 2), (1.0,)),
            SparseVector((1,), (float("nan"),)),
            SparseVector((-1,), (1.0,)),
            SparseVector((1 << 32,), (1.0,)),
        ],
        ids=["none", "same-term-twice", "lengths-differ", "nan", "negative-term", "term-too-large"],
    )
    async def test_term_weights_that_cannot_be_stored_are_refused(
        self, store: VectorStore, vector: SparseVector | None
    ) -> None:
        bad = dataclasses.replace(corpus.chunk("a", 0, "alpha", 1), sparse=vector)
        with pytest.raises(VectorInvalid, match=str(bad.id)):
            await corpus.write(store, NAME, corpus.record("a", 1, chunks=1), [bad])
        assert await store.describe(NAME) == CollectionInfo(SPEC, 0, 0)

    # --------------------------------------------------------------------------------- catalogue

    async def test_known_vectors_are_those_of_the_stored_version(self, store: VectorStore) -> None:
        assert await store.known_vectors(NAME, corpus.writer(), corpus.doc("a")) == {}
        await corpus.put(store, NAME, "a", ["alpha", "beta gamma"], 1)
        await corpus.put(store, NAME, "a", ["beta gamma", "delta"], 2)
        await corpus.put(store, NAME, "b", ["omega"], 1)
        known = await store.known_vectors(NAME, corpus.writer(), corpus.doc("a"))
        assert set(known) == {text_digest("beta gamma"), text_digest("delta")}
        for text in ("beta gamma", "delta"):
            vector = known[text_digest(text)]
            assert vector.shape == (corpus.DIMENSIONS,)
            assert vector.dtype == np.float32
            assert vector == pytest.approx(corpus.dense(text), abs=1e-6)

    async def test_documents_are_counted_by_state(self, store: VectorStore) -> None:
        assert sum((await store.count_documents(NAME)).values()) == 0
        for uri in "abc":
            await corpus.put(store, NAME, uri, ["alpha"])
        await corpus.delete(store, NAME, "c", 2)
        await corpus.write(store, NAME, corpus.record("d", 1, state=DocumentState.FAILED), [])
        counts = await store.count_documents(NAME)
        assert {state: counts.get(state, 0) for state in DocumentState} == {
            DocumentState.INDEXED: 2,
            DocumentState.DELETED: 1,
            DocumentState.FAILED: 1,
        }

    async def test_records_are_listed_page_by_page_in_order_of_id(self, store: VectorStore) -> None:
        for number in range(7):
            await corpus.put(store, NAME, f"doc-{number}", ["alpha"])
        expected = sorted(corpus.doc(f"doc-{number}") for number in range(7))
        listed: list[str] = []
        after = None
        while page := await store.list_records(NAME, corpus.reader(), after=after, limit=3):
            assert len(listed) < len(expected), "a page came again"
            assert len(page) <= 3
            listed += [record.document_id for record in page]
            after = page[-1].document_id
        assert listed == expected
