"""The embedding worker: reads document messages and makes one index generation show what they say.

Run as a Deployment by the operator and as a task by `lectern up`. Three stages work side by side on three
small batches (prepare, embed, write), so that the model seldom waits; batches keep their order, and a
batch's place in the topic is committed after everything in it was written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from lectern_contract import ids, messages, names
from lectern_contract.errors import ConfigurationError, DependencyError, DocumentError, LecternError
from lectern_contract.messages import Deleted, Put
from lectern_contract.names import Topic
from lectern_contract.settings import WorkerSettings
from lectern_runtime import topics
from lectern_runtime.embed.chunk import ChunkRules
from lectern_runtime.embed.epoch import epoch_of
from lectern_runtime.embed.masking import Masking
from lectern_runtime.embed.prepare import Failpoint, Plan, Preparer, Task
from lectern_runtime.embed.retry import Retry
from lectern_runtime.embed.sandbox import Limits, Parser, ParserSandbox
from lectern_runtime.embed.vector_cache import VectorCache, model_digest
from lectern_runtime.embed.vectors import Vectorizer
from lectern_runtime.embed.write import Done, Writer
from lectern_runtime.errors import first_of
from lectern_runtime.moments import rfc3339
from lectern_runtime.ports import (
    BlobStore,
    CollectionSpec,
    Consumer,
    Embedder,
    EmbeddingCache,
    Log,
    Record,
    VectorStore,
)
from lectern_runtime.sparse import SparseEncoder
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics

POLL_RECORDS = 64
POLL_SECONDS, CATCHING_UP_SECONDS = 1.0, 0.05
BATCH_DOCUMENTS = 32
BATCH_BYTES = 128 * 1024
"""About one call of a CPU model: small enough that progress shows and little is done twice after a crash."""
CONCURRENT_DOCUMENTS = 4
DRAIN_SECONDS = 10.0
LAG_SECONDS = 5.0
Result = TypeVar("Result")
logger = logging.getLogger("lectern.worker")


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that are worked on together, and where reading goes on, by partition, once they are done."""

    tasks: tuple[Task, ...]
    next_offsets: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Embedded:
    plans: Sequence[Plan]
    vectors: Mapping[str, NDArray[np.float32]]
    next_offsets: Mapping[int, int]


Prepared = tuple[Sequence[Plan], Mapping[int, int]]


