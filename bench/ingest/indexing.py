"""One connector and one worker over a directory or a repository, in this process, on the embedded adapters.

The model is a STUB that counts what it is asked to embed; tokens, log, blobs, parser process and store are real.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench import resources
from bench.ingest import equality
from bench.ingest.stub_embedder import StubEmbedder
from bench.ingestion import IngestionIncomplete, cpu_seconds
from lectern_contract import names, wiring
from lectern_contract.settings import ConnectorSettings, WorkerSettings
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.adapters.directory import DirectoryBlobs
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.adapters.run_scratch import RunScratch
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.embed.worker import Worker
from lectern_runtime.ingest import run as ingest
from lectern_runtime.ingest.connector import Connector, Means

LATER = 3600.0
"""How far the connector's clock is ahead: files written a moment ago are not taken as files that still change."""
REQUESTS_A_SECOND = 10_000.0
Opened = Callable[[ConnectorSettings, Means], Connector]


@dataclass(frozen=True, slots=True)
class Pass:
    """What one run of connector and worker did: documents, chunks, texts embedded, and seconds that it took."""

    published: int
    deleted: int
    chunks: int
    embedded: int
    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Index:
    """One data directory that is filled again and again from one source."""

    directory: Path
    connector: ConnectorSettings
    worker: WorkerSettings
    opened: Opened | None = None

    def run(self) -> Pass:
        """Let the connector look at its source and the worker do what there is; raises IngestionIncomplete."""
        return asyncio.run(self._run())

    def content(self) -> equality.Content:
        """Return everything that the index holds."""
        settings = self.worker
        collection = names.collection(settings.namespace, settings.knowledge_base, settings.generation)
        return equality.read(self.directory / "data" / "store", collection)

    async def _run(self) -> Pass:
        async with AsyncExitStack() as stack:
            data = stack.enter_context(DataDirectory.open(self.directory / "data", created_by="bench"))
            log = await SqliteLog.open(data.log_path)
            stack.push_async_callback(log.close)
            blobs = await DirectoryBlobs.open(data.blobs_path)
            stack.push_async_callback(blobs.close)
            store = await EdgeStore.open(data.store_path)
            stack.push_async_callback(store.close)
            stub = StubEmbedder.open()
            stack.push_async_callback(stub.close)
            worker = Worker(self.worker, log=log, blobs=blobs, store=store, embedder=stub)
            await worker.ensure()

            wall, cpu = time.perf_counter(), cpu_seconds()
            source = self.opened(self.connector, Means(_later, _unthrottled)) if self.opened else None
            report = await ingest.run(
                self.connector, log=log, blobs=blobs, scratch=RunScratch.open, clock=_later, source=source
            )
            if source is not None:
                await source.close()
            await worker.run(asyncio.Event(), until_caught_up=True)
            wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
            info = await store.describe(worker.collection)
        if report.result != "Succeeded" or info is None:
            raise IngestionIncomplete(f"a run of the connector ended as {report.result}: {report.message}")
        return Pass(report.published, report.deleted, info.chunks, stub.texts, wall, cpu)


def index(directory: Path, source: Path) -> Index:
    """Return an index of the files below `source`, as shipped but for its embedding cache, which is left out.

    With a cache the counts of embedded texts would say what it holds, not what the index knows.
    """
    kb = resources.knowledge_base()
    connector = wiring.connector_settings(resources.source(), kb, source_root=str(source))
    worker = wiring.worker_settings(kb, generation=1)
    without = worker.embedding_cache.model_copy(update={"max_entries": 0})
    return Index(
        directory,
        connector.model_copy(update={"requests_per_second": REQUESTS_A_SECOND}),
        worker.model_copy(update={"embedding_cache": without}),
    )


def from_repository(whole: Index, connector: ConnectorSettings, opened: Opened) -> Index:
    """Return the index with another connector."""
    return replace(whole, connector=connector, opened=opened)


def _later() -> float:
    return time.time() + LATER


async def _unthrottled() -> None:
    """Do not wait: the source is on this machine."""
