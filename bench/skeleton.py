"""Measures the goals of the embedded mode, each beside its floor: `make bench-skeleton`.

Runs the parts one after another, because they would disturb each other, and reports what they found; a part that
cannot be measured leaves its goals unmet, with the reason. What each figure means is in docs/reference/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench import (
    data,
    embedding,
    ingestion,
    query_latency,
    report,
    retrieval_quality,
    startup,
    vector_cache,
    wiki_index,
)
from bench.data import DataMissing, RetrievalSet
from bench.ingestion import IngestionIncomplete
from bench.processes import NotStarted
from bench.query_latency import QueryFailed
from bench.report import Aim, Goal, Report
from lectern_contract.errors import LecternError
from lectern_runtime.adapters.onnx import OnnxMiniLm
from lectern_runtime.ports import Vectors

TARGET = "bench-skeleton"
SEED = 20261121
EXPECTED = (DataMissing, IngestionIncomplete, LecternError, NotStarted, QueryFailed)
"""What makes a part's goals unmet; anything else is a defect of the benchmark and ends it."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    starts: int
    embedded: int
    embedding_rounds: int
    pages: int
    ingestion_rounds: int
    questions: int
    pages_fed: int
    paragraphs: int | None = None
    """Size of the sample of wiki-a; None means the whole corpus with all its questions."""


WHOLE = Size(starts=7, embedded=128, embedding_rounds=7, pages=30, ingestion_rounds=3, questions=600, pages_fed=40)
QUICK = Size(
    starts=3,
    embedded=48,
    embedding_rounds=3,
    pages=16,
    ingestion_rounds=1,
    questions=200,
    pages_fed=8,
    paragraphs=2000,
)


@dataclass
class Bench:
    """What the parts share: how much to measure, the test data once it was read, and what is told beside the goals."""

    size: Size
    environ: Mapping[str, str]
    figures: dict[str, object] = field(default_factory=dict)

    @cached_property
    def root(self) -> Path:
        """Directory of the test data; raises DataMissing."""
        return data.directory(self.environ)

    @cached_property
    def corpus(self) -> RetrievalSet:
        """wiki-a, or the sample of it."""
        whole = data.read_wiki(self.root)
        if self.size.paragraphs is None:
            return whole
        questions = self.size.questions + query_latency.WARM_UP
        return data.sample(whole, paragraphs=self.size.paragraphs, questions=questions, seed=SEED)

    @cached_property
    def vectors(self) -> Vectors:
        """One vector for each paragraph of `corpus`."""
        return asyncio.run(self._vectors())

    async def _vectors(self) -> Vectors:
        embedder = OnnxMiniLm.open()
        try:
            texts, cut = await wiki_index.embeddable(self.corpus.paragraphs, embedder)
            self.figures["paragraphs longer than the model reads"] = f"{cut} of {len(texts)}, cut for their vectors"
            return await vector_cache.vectors(texts, embedder, vector_cache.directory(self.environ), say)
        finally:
            await embedder.close()

    # -------------------------------------------------------------------------------------- parts

    def startup(self) -> list[Goal]:
        """Measure starts and memory on the quickstart."""
        return startup.measure(rounds=self.size.starts).goals()

    def embedding(self) -> list[Goal]:
        """Measure the embedder against its bare loop."""
        return asyncio.run(self._embedding())

    async def _embedding(self) -> list[Goal]:
        embedder = OnnxMiniLm.open()
        try:
            chosen = random.Random(SEED).sample(self.corpus.paragraphs, self.size.embedded)
            texts, _ = await wiki_index.embeddable(chosen, embedder)
            return (await embedding.measure(texts, embedder, rounds=self.size.embedding_rounds)).goals(SEED)
        finally:
            await embedder.close()

    def ingestion(self) -> list[Goal]:
        """Measure what ingestion costs besides the model."""
        with tempfile.TemporaryDirectory(prefix="lectern-bench-") as directory:
            pages = data.unpack_pages(self.root, Path(directory), pages=self.size.pages, seed=SEED)
            return asyncio.run(self._ingestion(pages, Path(directory)))

    async def _ingestion(self, pages: Sequence[Path], folder: Path) -> list[Goal]:
        embedder = OnnxMiniLm.open()
        try:
            return (await ingestion.measure(pages, folder, embedder, rounds=self.size.ingestion_rounds)).goals(SEED)
        finally:
            await embedder.close()

    def quality(self) -> list[Goal]:
        """Measure how well passages are found."""
        return asyncio.run(self._quality(self.vectors))

    async def _quality(self, vectors: Vectors) -> list[Goal]:
        embedder = OnnxMiniLm.open()
        try:
            found = await retrieval_quality.measure(self.corpus, vectors, embedder)
        finally:
            await embedder.close()
        self.figures |= found.told()
        return found.goals(None if self.size.paragraphs is None else SEED)

    def latency(self) -> list[Goal]:
        """Measure queries over HTTP, and memory with many chunks."""
        found = query_latency.measure(
            self.corpus,
            self.vectors,
            self.root,
            questions=self.size.questions,
            pages=self.size.pages_fed,
            seed=SEED,
        )
        self.figures |= found.told()
        return found.goals(SEED)


def say(line: str) -> None:
    """Print a line at once: a part takes minutes."""
    print(line, flush=True)


def attempt(name: str, aims: Sequence[Aim], part: Callable[[], list[Goal]]) -> list[Goal]:
    """Return what the part measured, or its aims as not measured with the sentence of the error that ended it."""
    say(f"{TARGET}: {name}")
    try:
        return part()
    except EXPECTED as error:
        say(f"  not measured: {error}")
        return [aim.unmeasured(str(error)) for aim in aims]


def run(size: Size, environ: Mapping[str, str]) -> tuple[list[Goal], dict[str, object]]:
    """Return the goals of all parts and what was measured beside them."""
    bench = Bench(size, environ)
    goals = [
        *attempt("starts and memory of the quickstart", startup.AIMS, bench.startup),
        *attempt("embedding against a bare loop", embedding.AIMS, bench.embedding),
        *attempt("ingestion besides embedding", ingestion.AIMS, bench.ingestion),
        *attempt("quality of retrieval on wiki-a", retrieval_quality.AIMS, bench.quality),
        *attempt("latency of queries", query_latency.AIMS, bench.latency),
    ]
    return goals, bench.figures


def main() -> int:
    """Measure, report, and return the exit status."""
    quick = report.is_quick(os.environ)
    if quick:
        say(f"{TARGET}: {report.QUICK_NOTE}")
    machine = report.machine()
    goals, figures = run(QUICK if quick else WHOLE, os.environ)
    return report.finish(Report(target=TARGET, goals=tuple(goals), machine=machine, quick=quick, figures=figures))


if __name__ == "__main__":
    sys.exit(main())
