"""The target `bench-ingest`: the goals of ingestion with their bounds. QUICK=1 takes fewer of everything.

Parts run one after another, because they would disturb each other; a part that cannot be measured leaves its goals
unmet, with the reason. What each figure means is in docs/reference/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench import data, embedding_server, ingestion, parsing, report, vector_cache
from bench.data import DataMissing
from bench.ingest import chunking, documents, freshness, history, memory, poison, site, throughput
from bench.ingest.freshness import NeverSeen
from bench.ingest.running import WorkerStuck
from bench.ingest.site import Servers
from bench.ingestion import IngestionIncomplete
from bench.report import Aim, Goal
from e2e.testbed.errors import ComponentError
from e2e.testbed.kafka import kafka
from e2e.testbed.qdrant_double import qdrant_double
from lectern_contract.errors import LecternError
from lectern_runtime.adapters.onnx import OnnxMiniLm

TARGET = "bench-ingest"
SEED = 20261121
EXPECTED = (ComponentError, DataMissing, IngestionIncomplete, LecternError, NeverSeen, WorkerStuck)
"""What makes a part's goals unmet; anything else is a defect of the benchmark and ends it."""


@dataclass(frozen=True)
class Size:
    """How much is measured; `history_pages` None means all."""

    documents: int
    memory_documents: int
    pages: int
    rounds: int
    history_pages: int | None
    healthy: int
    poison_rounds: int
    fresh_seconds: float


WHOLE = Size(
    documents=3000,
    memory_documents=100_000,
    pages=30,
    rounds=3,
    history_pages=None,
    healthy=1500,
    poison_rounds=3,
    fresh_seconds=60.0,
)
QUICK = Size(
    documents=600,
    memory_documents=8_000,
    pages=10,
    rounds=1,
    history_pages=80,
    healthy=400,
    poison_rounds=1,
    fresh_seconds=15.0,
)


@dataclass
class Bench:
    """What the parts share: how much to measure, the test data once it was read, and what is told beside the goals."""

    size: Size
    environ: Mapping[str, str]
    figures: dict[str, object] = field(default_factory=dict)
    capacity: float | None = None
    """Documents a second on the wall through Kafka and the double, once they were measured."""

    @property
    def quick(self) -> bool:
        """Whether this is the sample."""
        return self.size is QUICK

    @cached_property
    def root(self) -> Path:
        """Directory of the test data; raises DataMissing."""
        return data.directory(self.environ)

    @cached_property
    def texts(self) -> Sequence[bytes]:
        """Texts of 1 kB."""
        return documents.texts(self.root, seed=SEED)

    # -------------------------------------------------------------------------------------- parts

    def throughput(self) -> list[Goal]:
        """Measure documents a second on both kinds of adapters."""
        bare = throughput.floor(site.embedded_settings(), self.texts)
        with _directory() as place:
            embedded = throughput.embedded(place, self.texts, self.size.documents)
        with _servers() as servers:
            cluster = throughput.cluster(servers, "throughput", self.texts, self.size.documents)
        self.capacity = cluster.a_second
        return [
            throughput.goal(aim, rate, bare, SEED)
            for aim, rate in zip(throughput.AIMS, (embedded, cluster), strict=True)
        ]

    def memory(self) -> list[Goal]:
        """Measure whether memory stays flat."""
        with _directory() as place:
            return memory.measure(place, self.texts, self.size.memory_documents).goals(SEED)

    def overhead(self) -> list[Goal]:
        """Measure what ingestion costs besides the real model."""
        with _directory() as place:
            found = data.unpack_pages(self.root, place, pages=self.size.pages, seed=SEED)
            return asyncio.run(self._overhead(found, place))

    async def _overhead(self, found: Sequence[Path], place: Path) -> list[Goal]:
        embedder = OnnxMiniLm.open()
        try:
            return (await ingestion.measure(found, place, embedder, rounds=self.size.rounds)).goals(SEED)
        finally:
            await embedder.close()

    def history(self) -> list[Goal]:
        """Measure the second pass and the changes, by files and by commits."""
        with _directory() as place:
            files = history.by_directory(self.root, place, most=self.size.history_pages)
        with _directory() as place:
            commits = history.by_commits(self.root, place, most=self.size.history_pages)
        return files.goals() + commits.of_changes(history.GIT_EQUAL, history.GIT_EMBEDDED)

    def chunking(self) -> list[Goal]:
        """Measure what the chunkers are worth to retrieval."""
        where = vector_cache.directory(self.environ)
        goals, told = asyncio.run(chunking.measure(self.root, where, say, quick=self.quick))
        self.figures |= told
        return goals

    def parsing(self) -> list[Goal]:
        """Measure recall, isolation, hostile files and bombs."""
        goals, told = parsing.goals(self.environ)
        self.figures |= told
        return goals

    def embedding_server(self) -> list[Goal]:
        """Measure `lectern serve-embeddings` against a bare loop."""
        with embedding_server.server() as (url, process):
            found = asyncio.run(embedding_server.measure(url, process))
        self.figures |= found.told()
        return found.goals()

    def poison(self) -> list[Goal]:
        """Measure B4."""
        with _servers() as servers:
            size = self.size
            found = poison.measure(servers, self.texts, healthy=size.healthy, rounds=size.poison_rounds)
        return found.goals(SEED)

    def freshness(self) -> list[Goal]:
        """Measure B6 at half of the capacity, which is measured first where it was not."""
        with _servers() as servers:
            whole = self.capacity or throughput.cluster(servers, "capacity", self.texts, QUICK.documents).a_second
            found = freshness.measure(servers, self.texts, rate=whole / 2, seconds=self.size.fresh_seconds)
        return found.goals()


