"""The worker's fairness: a document that the world fails waits by itself, and all others go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from lectern_contract import names
from lectern_contract.errors import DependencyError
from lectern_contract.messages import Deleted
from lectern_contract.names import Topic
from lectern_runtime.embed import flow, parked
from lectern_runtime.embed.write import Done
from lectern_runtime.errors import BlobStoreError
from lectern_runtime.ports import Consumer, Record, Vectors
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics
from lectern_runtime_tests.embed.worker_world import Wrapped
from lectern_runtime_tests.pipeline import FAILED, INDEXED, Pipeline, reference


class Choosy:
    """A model that is too busy for texts with a word, `times` times, and has time for all others."""

    def __init__(self, pipe: Pipeline, word: str, times: int, *, asked: float | None = None) -> None:
        self.pipe, self.word, self.left, self.asked = pipe, word, times, asked
        self.refused: list[int] = []
        """How many documents were done at each refusal of texts that hold the word and nothing else."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        if any(self.word in text for text in texts) and self.left > 0:
            if all(self.word in text for text in texts):
                self.left -= 1
                self.refused.append(len(self.pipe.done))
            raise DependencyError("too many requests", dependency="embedder", retry_after_seconds=self.asked)
        return await self.pipe.embedder.embed(texts)

    def model(self) -> Any:
        return Wrapped(self.pipe.embedder, embed=self.embed)


async def publish(pipe: Pipeline, count: int, *, first: int = 0) -> None:
    await pipe.publish(*[await pipe.put(f"{number:03}.md", f"text {number}") for number in range(first, first + count)])


async def lag(pipe: Pipeline) -> int:
    topic, group = names.topic("ns", "kb", Topic.DOCUMENTS), names.consumer_group("ns", "kb", 1)
    return await pipe.log.lag(topic, group=group)


async def test_others_go_on_while_one_document_waits_and_it_is_indexed_in_the_end(pipe: Pipeline) -> None:
    await pipe.publish(await pipe.put("busy.md", "busy"))
    await publish(pipe, 80)
    model = Choosy(pipe, "busy", 2, asked=10.0)
    await pipe.index(embedder=model.model())
    assert len(await pipe.content()) == 81
    assert await pipe.dead_letters() == []
    order = [done.document.uri for done in pipe.done]
    assert order.index("busy.md") > order.index("031.md")  # the rest of its batch and all behind it did not wait
    assert model.refused[0] == 0 < model.refused[1]


async def test_one_that_keeps_failing_alone_is_given_up_after_its_attempts(pipe: Pipeline) -> None:
    await pipe.publish(await pipe.put("busy.md", "busy"))
    await publish(pipe, 40)
    registry = CollectorRegistry()
    await pipe.index(embedder=Choosy(pipe, "busy", 10**9).model(), metrics=WorkerMetrics(registry))
    (letter,) = await pipe.dead_letters()
    assert (letter.message.document.uri, letter.stage, letter.reason, letter.attempts, letter.origin_offset) == (
        "busy.md",
        "embed",
        "DependencyFailed",
        3,
        0,
    )
    states = {uri: each.state for uri, each in (await pipe.records()).items()}
    assert (states.pop("public:busy.md"), set(states.values())) == (FAILED, {INDEXED})
    assert registry.get_sample_value("lectern_worker_parked_documents") == 0
    assert await lag(pipe) == 0


@pytest.mark.parametrize("stage", ["fetch", "parse", "chunk"])
async def test_a_fault_of_the_world_in_any_stage_parks_its_document_only(pipe: Pipeline, stage: str) -> None:
    bad = await pipe.put("bad.md", "bad")
    await pipe.publish(bad)
    await publish(pipe, 3)
    error = DependencyError("not now", dependency=stage)

    async def get(sha256: str) -> bytes:
        if stage == "fetch" and sha256 == bad.sha256:
            raise BlobStoreError("it cannot be read")
        return await pipe.blobs.get(sha256)

    async def tokenize(texts: Sequence[str]) -> Any:
        if stage == "chunk" and any("bad" in text for text in texts):
            raise error
        return await pipe.embedder.tokenize(texts)

    real = pipe.worker()._parser

    async def parse(data: bytes, media_type: str) -> Any:
        if stage == "parse" and data == b"bad":
            raise error
        assert real is not None
        return await real.parse(data, media_type)

    await pipe.index(
        blobs=Wrapped(pipe.blobs, get=get),
        embedder=Wrapped(pipe.embedder, tokenize=tokenize),
        parser=Wrapped(real, parse=parse),
    )
    (letter,) = await pipe.dead_letters()
    assert (letter.message.document.uri, letter.stage, letter.attempts) == ("bad.md", stage, 3)
    assert len(await pipe.content()) == 3


