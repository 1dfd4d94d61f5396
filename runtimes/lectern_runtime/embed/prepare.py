"""Takes one document message as far as it goes without vectors: record, bytes, text, chunks.

The worker's first stage, run for several documents side by side. What is at the document's own fault ends
in a `Fault`, and what keeps only this document from being read in an `Again`, so that its neighbours go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lectern_contract import ids
from lectern_contract.errors import ConfigurationError, DependencyError, DocumentError
from lectern_contract.ids import DocumentId
from lectern_contract.messages import Deleted, DocumentMessage, Put
from lectern_contract.payload import DocumentRecord, DocumentState, MetadataValue
from lectern_contract.scope import Scope
from lectern_contract.settings import ParsingSettings
from lectern_runtime.embed.attempts import Attempts
from lectern_runtime.embed.chunk import ChunkRules, ChunkText, chunk
from lectern_runtime.embed.masking import Masking
from lectern_runtime.embed.parsed import MAX_TITLE, ParsedDocument
from lectern_runtime.embed.sandbox import Parser
from lectern_runtime.embed.side_by_side import side_by_side
from lectern_runtime.failpoints import Failpoint
from lectern_runtime.ports import BlobStore, Embedder, Position, VectorStore
from lectern_runtime.telemetry.document_work import of_document
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics

Result = TypeVar("Result")
ABSENT = "0" * 64
"""A digest that no blob has: to be asked for it tells whether a blob store answers at all."""
THREAD_CHARACTERS = 20_000
"""A longer text is masked in a thread, since queries may share this process."""
logger = logging.getLogger("lectern.worker")


@dataclass(frozen=True, slots=True)
class Task:
    """One message to act on: the newest about its document among those that were read together.

    `time_ms` is when the log took it, in milliseconds since 1970 UTC. `replaced` are older messages about the document
    that are done when this one is. `attempts` failed so far, the first of them at `since` of the worker's own clock.
    """

    message: DocumentMessage
    position: Position
    version: int
    time_ms: int = 0
    traceparent: str | None = None
    replaced: tuple[Position, ...] = ()
    attempts: int = 0
    since: float = 0.0

    @property
    def key(self) -> str:
        """Which document it is about."""
        return self.message.document.id

    @property
    def scope(self) -> Scope:
        """The one partition that the document lives in."""
        return Scope.of_writer(self.message.document.partition)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a document goes to the dead letters."""

    stage: str
    reason: str
    detail: str
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Again:
    """Why a document has to come back later, for the world's sake: others went through and it did not."""

    stage: str
    detail: str
    retry_after_seconds: float | None = None

    @classmethod
    def after(cls, stage: str, error: DependencyError) -> Again:
        """What `error` of a stage says."""
        return cls(stage, str(error), error.retry_after_seconds)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written for a task.

    `before` is the record that the store has. `settled` means that it is as new as the message: nothing is to be
    written, and its event is repeated when it is of this very message. `digests[i]` belongs to `chunks[i]`;
    `known` holds vectors of texts that need not be embedded again.
    """

    task: Task
    before: DocumentRecord | None = None
    settled: bool = False
    fault: Fault | None = None
    again: Again | None = None
    title: str = ""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    chunks: tuple[ChunkText, ...] = ()
    digests: tuple[str, ...] = ()
    known: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Preparer:
    """What preparing needs of the worker."""

    collection: str
    rules: ChunkRules
    parsing: ParsingSettings
    masking: Masking
    blobs: BlobStore
    store: VectorStore
    embedder: Embedder
    parser: Parser
    attempts: Attempts
    metrics: WorkerMetrics
    failpoint: Failpoint

    async def records(self, batch: Sequence[Task]) -> dict[str, DocumentRecord]:
        """The records that the store has of a batch, by document, in one call for each partition of readers."""
        by_scope: dict[Scope, list[DocumentId]] = {}
        for task in batch:
            by_scope.setdefault(task.scope, []).append(task.message.document.id)
        calls = [partial(self._records, scope, documents) for scope, documents in by_scope.items()]
        return {document: record for found in await side_by_side(calls) for document, record in found.items()}

    async def _records(self, scope: Scope, documents: Sequence[DocumentId]) -> Mapping[DocumentId, DocumentRecord]:
        return await self.attempts.patient(lambda: self.store.get_records(self.collection, scope, documents))

    async def prepare(self, task: Task, before: DocumentRecord | None) -> Plan:
        """The plan for a task whose document has the record `before`.

        Raises `ConfigurationError` only: then no document can be prepared.
        """
        try:
            if before is not None and before.version >= task.version:
                return Plan(task, before, settled=True)
            if isinstance(task.message, Deleted):
                return Plan(task, before)
            return await self._chunked(task, task.message, before)
        except DocumentError as error:
            return Plan(task, before, fault=Fault(error.stage, error.reason, str(error)))
        except _NotNow as error:
            return Plan(task, before, again=error.again)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 a defect of ours must not stop all documents behind this one
            return Plan(task, before, fault=unexpected("prepare", error))

    async def _chunked(self, task: Task, put: Put, before: DocumentRecord | None) -> Plan:
        self._check(put)
        data = await self._stage("fetch", lambda: self.blobs.get(put.sha256), harmless=lambda: self.blobs.get(ABSENT))
        parsed = await self._stage(
            "parse",
            lambda: self.parser.parse(data, put.media_type),
            harmless=lambda: self.parser.parse(b"word", "text/plain"),
        )
        parsed, put = await self._stage("mask", lambda: self._masked(parsed, put))
        title = self.masking.text(title_of(put, parsed))
        chunks = await self._stage(
            "chunk",
            lambda: chunk(parsed, self.rules, self.embedder.tokenize, title=title),
            harmless=lambda: self.embedder.tokenize(["word"]),
        )
        known: Mapping[str, NDArray[np.float32]] = {}
        if before is not None and before.state is DocumentState.INDEXED:
            known = await self.attempts.patient(
                lambda: self.store.known_vectors(self.collection, task.scope, put.document.id)
            )
        digests = tuple(ids.text_digest(each.embedded) for each in chunks)
        return Plan(
            task,
            before,
            title=title,
            metadata=put.metadata,
            chunks=tuple(chunks),
            digests=digests,
            known=known,
        )

    async def _stage(
        self,
        name: str,
        operation: Callable[[], Awaitable[Result]],
        *,
        harmless: Callable[[], Awaitable[object]] | None = None,
    ) -> Result:
        """The result of one stage. Raises `_NotNow` where the world fails this document and answers `harmless`."""

        async def run() -> Result:
            self.failpoint(name)
            return await operation()

        try:
            with self.metrics.stage(name):
                return await self.attempts.judged(run, harmless or _nothing)
        except DependencyError as error:
            raise _NotNow(Again.after(name, error)) from error

    async def _masked(self, parsed: ParsedDocument, put: Put) -> tuple[ParsedDocument, Put]:
        """The document, and its message's title and metadata, without what must not reach the index."""
        masking = self.masking
        if not masking:
            return parsed, put
        large = len(parsed.text) > THREAD_CHARACTERS
        masked = await asyncio.to_thread(masking.document, parsed) if large else masking.document(parsed)
        change = {"title": masking.text(put.title), "metadata": masking.metadata(put.metadata)}
        return masked, put.model_copy(update=change)

    def _check(self, put: Put) -> None:
        """Refuse what the settings of today leave out, before its bytes are fetched: the message may be an old one."""
        family = put.media_type.partition("/")[0] + "/*"
        if put.media_type not in self.parsing.media_types and family not in self.parsing.media_types:
            raise DocumentError(
                f"{put.media_type} is not in spec.parsing.mediaTypes; add it there, or exclude the document",
                stage="fetch",
                reason="MediaTypeNotAccepted",
            )
        if put.size > self.parsing.max_document_bytes:
            raise DocumentError(
                f"it has {put.size} bytes, the limit is {self.parsing.max_document_bytes}; "
                "raise spec.parsing.maxDocumentBytes or exclude it",
                stage="fetch",
                reason="TooLarge",
            )