Part = tuple[Sequence[Aim], Callable[[Bench], list[Goal]]]
PARTS: Mapping[str, Part] = {
    "throughput": (throughput.AIMS, Bench.throughput),
    "memory": (memory.AIMS, Bench.memory),
    "overhead": (ingestion.AIMS, Bench.overhead),
    "history": (history.AIMS, Bench.history),
    "chunking": (chunking.AIMS, Bench.chunking),
    "parsing": (parsing.AIMS, Bench.parsing),
    "embedding-server": (embedding_server.AIMS, Bench.embedding_server),
    "B4": (poison.AIMS, Bench.poison),
    "B6": (freshness.AIMS, Bench.freshness),
}


def chosen(arguments: Sequence[str]) -> list[str]:
    """Return which parts are wanted, in their order; ends the program for a name that there is not."""
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    asked = set(parser.parse_args(arguments).parts)
    if unknown := asked - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    return [name for name in PARTS if not asked or name in asked]


def attempt(name: str, bench: Bench) -> list[Goal]:
    """Return what a part measured, or its aims as not measured with the sentence of the error that ended it."""
    say(f"{TARGET}: {name}, load average {os.getloadavg()[0]:.1f}")
    aims, part = PARTS[name]
    try:
        return part(bench)
    except EXPECTED as error:
        reason = str(error).partition("\n")[0]  # the rest is the end of a log
        say(f"  not measured: {error}")
        return [aim.unmeasured(reason) for aim in aims]


def say(line: str) -> None:
    """Print a line at once: a part takes minutes."""
    print(line, flush=True)


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lectern-bench-") as name:
        yield Path(name)


@contextmanager
def _servers() -> Iterator[Servers]:
    """A real Kafka and a double of Qdrant, new ones, so that no part finds what another left."""
    with _directory() as place, kafka() as broker, qdrant_double(place / "qdrant") as store:
        yield Servers(broker.bootstrap, store.url, place)


def main(arguments: Sequence[str]) -> int:
    """Measure what is asked for and report; return 0 when every goal is met."""
    quick = report.is_quick(os.environ)
    wanted = chosen(arguments)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that comes up is no news
    machine = report.machine((*report.PACKAGES, *parsing.LIBRARIES, "aiokafka", "qdrant-client"))
    bench = Bench(QUICK if quick else WHOLE, os.environ)
    goals = [goal for name in wanted for goal in attempt(name, bench)]
    return report.finish(
        report.Report(target=TARGET, goals=tuple(goals), machine=machine, quick=quick, figures=bench.figures)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
