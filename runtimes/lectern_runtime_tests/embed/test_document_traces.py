"""A document is one trace, from the run that found it to the event that tells what became of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lectern_contract import settings
from lectern_contract.names import Topic
from lectern_contract.settings_parts import TracingSettings
from lectern_runtime.adapters import compose
from lectern_runtime.embed import __main__ as worker
from lectern_runtime.ingest import __main__ as connector
from lectern_runtime_tests.pipeline import StubEmbedder, connector_settings, pipeline, worker_settings
from lectern_runtime_tests.telemetry.collector import Collector, collecting
from lectern_runtime_tests.telemetry.spans import kept, place

CANARY = "the-canary-sings"
BATCHES = ("worker.embed", "worker.upsert", "worker.commit")
"""Spans of what is done for several documents at once."""
OF_ONE_DOCUMENT = {
    "connector.run": "",
    "connector.document": "connector.run",
    "connector.fetch": "connector.document",
    "connector.store": "connector.document",
    "connector.publish": "connector.run",
    "worker.prepare": "connector.document",
    "fetch": "worker.prepare",
    "parse": "worker.prepare",
    "mask": "worker.prepare",
    "chunk": "worker.prepare",
    "worker.embed": "connector.document",
    "embed": "worker.embed",
    "embeddings stub": "embed",
    "worker.write": "connector.document",
    "worker.upsert": "connector.document",
    "worker.commit": "connector.document",
    "commit": "worker.commit",
}
"""Each span of a document's life with its parent."""


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Leave the root logger as it was: the programs set it up for their process."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.handlers[:], logging.root.level = handlers, level


def write(path: Path, content: settings.AnySettings) -> str:
    path.write_text(settings.canonical(content))
    return str(path)


def through_both_programs(directory: Path, collector: Collector) -> None:
    source = directory / "source"
    source.mkdir()
    (source / "a.md").write_text(f"# {CANARY}\n\nsome text of {CANARY}\n")
    told: Any = TracingSettings(endpoint=collector.url, sample_ratio=1.0)
    found, indexed = connector_settings(source, tracing=told), worker_settings(tracing=told)
    data = ["--data-dir", str(directory / "data")]
    assert connector.main(["--settings", write(directory / "c.json", found), *data]) == 0
    assert worker.main(["--settings", write(directory / "w.json", indexed), *data, "--once", "--port", "0"]) == 0


def test_a_document_of_a_volume_is_one_trace_from_the_run_to_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "open_embedder", lambda _settings: StubEmbedder())
    with collecting() as collector:
        through_both_programs(tmp_path, collector)

    assert {each.name: collector.parent(each) for each in collector.spans} == OF_ONE_DOCUMENT
    assert len({each.trace for each in collector.spans}) == 1
    document = collector.one("connector.document")
    assert [collector.one(name).links for name in BATCHES] == [(document.span,)] * 3
    services = {each.service for each in collector.spans if each.name.startswith("connector.")}
    assert (services, collector.one("worker.write").service) == ({"lectern-connector"}, "lectern-worker")
    assert collector.one("embeddings stub").attributes["gen_ai.usage.input_tokens"] > 0
    assert not any(CANARY.encode() in body for body in collector.bodies)


async def test_the_work_of_a_batch_links_to_each_document_and_events_carry_their_trace(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a.md", "b.md"):
        (source / name).write_text(f"text of {name}")

    async with pipeline(tmp_path, source) as pipe:
        with kept() as spans:
            await pipe.sync()
            await pipe.index()
        told = await pipe.read(Topic.EVENTS)
        said = await pipe.read(Topic.DOCUMENTS)

    documents = {place(span).span_id for span in spans.all() if span.name == "connector.document"}
    assert len(documents) == 2
    for name in BATCHES:
        assert {link.context.span_id for link in spans.one(name).links} == documents, name
    written = {f"{place(span).span_id:016x}" for span in spans.all() if span.name == "worker.write"}
    assert {str(each.traceparent).split("-")[2] for each in said} == {f"{each:016x}" for each in documents}
    assert {str(each.traceparent).split("-")[2] for each in told} == written
    assert len(spans.traces()) == 1


async def test_a_document_that_fails_says_the_class_of_its_fault_and_its_dead_letter_has_its_trace(
    tmp_path: Path,
) -> None:
    async with pipeline(tmp_path, tmp_path) as pipe:
        await pipe.worker().ensure()
        with kept() as spans:
            put = await pipe.put("a.bin", CANARY, media_type="text/plain")
            await pipe.publish(put.model_copy(update={"sha256": "0" * 64}))
            await pipe.index()
        (letter,) = await pipe.read(Topic.DEAD_LETTERS)

    fetch = spans.one("fetch")
    assert dict(fetch.attributes or {})["error.type"] == "BlobMissing"
    assert fetch.status.description is None
    assert str(letter.traceparent).split("-")[2] == f"{place(spans.one('worker.write')).span_id:016x}"


async def test_where_nothing_is_traced_messages_carry_no_trace(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.md").write_text("text")

    async with pipeline(tmp_path, source) as pipe:
        await pipe.sync()
        await pipe.index()
        carried = [each.traceparent for topic in (Topic.DOCUMENTS, Topic.EVENTS) for each in await pipe.read(topic)]

    assert carried == [None, None]