def of_task(name: str, task: Task) -> AbstractContextManager[object]:
    """Work on one task, as span `name` of its document's trace."""
    return of_document(
        name,
        task.message.document,
        partition=task.position.partition,
        offset=task.position.offset,
        traceparent=task.traceparent,
    )


class _NotNow(Exception):
    """The document has to come back."""

    def __init__(self, again: Again) -> None:
        super().__init__(again.detail)
        self.again = again


async def _nothing() -> None:
    """Answer: a stage that asks nobody cannot find anybody away."""


def title_of(put: Put, parsed: ParsedDocument) -> str:
    """What the source says, else what the document says, else the last part of its uri without its suffix."""
    name = put.document.uri.rstrip("/").rpartition("/")[2]
    stem = name.rpartition(".")[0] or name
    return (put.title or parsed.title or " ".join(stem.replace("_", " ").replace("-", " ").split()))[:MAX_TITLE]


def unexpected(stage: str, error: Exception) -> Fault:
    """A defect of ours as a fault. Only the kind of the error is told: its text may quote the document."""
    trace, where = error.__traceback__, "unknown place"
    while trace is not None:
        where = f"{trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    logger.error("unexpected %s in stage %s at %s", type(error).__name__, stage, where)
    return Fault(stage, "InternalError", f"{type(error).__name__} at {where}; please report this")
