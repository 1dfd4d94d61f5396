"""The worker: given these messages and this world, that store, those events and those dead letters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lectern_contract import names, settings
from lectern_contract.messages import Deleted, Put
from lectern_contract.names import Topic
from lectern_contract.scope import Partition, Scope
from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.prepare import title_of
from lectern_runtime.embed.worker import Worker
from lectern_runtime.ports import DocumentWrite, SearchRequest, Vectors, WriteResult
from lectern_runtime.sparse import SparseEncoder
from lectern_runtime_tests.embed.worker_world import LONG, Wrapped
from lectern_runtime_tests.pipeline import (
    COLLECTION,
    DELETED,
    FAILED,
    INDEXED,
    InlineParser,
    Pipeline,
    reference,
    worker_settings,
)


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


async def test_a_model_whose_vectors_are_not_of_length_1_can_be_used(pipe: Pipeline) -> None:
    async def embed(texts: Sequence[str]) -> Vectors:
        return np.asarray(7 * await pipe.embedder.embed(texts), np.float32)

    await pipe.publish(await pipe.put("a.md", "text"))
    await pipe.index(embedder=Wrapped(pipe.embedder, embed=embed))
    assert await pipe.content() == {"public:a.md": ("text",)}


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


async def test_a_waiting_worker_takes_what_comes_and_stops_when_told(pipe: Pipeline) -> None:
    stop, done = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(pipe.worker(on_progress=lambda _: done.set()).run(stop))
    await asyncio.sleep(0.05)
    await pipe.publish(await pipe.put("a.md", "text"))
    await asyncio.wait_for(done.wait(), 10)
    stop.set()
    await asyncio.wait_for(running, 10)
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
    parsing = worker_settings().parsing.model_copy(update={"timeout_seconds": 120})
    await pipe.index(parser=None, settings=worker_settings(parsing=parsing))
    took = time.perf_counter() - began
    done.set()
    await beating
    assert (await pipe.records())["public:long.md"].chunks > 1000
    assert longest < took / 2


@pytest.mark.parametrize(
    ("language", "text", "asked", "not_asked"),
    [
        ("de", "Die Häuser am Rand der Stadt wurden verkauft.", "Haus verkaufen", "Straßen"),
        ("ru", "Библиотекарь расставил новые книги на полках.", "книгами", "дорога"),
    ],
)
async def test_words_are_stemmed_in_the_language_of_the_base(
    pipe: Pipeline, language: str, text: str, asked: str, not_asked: str
) -> None:
    await pipe.publish(await pipe.put("a.md", text))
    await pipe.index(settings=worker_settings(sparse_language=language))
    found = []
    for words in (asked, not_asked):
        sparse = SparseEncoder(language).query(words)
        request = SearchRequest("Sparse", None, sparse, 5, 5, 60, 1.0)
        found.append(len(await pipe.store.search(COLLECTION, Scope.of_writer(Partition("acme", "public")), request)))
    assert found == [1, 0]


async def test_metadata_and_offsets_reach_the_store(pipe: Pipeline) -> None:
    await pipe.publish(await pipe.put("a.md", "# T\n\n## S\n\nwords here", metadata={"team": "x", "year": 2026}))
    await pipe.index()
    scope = Scope.of_writer(Partition("acme", "public"))
    request = SearchRequest("Sparse", None, SparseEncoder("en").query("words"), 5, 5, 60, 1.0)
    (hit,) = await pipe.store.search(COLLECTION, scope, request)
    payload = hit.payload
    assert (payload.metadata, payload.title, payload.section) == ({"team": "x", "year": 2026}, "T", "T")
    assert (payload.text, payload.start, payload.end) == ("# T\n\n## S\n\nwords here", 0, 21)


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

    async def write_documents(collection: str, scope: Scope, writes: Sequence[DocumentWrite]) -> Sequence[WriteResult]:
        if any(each.record.state is DELETED for each in writes):
            await asyncio.sleep(0.05)
        results = await pipe.store.write_documents(collection, scope, writes)
        ended.extend(f"{each.record.access_level} {each.record.state.value}" for each in writes)
        return results

    await pipe.index(store=Wrapped(pipe.store, write_documents=write_documents))

    assert ended == ["public Deleted", "internal Indexed"]
    assert list(await pipe.content()) == ["internal:a.md"]
