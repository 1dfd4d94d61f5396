"""Whether a worker's memory stays flat over a hundred thousand documents, with STUBS for the model and the store.

A store in the worker's process grows with what it holds, so that one is left out here which would hide anything else.
Log, blobs, parser process, chunker, caches and messages are real. Documents are short: what grows, grows by the
document. Resident memory of worker and parser after a fifth of the documents is compared with that at the end.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.ingest import running, site, throughput
from bench.ingest.running import Look
from bench.report import Aim, Goal
from lectern_contract.settings import WorkerSettings

SIZE = 200
"""Bytes of a document."""
EARLY = (0.20, 0.25)
LATE = (0.95, 1.0)
"""Which part of the documents was done when the memory is read, from and to."""
SECONDS_EACH = 0.05
GROWTH = Aim("memory-flat", "memory of the worker, growth from a fifth of the documents to the end", "<=", 0.05)
AIMS = (GROWTH,)


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes, median of each of two stretches, and the most; over so many documents."""

    early: float
    late: float
    most: int
    documents: int

    @property
    def growth(self) -> float:
        """Growth from the early stretch to the late one, as a share."""
        return self.late / self.early - 1

    def goals(self, seed: int) -> list[Goal]:
        """Return the goal."""
        mib = [value / (1 << 20) for value in (self.early, self.late, self.most)]
        said = f"{mib[0]:.0f} MiB and {mib[1]:.0f} MiB, most {mib[2]:.0f} MiB; stub model, a store that keeps nothing"
        return [GROWTH.measured(self.growth, n=self.documents, seed=seed, reason=said)]


def measure(directory: Path, texts: Sequence[bytes], count: int) -> Memory:
    """Return the memory of a worker that indexes `count` documents from the new data directory `directory`."""
    data = directory / "data"

    async def prepared() -> WorkerSettings:
        async with site.embedded(data) as place:
            await throughput.say(place, [text[:SIZE] for text in texts], count)
            cache = place.settings.embedding_cache
            few = cache.model_copy(update={"max_entries": min(cache.max_entries, count // 10)})
            return place.settings.model_copy(update={"embedding_cache": few})

    looks: list[Look] = []
    with running.worker(asyncio.run(prepared()), directory, data=data, forgetful=True) as worker:
        patience = throughput.LEAST_SECONDS + count * SECONDS_EACH
        worker.until(lambda look: look.indexed >= count, seconds=patience, seen=looks.append)
        time.sleep(running.LOOK_SECONDS)
        looks.append(worker.look())
    return of(looks, count)


def of(looks: Sequence[Look], count: int) -> Memory:
    """Return what the looks say; raises `WorkerStuck` when there was none in a stretch."""
    stretches = [
        [look.memory for look in looks if first * count <= look.indexed <= last * count]
        for first, last in (EARLY, LATE)
    ]
    if not all(stretches):
        raise running.WorkerStuck(f"nobody looked at the worker in time: {len(looks)} looks at {count} documents")
    early, late = (float(statistics.median(each)) for each in stretches)
    return Memory(early, late, max(look.memory for look in looks), count)