class Worker:
    """Fills the collection of one generation. `ensure` once, then `run`; both may be called again."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        log: Log,
        blobs: BlobStore,
        store: VectorStore,
        embedder: Embedder,
        parser: Parser | None = None,
        caches: Sequence[EmbeddingCache] = (),
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: random.Random | None = None,
        metrics: WorkerMetrics | None = None,
        on_progress: Callable[[Done], None] | None = None,
        failpoint: Failpoint | None = None,
    ) -> None:
        """Without `parser` a sandbox of its own is started for each `run`. `clock` gives seconds since 1970 UTC.

        `caches` are the tiers of the embedding cache, in the order in which they are asked.
        """
        self._settings = settings
        self._log, self._blobs, self._store, self._embedder = log, blobs, store, embedder
        self._parser = parser
        self._clock = clock
        self._metrics = metrics or WorkerMetrics(CollectorRegistry())
        self._cache = VectorCache(model_digest(settings.embedder), tuple(caches), self._metrics)
        self._on_progress = on_progress or _unheard
        self._failpoint = failpoint or _pass
        self._retry = Retry(settings.max_attempts, self._failed_attempt, sleep, chance or random.Random())  # noqa: S311 jitter
        self._sparse = SparseEncoder(settings.sparse_language) if settings.sparse_language else None
        self._masking = Masking(settings.masking)
        self._in_flight = 0
        self._lag_read = 0.0
        kb = (settings.namespace, settings.knowledge_base)
        self.topic = names.topic(*kb, Topic.DOCUMENTS)
        self.group = names.consumer_group(*kb, settings.generation)
        self.collection = names.collection(*kb, settings.generation)

    async def ensure(self) -> None:
        """Make topics (embedded log only) and collection. Raises `ConfigurationError` when the model is another one."""
        settings = self._settings
        await topics.ensure(
            self._log, settings.log, namespace=settings.namespace, knowledge_base=settings.knowledge_base
        )
        info = await self._embedder.info()
        if info.dimensions != settings.embedder.dimensions:
            raise ConfigurationError(
                f"KnowledgeBase/{settings.knowledge_base}: spec.embedding.dimensions is "
                f"{settings.embedder.dimensions}, but {info.model} gives vectors of {info.dimensions}; "
                "correct the field or the model"
            )
        await self._store.ensure_collection(
            CollectionSpec(
                name=self.collection,
                dimensions=info.dimensions,
                sparse=self._sparse is not None,
                identity=settings.index_identity,
            )
        )

    async def run(self, stop: asyncio.Event, *, until_caught_up: bool = False) -> None:
        """Work until `stop` is set or, if asked, until everything in the topic is done and committed.

        On `stop`, what is already embedded is written and committed, the rest is left to the next start. Raises
        `ConfigurationError` and `DataDirectoryError`, for which no retry can help.
        """
        epoch = await epoch_of(await self._log.topic_id(self.topic), self._blobs, collection=self.collection)
        async with contextlib.AsyncExitStack() as stack:
            parser = self._parser
            if parser is None:
                parsing = self._settings.parsing
                limits = Limits(parsing.timeout_seconds, parsing.max_document_bytes)
                sandbox = ParserSandbox(limits, ocr_languages=parsing.ocr_languages)
                parser = await stack.enter_async_context(sandbox)
            consumer = await self._log.subscribe(self.topic, group=self.group)
            stack.push_async_callback(consumer.close)
            info = await self._embedder.info()
            stages = _Stages(
                preparer=Preparer(
                    self.collection,
                    self._rules(info.max_input_tokens),
                    self._settings.parsing,
                    self._masking,
                    self._blobs,
                    self._store,
                    self._embedder,
                    parser,
                    self._retry,
                    self._metrics,
                    self._failpoint,
                ),
                vectorizer=Vectorizer(self._embedder, info, self._cache, self._retry, self._metrics, self._failpoint),
                writer=self._writer(),
            )
            self._in_flight = 0
            await self._flow(consumer, stages, epoch, stop, until_caught_up)

    async def _flow(
        self, consumer: Consumer, stages: _Stages, epoch: int, stop: asyncio.Event, until_caught_up: bool
    ) -> None:
        prepared: asyncio.Queue[Prepared | None] = asyncio.Queue(1)
        embedded: asyncio.Queue[_Embedded | None] = asyncio.Queue(1)
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._prepare(consumer, stages.preparer, epoch, prepared, until_caught_up))
                embedding = group.create_task(self._embed(stages.vectorizer, prepared, embedded))
                writing = group.create_task(self._write(consumer, stages.writer, embedded))
                watching = group.create_task(_drain(stop, (reading, embedding), embedded, writing))
                await asyncio.wait({writing})
                watching.cancel()
        except* LecternError as errors:
            raise first_of(errors) from None

    async def _prepare(
        self,
        consumer: Consumer,
        preparer: Preparer,
        epoch: int,
        prepared: asyncio.Queue[Prepared | None],
        until_caught_up: bool,
    ) -> None:
        wait = CATCHING_UP_SECONDS if until_caught_up else POLL_SECONDS
        while True:
            records = await self._retry.call(
                lambda: consumer.poll(max_records=POLL_RECORDS, timeout_seconds=wait), forever=True
            )
            idle = not records and self._in_flight == 0
            if until_caught_up and idle and await self._retry.call(consumer.lag, forever=True) == 0:
                await prepared.put(None)
                return
            for batch in batches(self._tasks(records, epoch), records):
                self._in_flight += 1
                plans = await _side_by_side([partial(preparer.prepare, task) for task in batch.tasks])
                await prepared.put((plans, batch.next_offsets))

    async def _embed(
        self,
        vectorizer: Vectorizer,
        prepared: asyncio.Queue[Prepared | None],
        embedded: asyncio.Queue[_Embedded | None],
    ) -> None:
        while (batch := await prepared.get()) is not None:
            plans, vectors = await vectorizer.embed(batch[0])
            await embedded.put(_Embedded(plans, vectors, batch[1]))
        await embedded.put(None)

    async def _write(self, consumer: Consumer, writer: Writer, embedded: asyncio.Queue[_Embedded | None]) -> None:
        while (batch := await embedded.get()) is not None:
            # A document that moved to other readers is gone from the old ones before the new ones find it.
            gone = [plan for plan in batch.plans if isinstance(plan.task.message, Deleted)]
            there = [plan for plan in batch.plans if isinstance(plan.task.message, Put)]
            written = await _side_by_side([partial(writer.write, plan, batch.vectors) for plan in gone])
            written += await _side_by_side([partial(writer.write, plan, batch.vectors) for plan in there])
            await writer.tell(written)
            self._failpoint("commit")
            with self._metrics.stage("commit"):
                await self._retry.call(partial(consumer.commit, batch.next_offsets), forever=True)
            self._measure_freshness(batch.plans)
            for done in (each.done for each in written):
                self._metrics.documents.labels(source=done.document.source, status=done.outcome).inc()
                self._on_progress(done)
            self._in_flight -= 1
            await self._measure_lag(consumer)

    def _tasks(self, records: Sequence[Record], epoch: int) -> dict[str, Task]:
        """The newest message about each document, by its key; what is no message of this base is passed over."""
        newest: dict[str, Task] = {}
        for record in records:
            try:
                envelope = messages.decode(record.value)
                if not isinstance(envelope.data, Put | Deleted) or not self._ours(envelope.data):
                    raise DocumentError("it is not about a document of this base", stage="decode", reason="Foreign")
            except DocumentError as error:
                place = record.position
                logger.warning("passed over a message at %s: %s", place, error.reason)
                self._metrics.documents.labels(source="", status="unreadable").inc()
                continue
            version = ids.version(epoch, record.position.offset)
            newest[envelope.key] = Task(envelope.data, record.position, version, record.time_ms)
        return newest

    def _ours(self, message: Put | Deleted) -> bool:
        document = message.document
        return (document.namespace, document.knowledge_base) == (
            self._settings.namespace,
            self._settings.knowledge_base,
        ) and bool(document.tenant and document.access_level)

    def _rules(self, model_limit: int) -> ChunkRules:
        chunking, embedder = self._settings.chunking, self._settings.embedder
        return ChunkRules(
            strategy=chunking.strategy,
            size=chunking.size,
            overlap=chunking.overlap,
            max_input_tokens=min(embedder.max_input_tokens, model_limit),
            prefix=embedder.document_prefix,
        )

    def _writer(self) -> Writer:
        kb = (self._settings.namespace, self._settings.knowledge_base)
        return Writer(
            collection=self.collection,
            events_topic=names.topic(*kb, Topic.EVENTS),
            dead_letters_topic=names.topic(*kb, Topic.DEAD_LETTERS),
            origin=f"lectern/worker/{kb[0]}/{kb[1]}/g{self._settings.generation}",
            log=self._log,
            store=self._store,
            sparse=self._sparse,
            retry=self._retry,
            metrics=self._metrics,
            failpoint=self._failpoint,
            now=lambda: rfc3339(self._clock()),
        )

    def _failed_attempt(self, error: DependencyError) -> None:
        self._metrics.retries.labels(dependency=error.dependency).inc()
        logger.warning("%s is not available, trying again: %s", error.dependency, error)

    def _measure_freshness(self, plans: Sequence[Plan]) -> None:
        now = self._clock()
        for task in (plan.task for plan in plans if not plan.settled):
            seconds = max(0.0, now - task.time_ms / 1000)  # clocks of different machines
            self._metrics.freshness_seconds.labels(source=task.message.document.source).observe(seconds)

    async def _measure_lag(self, consumer: Consumer) -> None:
        if self._clock() - self._lag_read >= LAG_SECONDS:
            self._lag_read = self._clock()
            with contextlib.suppress(DependencyError):
                self._metrics.lag.set(await consumer.lag())


@dataclass(frozen=True, slots=True)
class _Stages:
    preparer: Preparer
    vectorizer: Vectorizer
    writer: Writer


def batches(newest: Mapping[str, Task], records: Sequence[Record]) -> Iterator[Batch]:
    """Cut records into batches, in order. Older messages about a document count as done with the batch they fell in."""
    chosen = {(task.position.partition, task.position.offset): task for task in newest.values()}
    tasks: list[Task] = []
    next_offsets: dict[int, int] = {}
    size = 0
    for record in records:
        place = record.position
        task = chosen.get((place.partition, place.offset))
        weight = task.message.size if task is not None and isinstance(task.message, Put) else 0
        if tasks and (len(tasks) >= BATCH_DOCUMENTS or size + weight > BATCH_BYTES):
            yield Batch(tuple(tasks), dict(next_offsets))
            tasks, size = [], 0
        next_offsets[place.partition] = place.offset + 1
        size += weight
        if task is not None:
            tasks.append(task)
    if next_offsets:
        yield Batch(tuple(tasks), dict(next_offsets))


async def _side_by_side(calls: Sequence[Callable[[], Awaitable[Result]]]) -> list[Result]:
    """The results of all calls, in order, a few of them at a time. One batch names no document twice."""
    gate = asyncio.Semaphore(CONCURRENT_DOCUMENTS)

    async def one(call: Callable[[], Awaitable[Result]]) -> Result:
        async with gate:
            return await call()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(call)) for call in calls]
    return [task.result() for task in tasks]


async def _drain(
    stop: asyncio.Event,
    feeding: Sequence[asyncio.Task[None]],
    embedded: asyncio.Queue[_Embedded | None],
    writing: asyncio.Task[None],
) -> None:
    """When `stop` is set, end what feeds the writer, and the writer after what it has, at the latest in a while."""
    await stop.wait()
    for task in feeding:
        task.cancel()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await asyncio.wait(feeding)
            await embedded.put(None)
            await asyncio.wait({writing})
    writing.cancel()


def _pass(_name: str) -> None:
    """No failpoint is set."""


def _unheard(_done: Done) -> None:
    """Nobody asked for progress."""
