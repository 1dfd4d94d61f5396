"""The worker: given these messages and this world, that store, those events and those dead letters."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from lectern_contract import ids, names, settings
from lectern_contract.errors import ConfigurationError, DataDirectoryError, DependencyError
from lectern_contract.messages import Deleted, Put
from lectern_contract.names import Topic
from lectern_contract.payload import DocumentRecord
from lectern_contract.scope import Partition, Scope
from lectern_runtime.embed.epoch import epoch_of
from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.prepare import Task, title_of
from lectern_runtime.embed.retry import LONGEST_SECONDS, Retry
from lectern_runtime.embed.worker import BATCH_BYTES, BATCH_DOCUMENTS, Worker, batches
from lectern_runtime.errors import BlobStoreError, LogError, StoreError
from lectern_runtime.ports import Position, Record, SearchRequest, Vectors, WriteResult
from lectern_runtime.sparse import SparseEncoder
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics
from lectern_runtime_tests.pipeline import (
    COLLECTION,
    DELETED,
    FAILED,
    INDEXED,
    InlineParser,
    Pipeline,
    StubEmbedder,
    pipeline,
    reference,
    worker_settings,
)

LONG = "\n\n".join(f"Paragraph {number} of the text says something of its own." for number in range(12))


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(tmp_path) as found:
        await found.worker().ensure()
        yield found


class Wrapped:
    """A port with some of its methods replaced."""

    def __init__(self, real: Any, **replaced: Any) -> None:
        self._real = real
        for name, method in replaced.items():
            setattr(self, name, method)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Failing:
    """Calls that fail `times` times before they work."""

    def __init__(self, method: Any, times: int, error: Exception) -> None:
        self.method, self.left, self.error = method, times, error

    async def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return await self.method(*arguments, **named)


async def test_a_source_is_indexed_and_a_second_pass_does_nothing(pipe: Pipeline) -> None:
    (pipe.source / "a.md").write_text(f"# Title\n\n{LONG}")
    (pipe.source / "b.html").write_text("<title>B</title><p>Some words")
    await pipe.sync()
    await pipe.index()
    records = await pipe.records()
    assert {uri: (each.state, each.title) for uri, each in records.items()} == {
        "public:a.md": (INDEXED, "Title"),
        "public:b.html": (INDEXED, "B"),
    }
    content = await pipe.content()
    assert content["public:b.html"] == ("Some words",)
    assert len(content["public:a.md"]) == records["public:a.md"].chunks > 3
    assert await pipe.events() == [("a.md", "indexed"), ("b.html", "indexed")]
    embedded = len(pipe.embedder.embedded)
    report = await pipe.sync()
    await pipe.index()
    assert (report.published, len(pipe.embedder.embedded)) == (0, embedded)
    assert len(await pipe.events()) == 2


async def test_edits_deletions_and_renames_show_and_old_text_is_gone(pipe: Pipeline) -> None:
    for name in ("a", "b", "c"):
        (pipe.source / f"{name}.md").write_text(f"# {name}\n\n{LONG}\n\nsecret of {name}")
    await pipe.sync()
    await pipe.index()
    (pipe.source / "a.md").write_text("# a\n\nshort now")
    (pipe.source / "b.md").unlink()
    (pipe.source / "c.md").rename(pipe.source / "d.md")
    await pipe.sync()
    await pipe.index()
    content = await pipe.content()
    assert content.keys() == {"public:a.md", "public:d.md"}
    assert content["public:a.md"] == ("# a\n\nshort now",)
    assert "secret of c" in content["public:d.md"][-1]
    states = {uri: each.state for uri, each in (await pipe.records()).items()}
    assert (states["public:b.md"], states["public:c.md"]) == (DELETED, DELETED)


async def test_only_changed_chunks_are_embedded_again(pipe: Pipeline) -> None:
    await pipe.publish(await pipe.put("a.md", f"# T\n\n{LONG}"))
    await pipe.index()
    before = len(pipe.embedder.embedded)
    await pipe.publish(await pipe.put("a.md", f"# T\n\n{LONG}\n\nOne more paragraph at the very end of it."))
    await pipe.index()
    assert len(pipe.embedder.embedded) - before <= 2
    assert pipe.done[-1].embedded <= 2 < pipe.done[-1].chunks
    assert (await pipe.events())[-1] == ("a.md", "updated")


async def test_other_readers_get_the_document_and_the_old_ones_lose_it(pipe: Pipeline) -> None:
    (pipe.source / "hr").mkdir()
    (pipe.source / "hr" / "pay.md").write_text("salaries")
    await pipe.sync()
    await pipe.index()
    rule = settings.PartitionRuleSettings(path_prefix="hr", tenant="acme", access_level="internal")
    await pipe.sync(partition_rules=(rule,))
    await pipe.index()
    assert await pipe.content() == {"internal:hr/pay.md": ("salaries",)}


class Delivering:
    """A log that delivers given records of the documents topic, one a poll, in an order of the test's own."""

    def __init__(self, log: Any, records: Sequence[Record]) -> None:
        self._log, self._waiting = log, list(records)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def subscribe(self, topic: str, *, group: str | None) -> Any:
        consumer = await self._log.subscribe(topic, group=group)
        return Wrapped(consumer, poll=self._poll, commit=self._commit, lag=self._lag)

    async def _poll(self, *, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        await asyncio.sleep(0 if self._waiting else timeout_seconds)
        return [self._waiting.pop(0) for _ in self._waiting[:1]]

    async def _commit(self, _offsets: Mapping[int, int]) -> None:
        """Out of order, a commit means nothing."""

    async def _lag(self) -> int:
        return len(self._waiting)


async def test_every_order_of_delivery_ends_with_the_newest_version(pipe: Pipeline) -> None:
    orders = list(itertools.permutations(range(4)))
    delivered: list[Record] = []
    for number, order in enumerate(orders):
        uri = f"{number}.md"
        first, second = await pipe.put(uri, f"v1 {LONG}"), await pipe.put(uri, "v2 short")
        versions = await pipe.publish(
            first, second, Deleted(document=reference(uri)), await pipe.put(uri, "v3 final words")
        )
        delivered.extend(versions[place] for place in order)
    await pipe.index(log=Delivering(pipe.log, delivered))
    assert await pipe.content() == {f"public:{number}.md": ("v3 final words",) for number in range(len(orders))}
    assert {each.state for each in (await pipe.records()).values()} == {INDEXED}


async def test_every_order_of_delivery_ends_with_a_deletion_that_came_last(pipe: Pipeline) -> None:
    orders = list(itertools.permutations(range(3)))
    delivered: list[Record] = []
    for number, order in enumerate(orders):
        uri = f"{number}.md"
        versions = await pipe.publish(
            await pipe.put(uri, f"v1 {LONG}"), await pipe.put(uri, "v2 short"), Deleted(document=reference(uri))
        )
        delivered.extend(versions[place] for place in order)
    await pipe.index(log=Delivering(pipe.log, delivered))
    assert await pipe.content() == {}
    assert {each.state for each in (await pipe.records()).values()} == {DELETED}


async def test_the_whole_topic_again_changes_nothing_and_embeds_nothing(pipe: Pipeline) -> None:
    for number in range(5):
        await pipe.publish(await pipe.put(f"{number}.md", f"# {number}\n\n{LONG}"))
    await pipe.publish(Deleted(document=reference("3.md")), await pipe.put("bad.md", b"\x00\x01" * 50))
    await pipe.index()
    points, records, embedded = await pipe.points(), await pipe.records(), len(pipe.embedder.embedded)
    letters = await pipe.dead_letters()
    again = Wrapped(pipe.log, subscribe=lambda topic, *, group: pipe.log.subscribe(topic, group=f"{group}-again"))
    await pipe.index(log=again)
    assert (await pipe.points(), await pipe.records(), len(pipe.embedder.embedded)) == (points, records, embedded)
    assert await pipe.dead_letters() == letters
    assert (await pipe.events())[-1] == ("bad.md", "failed")  # a redelivery repeats at most the event


async def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on(pipe: Pipeline) -> None:
    await pipe.publish(await pipe.put("a.md", f"old text {LONG}"), await pipe.put("b.md", "good"))
    await pipe.index()
    await pipe.publish(
        await pipe.put("a.md", b"\x00\x01" * 50),
        await pipe.put("c.md", b"%PDF-1.7 not what it says"),
        await pipe.put("d.md", "good too"),
        Put(document=reference("e.md"), sha256="0" * 64, size=1, media_type="text/plain"),
        await pipe.put("f.bin", b"x", media_type="application/pdf"),
        (await pipe.put("g.md", "x")).model_copy(update={"size": 1 << 21}),
    )
    await pipe.index()
    letters = {body.message.document.uri: body for body in await pipe.dead_letters()}
    assert {uri: (body.stage, body.reason, body.attempts) for uri, body in letters.items()} == {
        "a.md": ("parse", "BinaryContent", 1),
        "c.md": ("parse", "NotWhatItSays", 1),
        "e.md": ("fetch", "BlobMissing", 1),
        "f.bin": ("fetch", "MediaTypeNotAccepted", 1),
        "g.md": ("fetch", "TooLarge", 1),
    }
    assert await pipe.content() == {"public:b.md": ("good",), "public:d.md": ("good too",)}
    record = (await pipe.records())["public:a.md"]
    assert (record.state, record.chunks) == (FAILED, 0)
    assert record.reason.startswith("BinaryContent: it holds control characters")
    assert ("a.md", "failed") in await pipe.events()
    await pipe.publish(await pipe.put("a.md", "good again"))
    await pipe.index()
    assert (await pipe.content())["public:a.md"] == ("good again",)


async def test_a_model_that_is_away_for_a_moment_is_asked_again_when_it_said(pipe: Pipeline) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    away = DependencyError("too many requests", dependency="embedder", retry_after_seconds=7)
    embed = Failing(pipe.embedder.embed, 2, away)
    registry = CollectorRegistry()
    await pipe.publish(await pipe.put("a.md", "text"))
    await pipe.index(embedder=Wrapped(pipe.embedder, embed=embed), sleep=sleep, metrics=WorkerMetrics(registry))
    assert await pipe.content() == {"public:a.md": ("text",)}
    assert [seconds >= 7 for seconds in slept] == [True, True]
    assert registry.get_sample_value("lectern_worker_retries_total", {"dependency": "embedder"}) == 2


async def test_a_model_that_is_away_for_long_is_waited_for_and_nothing_is_given_up(pipe: Pipeline) -> None:
    embed = Failing(pipe.embedder.embed, 50, DependencyError("the model is away", dependency="embedder"))
    for number in range(6):
        await pipe.publish(await pipe.put(f"{number}.md", f"text {number}"))
    await pipe.index(embedder=Wrapped(pipe.embedder, embed=embed))
    assert len(await pipe.content()) == 6
    assert await pipe.dead_letters() == []


async def test_blobs_and_parsers_that_are_away_are_waited_for(pipe: Pipeline) -> None:
    parser = InlineParser()
    blobs = Wrapped(pipe.blobs, get=Failing(pipe.blobs.get, 20, BlobStoreError("the volume is away")))
    parse = Failing(parser.parse, 20, DependencyError("no process could be started", dependency="parser"))
    await pipe.publish(await pipe.put("a.md", "text"))
    await pipe.index(blobs=blobs, parser=Wrapped(parser, parse=parse))
    assert await pipe.content() == {"public:a.md": ("text",)}
    assert await pipe.dead_letters() == []


async def test_a_model_whose_vectors_are_not_of_length_1_can_be_used(pipe: Pipeline) -> None:
    async def embed(texts: Sequence[str]) -> Vectors:
        return np.asarray(7 * await pipe.embedder.embed(texts), np.float32)

    await pipe.publish(await pipe.put("a.md", "text"))
    await pipe.index(embedder=Wrapped(pipe.embedder, embed=embed))
    assert await pipe.content() == {"public:a.md": ("text",)}


async def test_one_text_that_the_model_refuses_costs_only_its_document(pipe: Pipeline) -> None:
    async def embed(texts: Sequence[str]) -> Vectors:
        vectors = await pipe.embedder.embed(texts)
        vectors[[("poison" in text) for text in texts]] = np.nan
        return vectors

    for name in ("a", "poison", "b"):
        await pipe.publish(await pipe.put(f"{name}.md", f"{name} text"))
    await pipe.index(embedder=Wrapped(pipe.embedder, embed=embed))
    assert (await pipe.content()).keys() == {"public:a.md", "public:b.md"}
    (letter,) = await pipe.dead_letters()
    assert (letter.message.document.uri, letter.stage, letter.reason) == ("poison.md", "embed", "DependencyFailed")


async def test_a_model_with_a_smaller_limit_than_it_says_costs_only_the_long_document(pipe: Pipeline) -> None:
    class Liar(StubEmbedder):
        async def info(self) -> Any:
            return await StubEmbedder().info()

    await pipe.publish(await pipe.put("long.md", LONG), await pipe.put("short.md", "short"))
    await pipe.index(embedder=Liar(max_input_tokens=16))
    (letter,) = await pipe.dead_letters()
    assert (letter.message.document.uri, letter.reason) == ("long.md", "InputTooLong")
    assert (await pipe.content()).keys() == {"public:short.md"}


@pytest.mark.parametrize("method", ["write_document", "get_record"])
async def test_a_store_that_is_away_is_waited_for_and_nothing_is_given_up(pipe: Pipeline, method: str) -> None:
    failing = Failing(getattr(pipe.store, method), 50, StoreError("the store is away"))
    await pipe.publish(await pipe.put("a.md", "text"))
    await pipe.index(store=Wrapped(pipe.store, **{method: failing}))
    assert await pipe.content() == {"public:a.md": ("text",)}
    assert await pipe.dead_letters() == []


async def test_a_log_that_is_away_is_waited_for(pipe: Pipeline) -> None:
    publish = Failing(pipe.log.publish, 50, LogError("the broker is away"))
    await pipe.publish(await pipe.put("a.md", "text"), await pipe.put("b.md", b"\x00\x01" * 9))
    await pipe.index(log=Wrapped(pipe.log, publish=publish))
    assert sorted(await pipe.events()) == [("a.md", "indexed"), ("b.md", "failed")]
    assert len(await pipe.dead_letters()) == 1


async def test_messages_that_are_not_ours_are_passed_over_and_committed(pipe: Pipeline, caplog: Any) -> None:
    await pipe.publish_raw("x", b"secret text that is no message")
    foreign = reference("a.md").model_copy(update={"knowledge_base": "other"})
    await pipe.publish(Deleted(document=foreign), await pipe.put("b.md", "text"))
    await pipe.index()
    assert await pipe.content() == {"public:b.md": ("text",)}
    consumer = await pipe.log.subscribe(
        names.topic("ns", "kb", Topic.DOCUMENTS), group=names.consumer_group("ns", "kb", 1)
    )
    assert await consumer.lag() == 0
    assert "MessageInvalid" in caplog.text
    assert "secret" not in caplog.text


async def test_a_defect_of_ours_is_a_dead_letter_and_no_crash_loop(pipe: Pipeline, caplog: Any) -> None:
    class Broken(InlineParser):
        async def parse(self, data: bytes, media_type: str) -> ParsedDocument:
            if b"trip" in data:
                raise IndexError("trip and other secret text")
            return await super().parse(data, media_type)

    await pipe.publish(await pipe.put("a.md", "trip"), await pipe.put("b.md", "fine"))
    await pipe.index(parser=Broken())
    (letter,) = await pipe.dead_letters()
    assert letter.reason == "InternalError"
    assert letter.detail.startswith("IndexError at parse, line ")
    assert "secret" not in caplog.text
    assert await pipe.content() == {"public:b.md": ("fine",)}


async def test_stopped_in_the_middle_it_goes_on_where_it_was(pipe: Pipeline) -> None:
    for number in range(80):
        await pipe.publish(await pipe.put(f"{number:02}.md", f"# {number}\n\n{LONG}"))
    stop = asyncio.Event()

    def progress(_done: Any) -> None:
        stop.set()

    await asyncio.wait_for(pipe.worker(on_progress=progress).run(stop), 30)
    first = len(await pipe.records())
    await pipe.index()
    assert 0 < first < 80
    assert len(await pipe.content()) == 80


async def test_stop_ends_a_worker_that_waits_for_a_store(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lectern_runtime.embed.worker.DRAIN_SECONDS", 0.1)
    away = Failing(pipe.store.write_document, 10**9, StoreError("away"))
    await pipe.publish(await pipe.put("a.md", "text"))
    stop = asyncio.Event()
    worker = pipe.worker(store=Wrapped(pipe.store, write_document=away), sleep=asyncio.sleep)
    running = asyncio.create_task(worker.run(stop))
    while away.left == 10**9:
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(running, 10)
    await pipe.index()
    assert await pipe.content() == {"public:a.md": ("text",)}


async def test_a_waiting_worker_takes_what_comes_and_stops_when_told(pipe: Pipeline) -> None:
    stop, done = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(pipe.worker(on_progress=lambda _: done.set()).run(stop))
    await asyncio.sleep(0.05)
    await pipe.publish(await pipe.put("a.md", "text"))
    await asyncio.wait_for(done.wait(), 10)
    stop.set()
    await asyncio.wait_for(running, 10)
    assert await pipe.content() == {"public:a.md": ("text",)}


async def test_a_topic_made_anew_has_newer_versions(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    await pipe.publish(*[await pipe.put(f"{number}.md", "old") for number in range(3)])
    await pipe.index()

    async def another(_topic: str) -> str:
        return "another"

    monkeypatch.setattr(pipe.log, "topic_id", another)
    await pipe.publish(await pipe.put("0.md", "new"))
    await pipe.index()
    record = (await pipe.records())["public:0.md"]
    assert record.version == ids.version(1, 3)
    assert (await pipe.content())["public:0.md"] == ("new",)


async def test_the_epoch_is_kept_and_only_goes_up(pipe: Pipeline) -> None:
    topics = ("x", "x", "y", "y", "z")
    assert [await epoch_of(topic, pipe.blobs, collection="c") for topic in topics] == [0, 0, 1, 1, 2]
    await pipe.blobs.write_named("epochs/c.json", b"{}")
    with pytest.raises(DataDirectoryError, match="is damaged"):
        await epoch_of("z", pipe.blobs, collection="c")


async def test_another_model_than_the_resource_says_is_refused(pipe: Pipeline) -> None:
    other = worker_settings(embedder=worker_settings().embedder.model_copy(update={"dimensions": 8}))
    with pytest.raises(ConfigurationError, match="dimensions is 8, but stub gives vectors of 16"):
        await pipe.worker(settings=other).ensure()


async def test_a_prefix_without_room_ends_the_worker_and_loses_nothing(pipe: Pipeline) -> None:
    long = worker_settings(embedder=worker_settings().embedder.model_copy(update={"document_prefix": "a " * 62}))
    await pipe.publish(await pipe.put("a.md", "text"))
    with pytest.raises(ConfigurationError, match="documentPrefix"):
        await pipe.index(settings=long)
    await pipe.index()
    assert await pipe.content() == {"public:a.md": ("text",)}


async def test_two_workers_of_two_generations_do_not_meet(pipe: Pipeline) -> None:
    await pipe.publish(await pipe.put("a.md", "text"))
    await pipe.index()
    await pipe.index(settings=worker_settings(generation=2, index_identity="other"))
    described = [await pipe.store.describe(names.collection("ns", "kb", number)) for number in (1, 2)]
    assert [(each.chunks, each.records) for each in described if each is not None] == [(1, 1), (1, 1)]


async def test_a_type_that_no_parser_knows_is_a_dead_letter_although_the_settings_accept_it(pipe: Pipeline) -> None:
    parsing = worker_settings().parsing.model_copy(update={"media_types": ("text/*", "application/x-unheard-of")})
    unheard = await pipe.put("a.pdf", b"x", media_type="application/x-unheard-of")
    await pipe.publish(unheard, await pipe.put("b.md", "text"))
    await pipe.index(settings=worker_settings(parsing=parsing))
    assert [(body.stage, body.reason) for body in await pipe.dead_letters()] == [("parse", "MediaTypeUnknown")]
    assert (await pipe.content()).keys() == {"public:b.md"}


async def test_a_long_document_lets_others_in_this_process_go_on(pipe: Pipeline) -> None:
    text = "\n\n".join(f"Paragraph {number} of a long text that goes on and on." for number in range(6000))
    await pipe.publish(await pipe.put("long.md", text), await pipe.put("short.md", "short"))
    longest, last = 0.0, time.perf_counter()
    done = asyncio.Event()

    async def beat() -> None:
        nonlocal longest, last
        while not done.is_set():
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    beating = asyncio.create_task(beat())
    began = time.perf_counter()
    await pipe.index(parser=None)
    took = time.perf_counter() - began
    done.set()
    await beating
    assert (await pipe.records())["public:long.md"].chunks > 1000
    assert longest < took / 2


async def test_metadata_and_offsets_reach_the_store(pipe: Pipeline) -> None:
    await pipe.publish(await pipe.put("a.md", "# T\n\n## S\n\nwords here", metadata={"team": "x", "year": 2026}))
    await pipe.index()
    scope = Scope.of_writer(Partition("acme", "public"))
    request = SearchRequest("Sparse", None, SparseEncoder("en").query("words"), 5, 5, 60, 1.0)
    (hit,) = await pipe.store.search(COLLECTION, scope, request)
    payload = hit.payload
    assert (payload.metadata, payload.title, payload.section) == ({"team": "x", "year": 2026}, "T", "T")
    assert (payload.text, payload.start, payload.end) == ("# T\n\n## S\n\nwords here", 0, 21)


def record(number: int) -> Record:
    return Record(Position(number % 2, number), str(number), b"", 0)


def task(number: int, size: int) -> Task:
    put = Put(document=reference(str(number)), sha256="0" * 64, size=size, media_type="text/plain")
    return Task(put, Position(number % 2, number), number)


@given(st.lists(st.none() | st.integers(0, 2 * BATCH_BYTES), max_size=100))
def test_batches_keep_order_stay_small_and_commit_everything(sizes: list[int | None]) -> None:
    records = [record(number) for number in range(len(sizes))]
    newest = {str(number): task(number, size) for number, size in enumerate(sizes) if size is not None}
    found = list(batches(newest, records))
    assert [each for batch in found for each in batch.tasks] == list(newest.values())
    for batch in found:
        total = sum(each.message.size for each in batch.tasks if isinstance(each.message, Put))
        assert len(batch.tasks) == 1 or (len(batch.tasks) <= BATCH_DOCUMENTS and total <= BATCH_BYTES)
    done = {
        partition: max(each.position.offset for each in records if each.position.partition == partition) + 1
        for partition in {each.position.partition for each in records}
    }
    assert (found[-1].next_offsets if found else {}) == done
    places = [each.position.offset for batch in found for each in batch.tasks]
    for batch in found:
        for each in batch.tasks:
            assert batch.next_offsets[each.position.partition] > each.position.offset
    assert places == sorted(places)


@given(st.integers(1, 10_000), st.none() | st.floats(0, 1e6))
def test_delays_are_bounded_and_never_shorter_than_asked(attempt: int, asked: float | None) -> None:
    delay = Retry(3, lambda _: None).delay(attempt, asked)
    assert 0 <= delay <= LONGEST_SECONDS + min(asked or 0, 300)
    assert asked is None or delay >= min(asked, 300)


@pytest.mark.parametrize(
    ("given_title", "parsed_title", "uri", "title"),
    [
        ("Said", "Found", "a.md", "Said"),
        ("", "Found", "a.md", "Found"),
        ("", "", "docs/how-to_start.md", "how to start"),
        ("", "", "docs/", "docs"),
        ("", "", ".env", ".env"),
    ],
)
def test_titles(given_title: str, parsed_title: str, uri: str, title: str) -> None:
    put = Put(document=reference(uri), sha256="0" * 64, size=1, media_type="text/plain", title=given_title)
    assert title_of(put, ParsedDocument(parsed_title, "x", ())) == title


def test_a_worker_says_which_topic_group_and_collection_are_its_own(tmp_path: Path) -> None:
    nothing: Any = None
    worker = Worker(worker_settings(), log=nothing, blobs=nothing, store=nothing, embedder=nothing)
    assert worker.topic == names.topic("ns", "kb", Topic.DOCUMENTS)
    assert (worker.group, worker.collection) == (names.consumer_group("ns", "kb", 1), COLLECTION)


async def test_a_document_that_moves_to_other_readers_leaves_the_old_ones_first(pipe: Pipeline) -> None:
    (pipe.source / "a.md").write_text("The boiler room key hangs behind the door.")
    await pipe.sync()
    await pipe.index()
    await pipe.sync(partition=settings.PartitionSettings(tenant="acme", access_level="internal"))
    ended: list[str] = []

    async def write_document(collection: str, scope: Scope, record: DocumentRecord, chunks: Any) -> WriteResult:
        if record.state is DELETED:
            await asyncio.sleep(0.05)
        result = await pipe.store.write_document(collection, scope, record, chunks)
        ended.append(f"{record.access_level} {record.state.value}")
        return result

    await pipe.index(store=Wrapped(pipe.store, write_document=write_document))

    assert ended == ["public Deleted", "internal Indexed"]
    assert list(await pipe.content()) == ["internal:a.md"]
