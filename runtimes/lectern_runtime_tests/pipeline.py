"""The pipeline of one knowledge base on real embedded adapters, with a stub embedder that says that it is one.

Tests of connector and worker write files, run both, and read the store's whole content back.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lectern_contract import ids, messages, names, settings
from lectern_contract.messages import DeadLetter, DocumentEvent, Envelope
from lectern_contract.names import Topic
from lectern_contract.payload import DocumentRecord, DocumentState
from lectern_contract.reports import RunMode, RunReport
from lectern_contract.scope import Partition, Scope
from lectern_contract.source_settings import DirectorySource
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.adapters.directory import DirectoryBlobs
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.adapters.run_scratch import RunScratch
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.embed import parse
from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.worker import Worker
from lectern_runtime.embed.write import Done
from lectern_runtime.errors import InputTooLong
from lectern_runtime.failpoints import Failpoint, no_failpoint
from lectern_runtime.ingest.run import run
from lectern_runtime.ports import (
    BlobStore,
    EmbedderInfo,
    Log,
    OutgoingRecord,
    Record,
    SearchRequest,
    Vectors,
    VectorStore,
)

DIMENSIONS = 16
LEVELS = ("public", "internal")
COLLECTION = names.collection("ns", "kb", 1)
_TOKEN = re.compile(r"\w{1,6}|[^\w\s]")


class StubEmbedder:
    """No model: vectors are digests of the text, tokens are pieces of words of at most six letters."""

    def __init__(self, *, max_input_tokens: int = 64) -> None:
        self.embedded: list[str] = []
        self.calls = 0
        self._limit = max_input_tokens

    async def info(self) -> EmbedderInfo:
        return EmbedderInfo("stub", "1", DIMENSIONS, self._limit, 32, 32 * self._limit)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.calls += 1
        for index, text in enumerate(texts):
            count = len(_TOKEN.findall(text)) + 2
            if count > self._limit:
                raise InputTooLong(index=index, tokens=count, limit=self._limit)
        self.embedded.extend(texts)
        rows = [np.frombuffer(hashlib.sha512(text.encode()).digest()[:DIMENSIONS], np.uint8) for text in texts]
        table = np.array(rows, np.float32).reshape(len(texts), DIMENSIONS) + 1
        return np.asarray(table / np.linalg.norm(table, axis=1, keepdims=True), np.float32)

    async def tokenize(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        return [[match.span() for match in _TOKEN.finditer(text)] for text in texts]

    async def close(self) -> None:
        """Nothing to release."""


class InlineParser:
    """The parsers without the sandbox, for tests that are not about it."""

    async def parse(self, data: bytes, media_type: str) -> ParsedDocument:
        return parse.parse(data, media_type)


def connector_settings(root: Path, **changes: Any) -> settings.ConnectorSettings:
    given: dict[str, Any] = {
        "namespace": "ns",
        "name": "files",
        "knowledge_base": "kb",
        "source": DirectorySource(root=str(root), path=""),
        "include": ("**",),
        "exclude": (),
        "partition": settings.PartitionSettings(tenant="acme", access_level="public"),
        "requests_per_second": 10_000.0,
        "restricted_access_level": None,
        "partition_rules": (),
        "access_levels": LEVELS,
        "metadata": {},
        "prune": True,
        "media_types": ("text/markdown", "text/html", "text/plain"),
        "max_document_bytes": 1 << 20,
        "tracing": None,
        "log": settings.EmbeddedLog(),
        "blobs": settings.DirectoryBlobs(),
    }
    return settings.ConnectorSettings(**{**given, **changes})


def worker_settings(**changes: Any) -> settings.WorkerSettings:
    given: dict[str, Any] = {
        "namespace": "ns",
        "knowledge_base": "kb",
        "generation": 1,
        "index_identity": "0123456789abcdef",
        "embedder": settings.EmbedderSettings(
            model="stub",
            revision="1",
            dimensions=DIMENSIONS,
            max_input_tokens=64,
            query_prefix="",
            document_prefix="",
            source=settings.InProcessModel(),
        ),
        "sparse_language": "en",
        "chunking": settings.ChunkingSettings(strategy="Recursive", size=32, overlap=4),
        "parsing": settings.ParsingSettings(
            media_types=("text/markdown", "text/html", "text/plain"),
            max_document_bytes=1 << 20,
            timeout_seconds=10,
            ocr_languages=(),
        ),
        "masking": (),
        "embedding_cache": settings.EmbeddingCacheSettings(max_entries=0, ttl_seconds=60, redis=None),
        "max_attempts": 3,
        "tracing": None,
        "log": settings.EmbeddedLog(),
        "blobs": settings.DirectoryBlobs(),
        "store": settings.EmbeddedStore(),
    }
    return settings.WorkerSettings(**{**given, **changes})


@dataclass
class Pipeline:
    """Everything of one knowledge base; adapters can be replaced by ones that misbehave."""

    log: Log
    blobs: BlobStore
    store: VectorStore
    source: Path
    embedder: StubEmbedder = field(default_factory=StubEmbedder)
    done: list[Done] = field(default_factory=list)
    late: float = 3600.0
    """The connector's clock is this far ahead, so that files written just now are not taken as still changing."""

    async def sync(self, mode: RunMode = RunMode.SYNC, **changes: Any) -> RunReport:
        """One run of the connector."""
        found = connector_settings(self.source, **changes)
        return await self.run(found, mode=mode)

    async def run(self, found: settings.ConnectorSettings, **parts: Any) -> RunReport:
        """One run of the connector with parts of its own."""
        given: dict[str, Any] = {
            "log": self.log,
            "blobs": self.blobs,
            "scratch": RunScratch.open,
            "clock": lambda: clock() + self.late,
        }
        return await run(found, **{**given, **parts})

    def worker(self, *, settings: settings.WorkerSettings | None = None, **parts: Any) -> Worker:
        given: dict[str, Any] = {
            "log": self.log,
            "blobs": self.blobs,
            "store": self.store,
            "embedder": self.embedder,
            "parser": InlineParser(),
            "on_progress": self.done.append,
            "sleep": _at_once,
            "monotonic": hurried,
        }
        return Worker(settings or worker_settings(), **{**given, **parts})

    async def index(self, **parts: Any) -> None:
        """Let a worker do all that is in the topic."""
        worker = self.worker(**parts)
        await worker.ensure()
        await worker.run(asyncio.Event(), until_caught_up=True)

    async def publish(self, *bodies: messages.Put | messages.Deleted) -> list[Record]:
        """Put messages on the documents topic as a connector would, and return them as they will be read."""
        found = []
        for number, body in enumerate(bodies):
            envelope = Envelope(id=str(number), source="test", time="2026-11-21T00:00:00Z", data=body)
            found.append(await self.publish_raw(envelope.key, messages.encode(envelope)))
        return found

    async def publish_raw(self, key: str, value: bytes) -> Record:
        (place,) = await self.log.publish(names.topic("ns", "kb", Topic.DOCUMENTS), [OutgoingRecord(key, value)])
        return Record(place, key, value, 0)

    async def put(self, uri: str, text: str | bytes, *, media_type: str = "text/markdown", **more: Any) -> messages.Put:
        """A message about bytes that are stored."""
        data = text.encode() if isinstance(text, str) else text
        sha = await self.blobs.put(data)
        return messages.Put(document=reference(uri), sha256=sha, size=len(data), media_type=media_type, **more)

    async def read(self, topic: Topic) -> list[Envelope]:
        """Everything on a topic."""
        consumer = await self.log.subscribe(names.topic("ns", "kb", topic), group=f"test-{ids.content_digest(b'')[:8]}")
        found: list[Envelope] = []
        while records := await consumer.poll(max_records=500, timeout_seconds=0):
            found.extend(messages.decode(record.value) for record in records)
        await consumer.close()
        return found

    async def events(self) -> list[tuple[str, str]]:
        """What the events topic says, as (uri, change)."""
        bodies = [envelope.data for envelope in await self.read(Topic.EVENTS)]
        return [(body.document.uri, body.change.value) for body in bodies if isinstance(body, DocumentEvent)]

    async def dead_letters(self) -> list[DeadLetter]:
        """What the dead letters topic holds."""
        bodies = [envelope.data for envelope in await self.read(Topic.DEAD_LETTERS)]
        return [body for body in bodies if isinstance(body, DeadLetter)]

    async def records(self) -> dict[str, DocumentRecord]:
        """All document records, by partition and uri."""
        found = {}
        for level in LEVELS:
            scope = Scope.of_writer(Partition("acme", level))
            for record in await self.store.list_records("ns.kb.g1", scope, after=None, limit=1_000):
                found[f"{level}:{record.uri}"] = record
        return found

    async def content(self) -> dict[str, tuple[str, ...]]:
        """Texts of all chunks that a search can return, by partition and uri, in order."""
        return {place: tuple(text for _, _, text in chunks) for place, chunks in (await self.points()).items()}

    async def points(self) -> dict[str, tuple[tuple[int, str, str], ...]]:
        """All that a search can return: (number, digest of the embedded text, text), by partition and uri."""
        found: dict[str, list[tuple[int, str, str]]] = {}
        query = np.full(DIMENSIONS, DIMENSIONS**-0.5, np.float32)
        for level in LEVELS:
            scope = Scope.of_writer(Partition("acme", level))
            request = SearchRequest("Dense", query, None, 1_000, 1_000, 60, 1.0)
            for hit in await self.store.search("ns.kb.g1", scope, request):
                each = hit.payload
                found.setdefault(f"{level}:{each.uri}", []).append((each.number, each.text_digest, each.text))
        return {place: tuple(sorted(chunks)) for place, chunks in found.items()}


