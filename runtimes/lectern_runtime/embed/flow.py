"""Moves messages through the worker's three stages, and commits what is done.

One flow is one run of a worker. Prepare, embed and write work side by side on three small batches, so that the model
seldom waits; batches keep their order. A document that the world fails is parked and comes back with a later batch,
and what is committed is always the completed prefix of each partition. Bounds: `MOST_OPEN` messages of a partition
lie between commit and reading, `MOST_PARKED` documents wait. At either, reading pauses and nothing is buffered; that
is also the most that a crash lets be done again, where a document that is done costs the look at its record.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lectern_contract.errors import DependencyError, LecternError
from lectern_contract.payload import DocumentRecord
from lectern_runtime.embed.attempts import Attempts
from lectern_runtime.embed.late import Late
from lectern_runtime.embed.ledger import Ledger
from lectern_runtime.embed.parked import Parked
from lectern_runtime.embed.prepare import Plan, Preparer, Task, of_task
from lectern_runtime.embed.reading import BATCH_DOCUMENTS, Reading, batches
from lectern_runtime.embed.side_by_side import side_by_side
from lectern_runtime.embed.vectors import Vectorizer
from lectern_runtime.embed.write import Done, Writer
from lectern_runtime.errors import first_of
from lectern_runtime.failpoints import Failpoint
from lectern_runtime.ports import Consumer, Record
from lectern_runtime.telemetry.document_work import of_documents
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics

POLL_RECORDS = 64
POLL_SECONDS, CATCHING_UP_SECONDS = 1.0, 0.05
MOST_OPEN = 4096
"""Messages of a partition; one poll may go beyond."""
TAKEN_OVER = MOST_OPEN + POLL_RECORDS
"""Messages of a partition that whoever read it before may have been working on."""
DRAIN_SECONDS = 10.0
LAG_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Embedded:
    plans: Sequence[Plan]
    vectors: Mapping[str, NDArray[np.float32]]


@dataclass(slots=True)
class Flow:
    """What one run needs; `clock` gives seconds since 1970 UTC. `run` may be called once."""

    consumer: Consumer
    reading: Reading
    preparer: Preparer
    vectorizer: Vectorizer
    writer: Writer
    parked: Parked
    late: Late
    attempts: Attempts
    metrics: WorkerMetrics
    failpoint: Failpoint
    clock: Callable[[], float]
    on_progress: Callable[[Done], None]
    until_caught_up: bool
    _ledger: Ledger = field(default_factory=lambda: Ledger(MOST_OPEN))
    _paused: frozenset[int] = frozenset()
    _under_way: int = 0
    _lag_read: float = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, or until everything in the topic is done and committed where that is asked for.

        On `stop`, what is already embedded is written and committed, and the rest, the parked with it, is left to
        redelivery. Raises `ConfigurationError` and `DataDirectoryError`, for which no retry can help.
        """
        prepared: asyncio.Queue[list[Plan] | None] = asyncio.Queue(1)
        embedded: asyncio.Queue[_Embedded | None] = asyncio.Queue(1)
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._prepare(prepared))
                embedding = group.create_task(self._embed(prepared, embedded))
                writing = group.create_task(self._write(embedded))
                looking = group.create_task(self._look_again())
                watching = group.create_task(_drain(stop, (reading, embedding), embedded, writing))
                await asyncio.wait({writing})
                watching.cancel()
                looking.cancel()
        except* LecternError as errors:
            raise first_of(errors) from None

    # ----------------------------------------------------------------------------------- prepare

    async def _prepare(self, prepared: asyncio.Queue[list[Plan] | None]) -> None:
        while True:
            due = self.parked.take_due(BATCH_DOCUMENTS)
            self._under_way += bool(due)  # what is neither parked nor in a batch must not look as if all were done
            records = await self._read(at_once=bool(due))
            self.late.taken_over(self.consumer.taken_over())
            tasks = self.reading.tasks(records, due, self._ledger, self.parked)
            self.late.read(tasks)
            self._under_way -= bool(due)
            if not records and not due and await self._caught_up():
                await prepared.put(None)
                return
            # Messages that need nothing are committed as well.
            for batch in batches(tasks) if tasks else ([],) if records else ():
                self._under_way += 1
                await prepared.put(await self._plans(batch))

    async def _read(self, *, at_once: bool) -> Sequence[Record]:
        """What is there, or what comes within a moment; nothing while too much is open."""
        seconds = 0.0 if at_once else self._wait()
        if self.parked.full:
            await asyncio.sleep(seconds)
            return ()
        full = self._ledger.full()
        if full != self._paused:
            self.consumer.pause(full)
            self._paused = full
        return await self.attempts.patient(
            lambda: self.consumer.poll(max_records=POLL_RECORDS, timeout_seconds=seconds)
        )

    def _wait(self) -> float:
        longest = CATCHING_UP_SECONDS if self.until_caught_up else POLL_SECONDS
        due = self.parked.seconds_until_due()
        return longest if due is None else min(longest, due)

    async def _caught_up(self) -> bool:
        if not self.until_caught_up or self._under_way or len(self.parked):
            return False
        return await self.attempts.patient(self.consumer.lag) == 0

    async def _plans(self, batch: Sequence[Task]) -> list[Plan]:
        records = await self.preparer.records(batch)
        return await side_by_side([partial(self._planned, task, records.get(task.key)) for task in batch])

    async def _planned(self, task: Task, before: DocumentRecord | None) -> Plan:
        with of_task("worker.prepare", task):
            return await self.preparer.prepare(task, before)

    # ------------------------------------------------------------------------------------- embed

    async def _embed(
        self, prepared: asyncio.Queue[list[Plan] | None], embedded: asyncio.Queue[_Embedded | None]
    ) -> None:
        while (plans := await prepared.get()) is not None:
            with of_documents("worker.embed", [plan.task.traceparent for plan in plans]):
                judged, vectors = await self.vectorizer.embed(plans)
            await embedded.put(_Embedded(judged, vectors))
        await embedded.put(None)

    # ------------------------------------------------------------------------------------- write

    async def _write(self, embedded: asyncio.Queue[_Embedded | None]) -> None:
        while (batch := await embedded.get()) is not None:
            plans = [plan for plan in map(self._judged, batch.plans) if plan is not None]
            written = await self.writer.write(plans, batch.vectors)
            await self.writer.tell(written)
            await self._settle(plans)
            for done in (each.done for each in written):
                self.metrics.done(source=done.document.source, status=done.outcome)
                self.on_progress(done)
            self._under_way -= 1
            await self._measure_lag()

    def _judged(self, plan: Plan) -> Plan | None:
        """The plan, with a fault where its document came back often enough; None once it is parked."""
        if plan.again is None:
            return plan
        fault = self.parked.park(plan.task, plan.again)
        return replace(plan, again=None, fault=fault) if fault is not None else None

    async def _settle(self, plans: Sequence[Plan]) -> None:
        """Settle these documents' messages and commit what is complete by now."""
        for task in (plan.task for plan in plans):
            for position in (task.position, *task.replaced):
                self._ledger.settle(position)
        next_offsets = self._ledger.to_commit()
        if next_offsets:
            with of_documents("worker.commit", [plan.task.traceparent for plan in plans]), self.metrics.stage("commit"):
                await self.attempts.patient(partial(self._commit, next_offsets))
            self._ledger.committed(next_offsets)
        self._measure_freshness(plans)

    async def _commit(self, next_offsets: Mapping[int, int]) -> None:
        self.failpoint("commit")
        await self.consumer.commit(next_offsets)

    async def _look_again(self) -> None:
        """Take back, now and then, what came late of writers that died; with the end of this process it is left."""
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            for scope, versions in self.late.due().items():
                await self.writer.take_back(scope, versions)

    # ----------------------------------------------------------------------------------- measure

    def _measure_freshness(self, plans: Sequence[Plan]) -> None:
        now = self.clock()
        for task in (plan.task for plan in plans if not plan.settled):
            seconds = max(0.0, now - task.time_ms / 1000)  # clocks of different machines
            self.metrics.shown(source=task.message.document.source, seconds=seconds)

    async def _measure_lag(self) -> None:
        self.metrics.parked.set(len(self.parked))
        if self.clock() - self._lag_read >= LAG_SECONDS:
            self._lag_read = self.clock()
            with contextlib.suppress(DependencyError):
                self.metrics.lag.set(await self.consumer.lag())


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
