"""What every `VectorStore` promises about versions: whatever the order of delivery, the newest is shown, and whole."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lectern_contract.ids import version
from lectern_contract.payload import DocumentState
from lectern_runtime.errors import StoreError
from lectern_runtime.ports import CollectionInfo, DocumentWrite, VectorStore, WriteResult
from lectern_runtime_tests.contracts import corpus
from lectern_runtime_tests.contracts.vector_store_contract import NAME, SPEC

Seen = set[tuple[str, int, int, str]]


async def seen(store: VectorStore, uris: Sequence[str] | None = None, *, at_rest: bool = True) -> Seen:
    """What a reader of all levels finds: uri, number, version, text of each chunk; at rest nothing else is stored."""
    request = dataclasses.replace(corpus.by_meaning("alpha"), limit=1000)
    hits = await store.search(NAME, corpus.reader(), request)
    assert len(hits) == len({hit.id for hit in hits})
    if at_rest:
        info = await store.describe(NAME)
        assert info is not None
        assert info.chunks == len(hits), "the store holds chunks that a search does not show"
    found = {(hit.payload.uri, hit.payload.number, hit.payload.version, hit.payload.text) for hit in hits}
    return {each for each in found if uris is None or each[0] in uris}


def chunks_of(uri: str, version: int, texts: Sequence[str]) -> Seen:
    return {(uri, number, version, text) for number, text in enumerate(texts)}


@dataclasses.dataclass(frozen=True)
class Write:
    """One version of a document as a worker writes it; no texts means that it was deleted."""

    version: int
    texts: tuple[str, ...]

    async def to(self, store: VectorStore, uri: str) -> WriteResult:
        if self.texts:
            return await corpus.put(store, NAME, uri, self.texts, self.version)
        return await corpus.delete(store, NAME, uri, self.version)


class VectorVersionContract:
    async def test_a_newer_shorter_version_leaves_no_tail(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "a", ["alpha one", "alpha two", "alpha three"], 1)
        assert await corpus.put(store, NAME, "a", ["alpha four"], 2) == WriteResult(superseded=False)
        assert await seen(store) == chunks_of("a", 2, ["alpha four"])

    async def test_a_late_older_write_changes_nothing(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "a", ["alpha new"], 2)
        assert await corpus.put(store, NAME, "a", ["x", "y", "z"], 1) == WriteResult(superseded=True)
        assert await seen(store) == chunks_of("a", 2, ["alpha new"])
        assert await corpus.stored(store, NAME, "a") == corpus.record("a", 2, chunks=1)

    async def test_a_late_write_after_the_delete_stays_deleted(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "a", ["alpha"], 1)
        await corpus.delete(store, NAME, "a", 3)
        assert await corpus.put(store, NAME, "a", ["alpha", "beta"], 2) == WriteResult(superseded=True)
        assert await seen(store) == set()
        gone = corpus.record("a", 3, state=DocumentState.DELETED)
        assert await corpus.stored(store, NAME, "a") == gone

    async def test_redelivery_of_the_same_version_changes_nothing(self, store: VectorStore) -> None:
        for _ in range(3):
            assert await corpus.put(store, NAME, "a", ["alpha", "beta"], 1) == WriteResult(superseded=False)
            assert await seen(store) == chunks_of("a", 1, ["alpha", "beta"])
            assert await store.describe(NAME) == CollectionInfo(SPEC, 2, 1)

    async def test_a_failed_version_has_a_record_and_no_chunks(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "a", ["alpha"], 1)
        failed = corpus.record("a", 2, state=DocumentState.FAILED).model_copy(update={"reason": "encrypted"})
        assert await corpus.write(store, NAME, failed) == WriteResult(superseded=False)
        assert await seen(store) == set()
        assert await corpus.stored(store, NAME, "a") == failed

    async def test_versions_of_later_epochs_are_compared_exactly(self, store: VectorStore) -> None:
        older, newer = version(511, 4), version(511, 5)
        await corpus.put(store, NAME, "a", ["alpha new"], newer)
        assert await corpus.put(store, NAME, "a", ["alpha old"], older) == WriteResult(superseded=True)
        await corpus.put(store, NAME, "b", ["beta old"], older)
        assert await corpus.put(store, NAME, "b", ["beta new"], newer) == WriteResult(superseded=False)
        assert await seen(store) == {("a", 0, newer, "alpha new"), ("b", 0, newer, "beta new")}

    async def test_every_order_of_delivery_ends_the_same(self, store: VectorStore) -> None:
        writes = (Write(1, ("one", "two", "three")), Write(2, ("four",)), Write(3, ()), Write(4, ("five", "six")))
        for subset in (writes[:3], writes):
            for number, order in enumerate(itertools.permutations(subset)):
                uri = f"{len(subset)}-{number}"
                newest = 0
                for write in order:
                    result = await write.to(store, uri)
                    assert result == WriteResult(superseded=write.version < newest), order
                    newest = max(newest, write.version)
                last = subset[-1]
                assert await seen(store, [uri]) == chunks_of(uri, last.version, last.texts), order

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        histories=st.lists(
            st.tuples(st.sampled_from("ab"), st.integers(1, 6)),
            min_size=1,
            max_size=12,
        ),
        texts=st.lists(st.lists(st.sampled_from(["alpha", "beta", "gamma"]), max_size=4), min_size=6, max_size=6),
    )
    async def test_any_history_of_writes_agrees_with_a_map_of_newest_versions(
        self, store: VectorStore, histories: list[tuple[str, int]], texts: list[list[str]]
    ) -> None:
        await store.drop_collection(NAME)
        await store.ensure_collection(SPEC)
        newest: dict[str, Write] = {}
        for uri, number in histories:
            write = Write(number, tuple(texts[number - 1]))
            result = await write.to(store, uri)
            assert result.superseded == (uri in newest and newest[uri].version > number)
            if uri not in newest or newest[uri].version < number:
                newest[uri] = write
        expected = [chunks_of(uri, write.version, write.texts) for uri, write in newest.items()]
        assert await seen(store) == set().union(*expected)
        records = await store.list_records(NAME, corpus.reader(), after=None, limit=10)
        assert {record.uri: record.version for record in records} == {u: w.version for u, w in newest.items()}

    async def test_a_write_that_contradicts_itself_is_refused(self, store: VectorStore) -> None:
        scope, one = corpus.writer(), corpus.chunk("a", 0, "alpha", 1)
        for record, chunks in (
            (corpus.record("a", 1, state=DocumentState.DELETED), [one]),
            (corpus.record("a", 2, chunks=1), [one]),
            (corpus.record("b", 1, chunks=1), [one]),
            (corpus.record("a", 1, chunks=2), [one, one]),
        ):
            with pytest.raises(StoreError):
                await store.write_documents(NAME, scope, [DocumentWrite(record, chunks)])
        with pytest.raises(StoreError, match="one document"):
            await store.write_documents(NAME, scope, [DocumentWrite(corpus.record("a", each)) for each in (1, 2)])
        assert await store.describe(NAME) == CollectionInfo(SPEC, 0, 0)

    async def test_writes_of_one_call_are_judged_one_by_one(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "a", ["alpha new"], 3)
        await corpus.put(store, NAME, "b", ["beta one", "beta two"], 1)
        writes = [
            DocumentWrite(corpus.record("a", 2, chunks=2), [corpus.chunk("a", each, "late", 2) for each in range(2)]),
            DocumentWrite(corpus.record("b", 2, chunks=1), [corpus.chunk("b", 0, "beta new", 2)]),
            DocumentWrite(corpus.record("c", 1, state=DocumentState.DELETED)),
            DocumentWrite(corpus.record("d", 1, chunks=1), [corpus.chunk("d", 0, "delta", 1)]),
        ]
        for _ in range(2):
            results = await store.write_documents(NAME, corpus.writer(), writes)
            assert [each.superseded for each in results] == [True, False, False, False]
            assert await seen(store, ["a", "b", "c", "d"]) == {
                ("a", 0, 3, "alpha new"),
                ("b", 0, 2, "beta new"),
                ("d", 0, 1, "delta"),
            }
        found = await store.get_records(NAME, corpus.writer(), [corpus.doc(each) for each in "abcde"])
        assert {record.uri: record.version for record in found.values()} == {"a": 3, "b": 2, "c": 1, "d": 1}
        assert await store.describe(NAME) == CollectionInfo(SPEC, 3, 4)
        assert await store.get_records(NAME, corpus.writer(), []) == {}

    async def test_a_long_document_is_written_and_replaced_whole(self, store: VectorStore) -> None:
        await corpus.put(store, NAME, "a", [f"alpha {number}" for number in range(600)], 1)
        assert await store.describe(NAME) == CollectionInfo(SPEC, 600, 1)
        await corpus.put(store, NAME, "a", [f"beta {number}" for number in range(550)], 2)
        assert await store.describe(NAME) == CollectionInfo(SPEC, 550, 1)
        assert {each[2] for each in await seen(store)} == {2}


class Died(Exception):
    """A writer is no more."""


class DiesBeforeItReads:
    """A failpoint that ends a write, once it is armed, where it would look whether it came too late."""

    def __init__(self) -> None:
        self.armed = False

    def __call__(self, name: str) -> None:
        if self.armed and name == "read-back":
            raise Died(name)


async def hides_and_removes_what_came_late(store: VectorStore, died: DiesBeforeItReads) -> None:
    """Check a store that `died` was handed to: what a dead writer left is never found, and removed when asked for."""
    await corpus.put(store, NAME, "a", ["alpha one", "alpha two", "alpha three"], 1)
    await corpus.delete(store, NAME, "a", 3)
    await corpus.put(store, NAME, "b", ["alpha b"], 3)
    await corpus.put(store, NAME, "c", ["alpha c"], 4)
    died.armed = True
    for uri in ("a", "b"):
        with pytest.raises(Died):
            await corpus.put(store, NAME, uri, ["alpha late", "alpha later"], 2)
    info = await store.describe(NAME)
    assert info is not None
    assert info.chunks == 2 + 2 + 1, "two of a, one of b beside its own, and c"
    assert await seen(store, at_rest=False) == chunks_of("b", 3, ["alpha b"]) | chunks_of("c", 4, ["alpha c"])
    for _ in range(2):
        await store.remove_outdated(NAME, corpus.writer(), [corpus.doc(uri) for uri in ("a", "b", "c", "unknown")])
        assert await seen(store) == chunks_of("b", 3, ["alpha b"]) | chunks_of("c", 4, ["alpha c"])
    await store.remove_outdated(NAME, corpus.writer(), [])