def clock() -> float:
    return time.time()


def hurried() -> float:
    """Seconds that pass a hundred times as fast, so that what is parked is soon due."""
    return 100 * time.monotonic()


async def _at_once(_seconds: float) -> None:
    """Waiting for a retry takes no time in tests."""
    await asyncio.sleep(0)


def reference(uri: str, *, level: str = "public") -> messages.DocumentRef:
    return messages.DocumentRef(
        namespace="ns", knowledge_base="kb", tenant="acme", access_level=level, source="files", uri=uri
    )


@asynccontextmanager
async def pipeline(
    root: Path, source: Path | None = None, *, failpoint: Failpoint = no_failpoint
) -> AsyncIterator[Pipeline]:
    """A pipeline with its data in `root`/data and its source in `root`/source."""
    where = source or root / "source"
    where.mkdir(parents=True, exist_ok=True)
    with DataDirectory.open(root / "data", created_by="test") as data:
        log = await SqliteLog.open(data.log_path)
        blobs = await DirectoryBlobs.open(data.blobs_path)
        store = await EdgeStore.open(data.store_path, failpoint=failpoint)
        try:
            yield Pipeline(log, blobs, store, where)
        finally:
            await store.close()
            await blobs.close()
            await log.close()


INDEXED, DELETED, FAILED = DocumentState.INDEXED, DocumentState.DELETED, DocumentState.FAILED
