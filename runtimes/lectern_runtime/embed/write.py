"""Makes the store, the events topic and the dead letters say what became of a document, in an order that can die.

The worker's last stage before the commit. A dead letter comes before the record that says `Failed`, and the
record before the event, so that whoever finds the record knows what was said before it, and a redelivery
repeats at most the event. Events of a batch are published together, since each publication waits for the disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lectern_contract import ids, messages
from lectern_contract.errors import DocumentError
from lectern_contract.messages import Change, DeadLetter, DocumentEvent, DocumentRef, Envelope, Put
from lectern_contract.payload import ChunkPayload, DocumentRecord, DocumentState
from lectern_runtime.embed.attempts import Attempts
from lectern_runtime.embed.prepare import Fault, Plan, Task, unexpected
from lectern_runtime.failpoints import Failpoint
from lectern_runtime.ports import Chunk, Log, OutgoingRecord, VectorStore
from lectern_runtime.sparse import SparseEncoder
from lectern_runtime.telemetry import tracing
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
class Writer:
    """What writing needs of the worker; `origin` says in messages who wrote them, `now` gives RFC 3339 times."""

    collection: str
    events_topic: str
    dead_letters_topic: str
    origin: str
    log: Log
    store: VectorStore
    sparse: SparseEncoder | None
    attempts: Attempts
    metrics: WorkerMetrics
    failpoint: Failpoint
    now: Callable[[], str]

    async def write(self, plan: Plan, vectors: Vectors) -> Written:
        """Write what the plan says. An unreachable store or log is waited for; nothing goes on without them."""
        document = plan.task.message.document
        if plan.settled:
            return Written(Done(document, "skipped"), self._repeated(plan))
        if plan.fault is not None:
            return await self._failed(plan, plan.fault)
        with self.metrics.stage("write"):
            try:
                large = len(plan.chunks) > THREAD_CHUNKS
                chunks = await asyncio.to_thread(self._chunks, plan, vectors) if large else self._chunks(plan, vectors)
                superseded = await self._stored(plan.task, _record(plan), chunks)
            except DocumentError as error:
                return await self._failed(plan, Fault("write", error.reason, str(error)))
            except (ValueError, TypeError, KeyError) as error:
                return await self._failed(plan, unexpected("write", error))
        if superseded:
            return Written(Done(document, "skipped"))
        fresh = sum(digest not in plan.known for digest in plan.digests)
        self.metrics.chunks.labels(vector="embedded").inc(fresh)
        self.metrics.chunks.labels(vector="known").inc(len(chunks) - fresh)
        outcome: Outcome = "indexed" if isinstance(plan.task.message, Put) else "deleted"
        return Written(Done(document, outcome, len(chunks), fresh), self._event(plan.task, _change(plan), len(chunks)))

    async def tell(self, written: Sequence[Written]) -> None:
        """Publish the events of documents that were written."""
        events = [each.event for each in written if each.event is not None]
        if events:
            await self._published("event", self.events_topic, events)

    def _repeated(self, plan: Plan) -> OutgoingRecord | None:
        """Say again what a record says that this very message led to: the event may not have been written."""
        assert plan.before is not None
        if plan.before.version != plan.task.version:
            return None
        return self._event(plan.task, _CHANGES[plan.before.state], plan.before.chunks)

    async def _failed(self, plan: Plan, fault: Fault) -> Written:
        """Give a document up. Its older text is outdated, so that it goes from the index as well."""
        letter = _outgoing(self._dead_letter(plan.task, fault))
        await self._published("dead-letter", self.dead_letters_topic, [letter])
        self.metrics.given_up(fault.reason)
        told = {"stage": fault.stage, "reason": fault.reason, "attempts": fault.attempts}
        logger.warning("gave a document up", extra=told)
        superseded = await self._stored(plan.task, _record(plan, fault), [])
        event = None if superseded else self._event(plan.task, Change.FAILED, 0)
        return Written(Done(plan.task.message.document, "failed", reason=fault.reason), event)

    async def _stored(self, task: Task, record: DocumentRecord, chunks: list[Chunk]) -> bool:
        result = await self.attempts.patient(
            lambda: self.store.write_document(self.collection, task.scope, record, chunks)
        )
        return result.superseded

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

    def _chunks(self, plan: Plan, vectors: Vectors) -> list[Chunk]:
        document = plan.task.message.document
        return [
            Chunk(
                id=ids.chunk_id(document.id, number),
                payload=ChunkPayload(
                    tenant=document.tenant,
                    access_level=document.access_level,
                    document_id=document.id,
                    version=plan.task.version,
                    source=document.source,
                    uri=document.uri,
                    title=plan.title,
                    number=number,
                    text=each.text,
                    text_digest=digest,
                    section=each.section,
                    page=each.page,
                    start=each.start,
                    end=each.end,
                    tokens=each.tokens,
                    metadata=dict(plan.metadata),
                ),
                dense=vectors[digest] if digest in vectors else plan.known[digest],
                sparse=self.sparse.document(each.terms) if self.sparse is not None else None,
            )
            for number, (each, digest) in enumerate(zip(plan.chunks, plan.digests, strict=True))
        ]


def _record(plan: Plan, fault: Fault | None = None) -> DocumentRecord:
    message, document = plan.task.message, plan.task.message.document
    if fault is not None:
        state = DocumentState.FAILED
    else:
        state = DocumentState.INDEXED if isinstance(message, Put) else DocumentState.DELETED
    return DocumentRecord(
        tenant=document.tenant,
        access_level=document.access_level,
        document_id=document.id,
        version=plan.task.version,
        source=document.source,
        uri=document.uri,
        title=plan.title,
        state=state,
        sha256=message.sha256 if isinstance(message, Put) else "",
        media_type=message.media_type if isinstance(message, Put) else "",
        chunks=len(plan.chunks) if fault is None else 0,
        reason=f"{fault.reason}: {fault.detail}"[:512] if fault is not None else "",
    )


def _change(plan: Plan) -> Change:
    if not isinstance(plan.task.message, Put):
        return Change.DELETED
    there = plan.before is not None and plan.before.state is DocumentState.INDEXED
    return Change.UPDATED if there else Change.INDEXED


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
