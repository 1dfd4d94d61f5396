"""How many documents of 1 kB a worker indexes, by the second and by the second of a processor, with a STUB embedder.

The worker is a process of its own, on the adapters of the embedded mode and on a real Kafka with a double of Qdrant.
Everything lies in the log before it starts; the clock runs from a tenth of the documents to the last one, so that
neither start nor first connections count. The floor is the work without which no worker could do: `Floor`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.ingest import documents, running, site
from bench.ingest.running import Look, RunningWorker, WorkerStuck
from bench.ingest.site import Servers, Site
from bench.ingest.stub_embedder import StubEmbedder
from bench.report import Aim, Goal
from lectern_contract.settings import WorkerSettings
from lectern_runtime.embed import parse
from lectern_runtime.embed.chunk import ChunkRules, chunk
from lectern_runtime.sparse import SparseEncoder

BOUND = 100.0
EMBEDDED = Aim("throughput-embedded", "1 kB documents a CPU second, stub model, SQLite log and Edge", ">=", BOUND, "/s")
CLUSTER = Aim(
    "throughput-cluster", "1 kB documents a CPU second, stub model, Kafka and Qdrant double", ">=", BOUND, "/s"
)
AIMS = (EMBEDDED, CLUSTER)
LEAD_IN = 0.1
SECONDS_EACH = 0.2
"""A worker that needs more for a document is stuck."""
LEAST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Rate:
    """Documents between two looks, and what they took: seconds on the wall and of processors."""

    documents: int
    wall: float
    cpu: float

    @property
    def a_second(self) -> float:
        """Documents a second on the wall."""
        return self.documents / self.wall

    @property
    def a_cpu_second(self) -> float:
        """Documents a second of one processor."""
        return self.documents / self.cpu


def between(first: Look, last: Look) -> Rate:
    """Return the rate from one look to a later one."""
    return Rate(last.indexed - first.indexed, last.time - first.time, last.cpu - first.cpu)


def rate_of(worker: RunningWorker, count: int) -> Rate:
    """Wait until a worker has indexed `count` documents and return its rate after the first tenth.

    Raises `WorkerStuck` when it is not done in time, or was done before anybody could look twice.
    """
    patience = LEAST_SECONDS + count * SECONDS_EACH
    first = worker.until(lambda look: look.indexed >= count * LEAD_IN, seconds=patience)
    last = worker.until(lambda look: look.indexed >= count, seconds=patience)
    if last.indexed == first.indexed:
        raise WorkerStuck(f"{count} documents were done between two looks; measure more of them")
    return between(first, last)


async def say(place: Site, texts: Sequence[bytes], count: int) -> None:
    """Hand `count` documents over, whose texts repeat."""
    stored = await documents.store(place.blobs, texts)
    said = (place.teller.put(documents.uri(number), stored[number % len(stored)]) for number in range(count))
    await place.teller.say(said, now=time.time())


def embedded(directory: Path, texts: Sequence[bytes], count: int) -> Rate:
    """Return the rate in the embedded mode, in the new data directory `directory`."""
    data = directory / "data"

    async def prepared() -> WorkerSettings:
        async with site.embedded(data) as place:
            await say(place, texts, count)
            return place.settings

    settings = asyncio.run(prepared())
    with running.worker(settings, directory, data=data) as worker:
        return rate_of(worker, count)


def cluster(servers: Servers, name: str, texts: Sequence[bytes], count: int) -> Rate:
    """Return the rate on a cluster, in the new knowledge base `name`."""

    async def prepared() -> Site:
        async with site.cluster(servers, name) as place:
            await say(place, texts, count)
            return place

    place = asyncio.run(prepared())
    with running.worker(place.settings, place.directory) as worker:
        return rate_of(worker, count)


def floor(settings: WorkerSettings, texts: Sequence[bytes]) -> float:
    """Return documents a CPU second of a bare loop: parse, cut, count terms, digest; no log, store or process."""

    async def loop() -> float:
        stub = StubEmbedder.open()
        sparse = SparseEncoder(settings.sparse_language or "en")
        cut = settings.chunking
        rules = ChunkRules(cut.strategy, cut.size, cut.overlap, settings.embedder.max_input_tokens, "")
        began = time.process_time()
        for number, text in enumerate(texts):
            chunks = await chunk(
                parse.parse(text, documents.MEDIA_TYPE), rules, stub.tokenize, title=documents.uri(number)
            )
            await stub.embed([each.embedded for each in chunks])
            for each in chunks:
                sparse.document(each.terms)
        return len(texts) / (time.process_time() - began)

    return asyncio.run(loop())


def goal(aim: Aim, rate: Rate, bare: float, seed: int) -> Goal:
    """Return one goal, judged by the processor's time."""
    return aim.measured(
        rate.a_cpu_second,
        floor=bare,
        ratio=rate.a_cpu_second / bare,
        n=rate.documents,
        seed=seed,
        reason=f"{rate.a_second:.0f} a second on the wall; the model is a stub with the real tokenizer",
    )
