"""The worker in a world that fails: what is away is waited for, and what is at fault costs only itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from lectern_contract import ids
from lectern_contract.errors import ConfigurationError, DataDirectoryError, DependencyError
from lectern_contract.scope import Scope
from lectern_runtime.embed.epoch import epoch_of
from lectern_runtime.errors import BlobStoreError, LogError, StoreError
from lectern_runtime.ports import DocumentWrite, Vectors, WriteResult
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics
from lectern_runtime_tests.embed.worker_world import LONG, Failing, Wrapped
from lectern_runtime_tests.pipeline import (
    InlineParser,
    Pipeline,
    StubEmbedder,
    worker_settings,
)


async def test_a_model_that_is_away_for_a_moment_is_asked_again_when_it_said(pipe: Pipeline) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    away = DependencyError("too many requests", dependency="embedder", retry_after_seconds=7)
    embed = Failing(pipe.embedder.embed, 3, away)  # the text, and twice the harmless word
    registry = CollectorRegistry()
    await pipe.publish(await pipe.put("a.md", "text"))
    await pipe.index(embedder=Wrapped(pipe.embedder, embed=embed), sleep=sleep, metrics=WorkerMetrics(registry))
    assert await pipe.content() == {"public:a.md": ("text",)}
    assert [seconds >= 7 for seconds in slept] == [True, True]
    assert registry.get_sample_value("lectern_worker_retries_total", {"dependency": "embedder"}) == 3


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


@pytest.mark.parametrize("method", ["write_documents", "get_records"])
async def test_a_store_that_is_away_is_waited_for_and_nothing_is_given_up(pipe: Pipeline, method: str) -> None:
    failing = Failing(getattr(pipe.store, method), 50, StoreError("the store is away"))
    await pipe.publish(await pipe.put("a.md", "text"))
    await pipe.index(store=Wrapped(pipe.store, **{method: failing}))
    assert await pipe.content() == {"public:a.md": ("text",)}
    assert await pipe.dead_letters() == []


async def test_one_document_that_the_store_cannot_take_costs_none_of_those_written_with_it(pipe: Pipeline) -> None:
    async def write_documents(collection: str, scope: Scope, writes: Sequence[DocumentWrite]) -> Sequence[WriteResult]:
        if any(each.record.uri == "bad.md" and each.chunks for each in writes):
            raise ValueError("a point that no engine takes")
        return await pipe.store.write_documents(collection, scope, writes)

    await pipe.publish(*[await pipe.put(uri, f"text of {uri}") for uri in ("a.md", "bad.md", "c.md")])
    await pipe.index(store=Wrapped(pipe.store, write_documents=write_documents))

    assert (await pipe.content()).keys() == {"public:a.md", "public:c.md"}
    (letter,) = await pipe.dead_letters()
    assert (letter.message.document.uri, letter.stage, letter.reason) == ("bad.md", "write", "InternalError")
    assert sorted(await pipe.events()) == [("a.md", "indexed"), ("bad.md", "failed"), ("c.md", "indexed")]


async def test_a_log_that_is_away_is_waited_for(pipe: Pipeline) -> None:
    publish = Failing(pipe.log.publish, 50, LogError("the broker is away"))
    await pipe.publish(await pipe.put("a.md", "text"), await pipe.put("b.md", b"\x00\x01" * 9))
    await pipe.index(log=Wrapped(pipe.log, publish=publish))
    assert sorted(await pipe.events()) == [("a.md", "indexed"), ("b.md", "failed")]
    assert len(await pipe.dead_letters()) == 1


async def test_stop_ends_a_worker_that_waits_for_a_store(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lectern_runtime.embed.flow.DRAIN_SECONDS", 0.1)
    away = Failing(pipe.store.write_documents, 10**9, StoreError("away"))
    await pipe.publish(await pipe.put("a.md", "text"))
    stop = asyncio.Event()
    worker = pipe.worker(store=Wrapped(pipe.store, write_documents=away), sleep=asyncio.sleep)
    running = asyncio.create_task(worker.run(stop))
    while away.left == 10**9:
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(running, 10)
    await pipe.index()
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
