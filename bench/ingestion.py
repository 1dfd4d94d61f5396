"""Measures what ingestion costs besides embedding: real pages through the connector, the log, the worker and the store.

Each round ingests the pages twice into new data directories: once as shipped, once with an embedder that gives the
vectors of the first time at once. The second is all work but the model's. `bench.skeleton` reports the result.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import resources
from bench.report import Aim, Goal
from lectern_contract import wiring
from lectern_contract.payload import DocumentState
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.adapters.directory import DirectoryBlobs
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.adapters.run_scratch import RunScratch
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.embed.worker import Worker
from lectern_runtime.ingest import run as ingest
from lectern_runtime.ports import Embedder, EmbedderInfo, Vectors

BOUND = 0.10
WALL = Aim("ingestion-rest", "ingestion, share of time with no call to the model open", "<=", BOUND)
CPU = Aim("ingestion-rest-cpu", "ingestion, share of CPU time that is not the model's", "<=", BOUND)
AIMS = (WALL, CPU)


class IngestionIncomplete(Exception):
    """A round did not index every page, so that its time means nothing."""


@dataclass(frozen=True)
class Spent:
    """Seconds of one ingestion: on the wall, of CPU (parser process included), and with a call to the model open."""

    wall: float
    cpu: float
    embedding: float
    chunks: int


@dataclass(frozen=True)
class Round:
    """One ingestion as shipped, and one with the vectors at hand."""

    whole: Spent
    rest: Spent

    @property
    def wall_share(self) -> float:
        """Share of the time in which no call to the model was open."""
        return (self.whole.wall - self.whole.embedding) / self.whole.wall

    @property
    def cpu_share(self) -> float:
        """Share of the CPU time that is spent without the model."""
        return self.rest.cpu / self.whole.cpu


@dataclass(frozen=True)
class Ingestion:
    """All rounds over the same pages."""

    rounds: tuple[Round, ...]
    pages: int
    size: int

    def goals(self, seed: int) -> list[Goal]:
        """Return one goal for time and one for CPU time."""
        rounds = self.rounds
        wall = statistics.median(each.whole.wall for each in rounds)
        cpu = statistics.median(each.whole.cpu for each in rounds)
        alone = statistics.median(each.rest.wall for each in rounds)
        n = self.pages * len(rounds)
        whole = (
            f"{len(rounds)} rounds of {self.pages} pages, {self.size // 1024} KiB, {rounds[0].whole.chunks} chunks, "
            f"{wall:.1f} s each"
        )
        rest = f"{cpu:.1f} CPU s each; with vectors at hand {alone:.1f} s on the wall"
        return [
            WALL.measured(statistics.median(each.wall_share for each in rounds), n=n, seed=seed, reason=whole),
            CPU.measured(statistics.median(each.cpu_share for each in rounds), n=n, seed=seed, reason=rest),
        ]


@dataclass
class Watched:
    """An `Embedder` that notes when calls are open and which vector each text got."""

    inner: Embedder
    known: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    open_seconds: float = 0.0
    _open: int = 0
    _since: float = 0.0

    async def info(self) -> EmbedderInfo:
        """Pass on."""
        return await self.inner.info()

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Pass on; overlapping calls count once."""
        if self._open == 0:
            self._since = time.perf_counter()
        self._open += 1
        try:
            vectors = await self.inner.embed(texts)
        finally:
            self._open -= 1
            if self._open == 0:
                self.open_seconds += time.perf_counter() - self._since
        self.known.update(zip(texts, vectors, strict=True))
        return vectors

    async def tokenize(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        """Pass on: counting tokens is cutting, not embedding."""
        return await self.inner.tokenize(texts)

    async def close(self) -> None:
        """Leave the inner one open; it belongs to whoever made it."""


@dataclass
class Remembering(Watched):
    """An `Embedder` that only looks vectors up."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors that these texts got before; a text that got none is an error of the benchmark."""
        return np.stack([self.known[text] for text in texts])


async def measure(pages: Sequence[Path], folder: Path, embedder: Embedder, *, rounds: int) -> Ingestion:
    """Return the cost of `rounds` rounds over the `pages` below `folder`."""
    done = []
    for _ in range(rounds):
        watched = Watched(embedder)
        whole = await _ingest(folder, watched, len(pages))
        rest = await _ingest(folder, Remembering(embedder, watched.known), len(pages))
        if rest.chunks != whole.chunks:
            raise IngestionIncomplete(f"the same pages gave {whole.chunks} chunks and then {rest.chunks}")
        done.append(Round(whole, rest))
    return Ingestion(tuple(done), len(pages), sum(page.stat().st_size for page in pages))


async def _ingest(folder: Path, embedder: Watched, pages: int) -> Spent:
    """One ingestion into a new data directory; making that and the empty collection is not counted."""
    kb = resources.knowledge_base()
    connector = wiring.connector_settings(resources.source(), kb, source_root=str(folder))
    async with AsyncExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lectern-bench-")))
        data = stack.enter_context(DataDirectory.open(root / "data", created_by="bench"))
        log = await SqliteLog.open(data.log_path)
        stack.push_async_callback(log.close)
        blobs = await DirectoryBlobs.open(data.blobs_path)
        stack.push_async_callback(blobs.close)
        store = await EdgeStore.open(data.store_path)
        stack.push_async_callback(store.close)
        settings = wiring.worker_settings(kb, generation=1)
        worker = Worker(settings, log=log, blobs=blobs, store=store, embedder=embedder)
        await worker.ensure()

        wall, cpu = time.perf_counter(), cpu_seconds()
        report = await ingest.run(connector, log=log, blobs=blobs, scratch=RunScratch.open)
        await worker.run(asyncio.Event(), until_caught_up=True)
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu

        counts = await store.count_documents(worker.collection)
        info = await store.describe(worker.collection)
        if report.published != pages or counts[DocumentState.INDEXED] != pages or info is None:
            raise IngestionIncomplete(f"{pages} pages, {report.published} published ({report.message}), now {counts}")
        return Spent(wall, cpu, embedder.open_seconds, info.chunks)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, all its threads, and its children that have ended (the parser has)."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)
