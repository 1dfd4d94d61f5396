"""Makes the store, the events topic and the dead letters say what became of a document, in an order that can die.

The worker's last stage before the commit. A dead letter comes before the record that says `Failed`, and the
record before the event, so that whoever finds the record knows what was said before it, and a redelivery
repeats at most the event. The documents of a batch are written together, since each call of a store costs as much as
a document, and so are their events, since each publication waits for the disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lectern_contract import messages
from lectern_contract.errors import DependencyError, DocumentError
from lectern_contract.ids import DocumentId
from lectern_contract.messages import Change, DeadLetter, DocumentEvent, DocumentRef, Envelope, Put
from lectern_contract.payload import DocumentState
from lectern_contract.scope import Scope
from lectern_runtime.embed.attempts import Attempts
from lectern_runtime.embed.documents import change_of, chunks_of, record_of
from lectern_runtime.embed.late import Late
from lectern_runtime.embed.prepare import Fault, Plan, Task, of_task, unexpected
from lectern_runtime.embed.side_by_side import side_by_side
from lectern_runtime.failpoints import Failpoint
from lectern_runtime.ports import DocumentWrite, Log, OutgoingRecord, VectorStore, WriteResult
from lectern_runtime.sparse import SparseEncoder
from lectern_runtime.telemetry import tracing
from lectern_runtime.telemetry.document_work import of_documents
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics

Vectors = Mapping[str, NDArray[np.float32]]
Outcome = Literal["indexed", "deleted", "failed", "skipped"]
logger = logging.getLogger("lectern.worker")
THREAD_CHUNKS = 200
"""More chunks are made in a thread, since queries may share this process."""
_CHANGES = {
    DocumentState.INDEXED: Change.UPDATED,
    DocumentState.DELETED: Change.DELETED,
    DocumentState.FAILED: Change.FAILED,
}


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one document: its outcome, its chunks, and how many of them had to be embedded."""

    document: DocumentRef
    outcome: Outcome
    chunks: int = 0
    embedded: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one document, and the event that has to tell it."""

    done: Done
    event: OutgoingRecord | None = None


@dataclass(frozen=True, slots=True)
class _Ready:
    """A document as it is to be stored, and the event that tells it."""

    plan: Plan
    write: DocumentWrite
    event: OutgoingRecord
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Writer:
    """What writing needs of the worker; `origin` says in messages who wrote them, `now` gives RFC 3339 times."""

    collection: str
    events_topic: str
    dead_letters_topic: str
    origin: str
    log: Log
    store: VectorStore
    sparse: SparseEncoder | None
    late: Late
    attempts: Attempts
    metrics: WorkerMetrics
    failpoint: Failpoint
    now: Callable[[], str]

    async def write(self, plans: Sequence[Plan], vectors: Vectors) -> list[Written]:
        """Write what the plans of one batch say. An unreachable store or log is waited for.

        A document that moved to other readers is gone from the old ones before the new ones find it.
        """
        done = {plan.task.key: self._repeated(plan) for plan in plans if plan.settled}
        ready = [await self._ready(plan, vectors) for plan in plans if not plan.settled]
        gone = [each for each in ready if not isinstance(each.plan.task.message, Put)]
        there = [each for each in ready if isinstance(each.plan.task.message, Put)]
        with self.metrics.stage("write"):
            for part in (gone, there):
                done |= {each.plan.task.key: written for each, written in await self._stored(part)}
        return [done[plan.task.key] for plan in plans]

    async def tell(self, written: Sequence[Written]) -> None:
        """Publish the events of documents that were written."""
        events = [each.event for each in written if each.event is not None]
        if events:
            await self._published("event", self.events_topic, events)

    async def take_back(self, scope: Scope, versions: Mapping[DocumentId, int]) -> None:
        """Remove what came late of versions that are no longer their documents' newest."""
        records = await self.attempts.patient(lambda: self.store.get_records(self.collection, scope, list(versions)))
        overtaken = [document for document, record in records.items() if record.version > versions[document]]
        if overtaken:
            await self.attempts.patient(lambda: self.store.remove_outdated(self.collection, scope, overtaken))

    def _repeated(self, plan: Plan) -> Written:
        """Say again what a record says that this very message led to: the event may not have been written."""
        assert plan.before is not None
        done = Done(plan.task.message.document, "skipped")
        if plan.before.version != plan.task.version:
            return Written(done)
        with of_task("worker.write", plan.task):
            return Written(done, self._event(plan.task, _CHANGES[plan.before.state], plan.before.chunks))

    async def _ready(self, plan: Plan, vectors: Vectors) -> _Ready:
        """A document as it is to be stored; with a fault, after its dead letter is written."""
        with of_task("worker.write", plan.task):
            if plan.fault is not None:
                return await self._given_up(plan, plan.fault)
            try:
                large = len(plan.chunks) > THREAD_CHUNKS
                made = partial(chunks_of, plan, vectors, self.sparse)
                chunks = await asyncio.to_thread(made) if large else made()
            except (ValueError, TypeError, KeyError) as error:
                return await self._given_up(plan, unexpected("write", error))
            event = self._event(plan.task, change_of(plan), len(chunks))
            return _Ready(plan, DocumentWrite(record_of(plan), chunks), event)

    async def _given_up(self, plan: Plan, fault: Fault) -> _Ready:
        """Write the dead letter of a document. Its older text is outdated, so that it goes from the index as well."""
        letter = _outgoing(self._dead_letter(plan.task, fault))
        await self._published("dead-letter", self.dead_letters_topic, [letter])
        self.metrics.given_up(fault.reason)
        told = {"stage": fault.stage, "reason": fault.reason, "attempts": fault.attempts}
        logger.warning("gave a document up", extra=told)
        event = self._event(plan.task, Change.FAILED, 0)
        return _Ready(plan, DocumentWrite(record_of(plan, fault)), event, fault)

    async def _stored(self, ready: Sequence[_Ready]) -> list[tuple[_Ready, Written]]:
        """Write documents, those of one partition of readers in one call."""
        by_scope: dict[Scope, list[_Ready]] = {}
        for each in ready:
            by_scope.setdefault(each.plan.task.scope, []).append(each)
        calls = [partial(self._stored_together, scope, each) for scope, each in by_scope.items()]
        return [pair for pairs in await side_by_side(calls) for pair in pairs]

    async def _stored_together(self, scope: Scope, ready: Sequence[_Ready]) -> list[tuple[_Ready, Written]]:
        try:
            with of_documents("worker.upsert", [each.plan.task.traceparent for each in ready]):
                results = await self.attempts.patient(partial(self._attempt, scope, ready))
        except (DocumentError, ValueError, TypeError, KeyError) as error:
            if len(ready) > 1:  # which of them it is shows when each goes by itself
                return [pair for each in ready for pair in await self._stored_together(scope, [each])]
            return await self._stored_together(scope, [await self._refused(ready[0], error)])
        return [(each, self._written(each, result)) for each, result in zip(ready, results, strict=True)]

    async def _refused(self, ready: _Ready, error: Exception) -> _Ready:
        """What is left of a document that the store does not take: a failure. Raises where that is not taken either."""
        if ready.fault is not None:
            raise error
        reason = error.reason if isinstance(error, DocumentError) else ""
        fault = Fault("write", reason, str(error)) if reason else unexpected("write", error)
        with of_task("worker.write", ready.plan.task):
            return await self._given_up(ready.plan, fault)

    async def _attempt(self, scope: Scope, ready: Sequence[_Ready]) -> Sequence[WriteResult]:
        try:
            return await self.store.write_documents(self.collection, scope, [each.write for each in ready])
        except DependencyError:
            for each in ready:  # the store may do it yet
                self.late.watch(scope, each.plan.task.message.document.id, each.plan.task.version)
            raise

    def _written(self, ready: _Ready, result: WriteResult) -> Written:
        document, plan = ready.plan.task.message.document, ready.plan
        event = None if result.superseded else ready.event
        if ready.fault is not None:
            return Written(Done(document, "failed", reason=ready.fault.reason), event)
        if result.superseded:
            return Written(Done(document, "skipped"))
        chunks, fresh = len(plan.chunks), sum(digest not in plan.known for digest in plan.digests)
        self.metrics.chunks.labels(vector="embedded").inc(fresh)
        self.metrics.chunks.labels(vector="known").inc(chunks - fresh)
        outcome: Outcome = "indexed" if isinstance(plan.task.message, Put) else "deleted"
        return Written(Done(document, outcome, chunks, fresh), event)

    async def _published(self, name: str, topic: str, records: Sequence[OutgoingRecord]) -> None:
        """Publish, past the failpoint `name`; a log that is away is waited for."""

        async def publish() -> None:
            self.failpoint(name)
            await self.log.publish(topic, records)

        await self.attempts.patient(publish)

    def _event(self, task: Task, change: Change, chunks: int) -> OutgoingRecord:
        event = DocumentEvent(document=task.message.document, change=change, version=task.version, chunks=chunks)
        return _outgoing(self._envelope(task, "event", event))

    def _dead_letter(self, task: Task, fault: Fault) -> Envelope:
        letter = DeadLetter(
            message=task.message,
            stage=fault.stage[:32],
            reason=fault.reason[:64],
            detail=fault.detail[:512],
            attempts=fault.attempts,
            origin_partition=task.position.partition,
            origin_offset=task.position.offset,
        )
        return self._envelope(task, "dead-letter", letter)

    def _envelope(self, task: Task, what: str, body: DocumentEvent | DeadLetter) -> Envelope:
        # The id says which occurrence it is, so that a reader can tell a repetition from a second one.
        return Envelope(
            id=f"{task.message.document.id}-{task.version}-{what}",
            source=self.origin,
            time=self.now(),
            traceparent=tracing.carried() or task.traceparent,
            data=body,
        )


def _outgoing(envelope: Envelope) -> OutgoingRecord:
    """The envelope as a record; a dead letter gives up its sentence rather than not be written."""
    try:
        data = messages.encode(envelope)
    except DocumentError:
        if not isinstance(envelope.data, DeadLetter) or not envelope.data.detail:
            raise
        short = envelope.data.model_copy(update={"detail": ""})
        data = messages.encode(envelope.model_copy(update={"data": short}))
    return OutgoingRecord(envelope.key, data)