async def test_a_newer_message_takes_the_place_of_one_that_waits(pipe: Pipeline) -> None:
    await pipe.publish(await pipe.put("a.md", "busy"), await pipe.put("b.md", "busy too"))
    model = Choosy(pipe, "busy", 10**9, asked=10_000.0)
    stop, parked_both, all_done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def progress(done: Done) -> None:
        pipe.done.append(done)
        parked_both.set()
        if {each.document.uri for each in pipe.done} == {"a.md", "b.md", "c.md"}:
            all_done.set()

    await pipe.publish(await pipe.put("c.md", "text"))
    worker = pipe.worker(embedder=model.model(), on_progress=progress, monotonic=time.monotonic)
    running = asyncio.create_task(worker.run(stop))
    await asyncio.wait_for(parked_both.wait(), 20)
    await pipe.publish(Deleted(document=reference("a.md")), await pipe.put("b.md", "calm"))
    await asyncio.wait_for(all_done.wait(), 20)
    while await lag(pipe):
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(running, 20)
    assert await pipe.content() == {"public:b.md": ("calm",), "public:c.md": ("text",)}
    assert await pipe.dead_letters() == []


async def test_what_waits_when_the_worker_ends_is_delivered_again(pipe: Pipeline) -> None:
    await publish(pipe, 1)
    await pipe.publish(await pipe.put("busy.md", "busy"))
    await publish(pipe, 60, first=1)
    stop = asyncio.Event()

    def progress(done: Done) -> None:
        pipe.done.append(done)
        if len(pipe.done) == 61:
            stop.set()

    model = Choosy(pipe, "busy", 10**9, asked=10_000.0)
    worker = pipe.worker(embedder=model.model(), on_progress=progress, monotonic=time.monotonic)
    await asyncio.wait_for(worker.run(stop), 60)
    assert (len(await pipe.content()), await lag(pipe)) == (61, 61)  # committed up to the one that waited
    embedded = len(pipe.embedder.embedded)
    await pipe.index()
    assert (len(await pipe.content()), await lag(pipe)) == (62, 0)
    assert len(pipe.embedder.embedded) == embedded + 1


async def test_a_text_that_takes_the_model_down_is_given_up_and_no_crash_loop(pipe: Pipeline) -> None:
    down = 0

    async def embed(texts: Sequence[str]) -> Vectors:
        nonlocal down
        if any("deadly" in text for text in texts):
            down = 4
        if down:
            down -= 1
            raise DependencyError("the model is away", dependency="embedder")
        return await pipe.embedder.embed(texts)

    await publish(pipe, 5)
    await pipe.publish(await pipe.put("deadly.md", "deadly"))
    await publish(pipe, 5, first=5)
    await pipe.index(embedder=Wrapped(pipe.embedder, embed=embed))
    (letter,) = await pipe.dead_letters()
    assert (letter.message.document.uri, letter.attempts) == ("deadly.md", 3)
    assert len(await pipe.content()) == 10


class Paused:
    """The log, whose consumers note what was paused, what they gave, and whether they are being asked."""

    def __init__(self, pipe: Pipeline) -> None:
        self.pipe = pipe
        self.paused: list[set[int]] = []
        self.given = 0
        self.polling = False

    async def subscribe(self, topic: str, *, group: str | None) -> Any:
        consumer = await self.pipe.log.subscribe(topic, group=group)

        def pause(partitions: Collection[int]) -> None:
            self.paused.append(set(partitions))
            consumer.pause(partitions)

        async def poll(**named: Any) -> Sequence[Record]:
            self.polling = True
            records = await consumer.poll(**named)
            self.polling = False
            self.given += len(records)
            return records

        return Wrapped(consumer, pause=pause, poll=poll)

    def log(self) -> Any:
        return Wrapped(self.pipe.log, subscribe=self.subscribe)


async def test_a_partition_pauses_while_too_much_lies_behind_a_document_that_waits(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "MOST_OPEN", 4)
    monkeypatch.setattr(flow, "POLL_RECORDS", 2)
    await pipe.publish(await pipe.put("busy.md", "busy"))
    await publish(pipe, 40)
    log, model = Paused(pipe), Choosy(pipe, "busy", 2, asked=20.0)
    await pipe.index(log=log.log(), embedder=model.model())
    assert len(await pipe.content()) == 41
    assert [bool(each) for each in log.paused[:2]] == [True, False]
    assert max(model.refused) <= 5 * flow.MOST_OPEN


async def test_when_too_many_wait_nothing_more_is_read_until_they_are_due(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked, "MOST_PARKED", 3)
    monkeypatch.setattr(flow, "POLL_SECONDS", 0.05)
    await pipe.publish(*[await pipe.put(f"busy{number}.md", f"busy {number}") for number in range(4)])
    stop, log = asyncio.Event(), Paused(pipe)
    model = Choosy(pipe, "busy", 10**9, asked=10_000.0)
    registry = CollectorRegistry()
    parts = {"log": log.log(), "embedder": model.model(), "metrics": WorkerMetrics(registry)}
    running = asyncio.create_task(pipe.worker(**parts, monotonic=time.monotonic).run(stop))
    while registry.get_sample_value("lectern_worker_parked_documents") != 4 or log.polling:
        await asyncio.sleep(0.01)
    await publish(pipe, 3)
    await asyncio.sleep(0.2)
    assert log.given == 4
    stop.set()
    await asyncio.wait_for(running, 20)
    await pipe.index()
    assert len(await pipe.content()) == 7


async def test_a_consumer_is_one_by_its_protocol(pipe: Pipeline) -> None:
    consumer: Consumer = await pipe.log.subscribe(names.topic("ns", "kb", Topic.EVENTS), group="g")
    consumer.pause([0])
    await consumer.close()
