"""What every `VectorStore` promises about scope: no call sees, counts, weighs or changes anything outside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from lectern_contract.errors import ScopeDenied
from lectern_contract.ids import text_digest
from lectern_contract.scope import Partition, Scope
from lectern_runtime.ports import CollectionInfo, DocumentWrite, SearchRequest, VectorStore
from lectern_runtime_tests.contracts import corpus
from lectern_runtime_tests.contracts.vector_store_contract import NAME, SPEC

OTHER = Partition("rival", "public")
SECRET = Partition("acme", "secret")
TEXTS = ["alpha beta", "alpha", "beta gamma"]
MODES = [corpus.hybrid("alpha beta"), corpus.by_meaning("alpha beta"), corpus.by_terms("alpha beta")]


async def found(store: VectorStore, scope: Scope, request: SearchRequest = MODES[0]) -> set[tuple[str, str, str]]:
    hits = await store.search(NAME, scope, dataclasses.replace(request, limit=100))
    return {(hit.payload.tenant, hit.payload.access_level, hit.payload.uri) for hit in hits}


class VectorScopeContract:
    @pytest.mark.parametrize("request_", MODES, ids=["hybrid", "dense", "sparse"])
    async def test_tenants_with_equal_text_never_see_each_other(
        self, store: VectorStore, request_: SearchRequest
    ) -> None:
        await corpus.put(store, NAME, "same", TEXTS)
        await corpus.put(store, NAME, "same", TEXTS, partition=OTHER)
        assert await found(store, corpus.reader("acme"), request_) == {("acme", "public", "same")}
        assert await found(store, corpus.reader("rival"), request_) == {("rival", "public", "same")}
        assert await found(store, corpus.reader("third"), request_) == set()

    @pytest.mark.parametrize("request_", MODES, ids=["hybrid", "dense", "sparse"])
    async def test_many_better_matches_of_others_do_not_crowd_out_ones_own(
        self, store: VectorStore, request_: SearchRequest
    ) -> None:
        for number in range(80):
            await corpus.put(store, NAME, f"rival-{number}", ["alpha beta"], partition=OTHER)
        await corpus.put(store, NAME, "mine", ["alpha beta gamma delta"])
        narrow = dataclasses.replace(request_, candidates=1, limit=1)
        hits = await store.search(NAME, corpus.reader(), narrow)
        assert [hit.payload.uri for hit in hits] == ["mine"]

    async def test_a_reader_sees_the_levels_that_it_has(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "open", TEXTS)
        await corpus.put(store, NAME, "hidden", TEXTS, partition=SECRET)
        assert await found(store, corpus.reader(levels=["public"])) == {("acme", "public", "open")}
        assert await found(store, corpus.reader(levels=["secret"])) == {("acme", "secret", "hidden")}
        assert await found(store, corpus.reader(levels=["internal"])) == set()
        assert await found(store, corpus.reader(levels=["public", "secret"])) == {
            ("acme", "public", "open"),
            ("acme", "secret", "hidden"),
        }

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"lang": ("de",)}, {"german"}),
            ({"lang": ("de", "en")}, {"german", "english"}),
            ({"lang": ("fr",)}, set()),
            ({"year": (2026,)}, {"german"}),
            ({"year": ("2026",)}, {"english"}),
            ({"draft": (True,)}, {"german"}),
            ({"draft": (False,)}, {"english"}),
            ({"draft": (1,)}, {"number"}),
            ({"lang": ("de",), "draft": (False,)}, set()),
            ({"lang": ("de", 1)}, {"german", "number"}),
            ({"absent": ("",)}, set()),
            ({"lang": ()}, set()),
        ],
    )
    @pytest.mark.parametrize("request_", MODES, ids=["hybrid", "dense", "sparse"])
    async def test_filters_narrow_by_metadata_and_an_absent_field_never_matches(
        self,
        store: VectorStore,
        request_: SearchRequest,
        values: dict[str, tuple[str | int | bool, ...]],
        expected: set[str],
    ) -> None:
        await corpus.put(store, NAME, "german", TEXTS, metadata={"lang": "de", "year": 2026, "draft": True})
        await corpus.put(store, NAME, "english", TEXTS, metadata={"lang": "en", "year": "2026", "draft": False})
        await corpus.put(store, NAME, "number", TEXTS, metadata={"draft": 1, "lang": 1})
        await corpus.put(store, NAME, "plain", TEXTS)
        assert {uri for _, _, uri in await found(store, corpus.reader(filters=values), request_)} == expected

    @pytest.mark.parametrize("request_", [MODES[0], MODES[2]], ids=["hybrid", "sparse"])
    async def test_scores_do_not_tell_what_others_have(self, store: VectorStore, request_: SearchRequest) -> None:
        await corpus.put(store, NAME, "mine", TEXTS)
        before = await store.search(NAME, corpus.reader(), request_)
        for number in range(40):
            await corpus.put(store, NAME, f"rival-{number}", ["alpha", "omega"], partition=OTHER)
            await corpus.put(store, NAME, f"secret-{number}", ["beta", "omega"], partition=SECRET)
        assert await store.search(NAME, corpus.reader(levels=["public"]), request_) == before

    async def test_term_rarity_follows_ones_own_corpus(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "mine", TEXTS)
        (before, *_) = await store.search(NAME, corpus.reader(), corpus.by_terms("gamma"))
        for number in range(20):
            await corpus.put(store, NAME, f"mine-{number}", ["delta"])
        (after, *_) = await store.search(NAME, corpus.reader(), corpus.by_terms("gamma"))
        assert (after.scores.sparse or 0) > (before.scores.sparse or 0) > 0

    async def test_document_records_do_not_count_as_corpus(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "mine", TEXTS)
        before = await store.search(NAME, corpus.reader(), corpus.by_terms("gamma"))
        for number in range(20):
            await corpus.delete(store, NAME, f"gone-{number}", 1)
        assert await store.search(NAME, corpus.reader(), corpus.by_terms("gamma")) == before

    async def test_records_and_vectors_of_others_are_not_there(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "mine", ["alpha"])
        mine = corpus.doc("mine")
        for stranger in (corpus.writer(OTHER), corpus.writer(SECRET), corpus.reader("rival")):
            assert await store.get_records(NAME, stranger, [mine]) == {}
            assert await store.known_vectors(NAME, stranger, mine) == {}
            assert list(await store.list_records(NAME, stranger, after=None, limit=10)) == []
        assert set(await store.known_vectors(NAME, corpus.writer(), mine)) == {text_digest("alpha")}

    async def test_listing_goes_on_over_the_records_of_others(self, store: VectorStore) -> None:
        for number in range(12):
            for partition in (corpus.PARTITION, OTHER):
                await corpus.put(store, NAME, f"doc-{number}", ["alpha"], partition=partition)
        listed: list[str] = []
        after = None
        while page := await store.list_records(NAME, corpus.reader(), after=after, limit=5):
            assert len(listed) < 12, "a page came again"
            assert {record.tenant for record in page} == {"acme"}
            listed += [record.document_id for record in page]
            after = page[-1].document_id
        assert listed == sorted(corpus.doc(f"doc-{number}") for number in range(12))

    @pytest.mark.parametrize("partition", [OTHER, SECRET, Partition("acme", "internal")])
    async def test_a_writer_cannot_write_outside_its_partition(self, store: VectorStore, partition: Partition) -> None:
        foreign = corpus.chunk("a", 0, "alpha", 1, partition=partition)
        record = corpus.record("a", 1, partition=partition, chunks=1)
        with pytest.raises(ScopeDenied):
            await store.write_documents(NAME, corpus.writer(), [DocumentWrite(record, [foreign])])
        own = corpus.record("a", 1, chunks=1)
        with pytest.raises(ScopeDenied):
            await store.write_documents(NAME, corpus.writer(), [DocumentWrite(own, [foreign])])
        assert await store.describe(NAME) == CollectionInfo(SPEC, 0, 0)

    async def test_a_scope_of_several_levels_cannot_write(self, store: VectorStore) -> None:
        with pytest.raises(ScopeDenied, match="exactly one"):
            await store.write_documents(NAME, corpus.reader(), [DocumentWrite(corpus.record("a", 1), [])])
        assert await store.describe(NAME) == CollectionInfo(SPEC, 0, 0)

    async def test_the_same_uri_in_two_partitions_is_two_documents(self, store: VectorStore) -> None:
        partitions: Sequence[Partition] = (corpus.PARTITION, OTHER, SECRET)
        for version, partition in enumerate(partitions, start=1):
            await corpus.put(store, NAME, "same", TEXTS, version, partition=partition)
        await corpus.delete(store, NAME, "same", 9)
        assert await found(store, corpus.reader("rival")) == {("rival", "public", "same")}
        assert await found(store, corpus.reader("acme")) == {("acme", "secret", "same")}
