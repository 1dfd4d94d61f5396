"""Measures how long a question takes over HTTP, without a language model, in a `lectern up` that holds wiki-a.

Questions go one after another, each to the real app, to a bare echo, and through the least that a search needs
(the model and one matrix product), so that all three meet the same neighbours. `bench.skeleton` reports the result.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import data, processes, resources, wiki_index
from bench.data import RetrievalSet
from bench.processes import HOST, Command, NotStarted, Served, lectern_up
from bench.report import Aim, Goal
from lectern_contract import names, wiring
from lectern_runtime.adapters import minilm_files, onnx
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.ports import Vectors
from lectern_runtime.sparse import SparseEncoder

BOUND_MS = 60.0
MOST_MIB = 600.0
LATENCY = Aim("query-p95", "/v1/query without a model, p95", "<=", BOUND_MS, "ms")
MEMORY = Aim("memory-10k", "peak memory, queried and then fed", "<=", MOST_MIB, "MiB")
AIMS = (LATENCY, MEMORY)
WARM_UP = 20
CANDIDATES = 50
BLOCKS = 5
INGESTED_SECONDS = 600.0
MIB = 1 << 20


class QueryFailed(Exception):
    """The app did not answer a question as it should, so that its time means nothing."""


@dataclass
class Latencies:
    """Milliseconds of each question, in the same order in all lists, and the stages that the app itself timed."""

    lectern: list[float] = field(default_factory=list)
    echo: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    refused: int = 0
    cpu_seconds: float = 0.0
    bare_cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Queries:
    """What was measured at `chunks` chunks; peaks of memory in bytes, before and after more pages were ingested."""

    latencies: Latencies
    chunks: int
    peak_serving: int
    peak_ingesting: int
    pages: int

    def goals(self, seed: int) -> list[Goal]:
        """Return the goals of latency and memory; the floor of latency is echo and bare search together."""
        seen, n = self.latencies, len(self.latencies.lectern)
        floors = block_percentiles([echo + bare for echo, bare in zip(seen.echo, seen.bare, strict=True)])
        values = block_percentiles(seen.lectern)
        remark = (
            f"median of {BLOCKS} blocks of questions; {self.chunks} chunks, one caller; "
            f"p50 {np.percentile(seen.lectern, 50):.1f} ms, p99 {np.percentile(seen.lectern, 99):.1f} ms over all; "
            f"CPU {seen.cpu_seconds / n * 1e3:.1f} ms a question, "
            f"bare search {seen.bare_cpu_seconds / n * 1e3:.1f} ms; {seen.refused} of {n} refused"
        )
        ingesting = f"{self.chunks} chunks; {self.peak_serving / MIB:.0f} MiB before {self.pages} pages more were fed"
        return [
            LATENCY.measured(
                statistics.median(values),
                floor=statistics.median(floors),
                ratio=statistics.median(floor / value for floor, value in zip(floors, values, strict=True)),
                n=n,
                seed=seed,
                reason=remark,
            ),
            MEMORY.measured(self.peak_ingesting / MIB, n=1, seed=seed, reason=ingesting),
        ]

    def told(self) -> dict[str, object]:
        """Return where a question's time goes, for the report."""
        stages = {name: round(statistics.median(values), 2) for name, values in sorted(self.latencies.stages.items())}
        return {"median ms by stage of /v1/query": stages}


def block_percentiles(milliseconds: Sequence[float]) -> list[float]:
    """Return the 95th percentile of each of BLOCKS consecutive parts: a neighbour's burst spoils one, not all."""
    return [float(np.percentile(block, 95)) for block in np.array_split(np.asarray(milliseconds), BLOCKS)]


def measure(corpus: RetrievalSet, vectors: Vectors, root: Path, *, questions: int, pages: int, seed: int) -> Queries:
    """Return latencies of `questions` different questions, and memory until `pages` more pages are ingested.

    `root` is the directory of the test data.
    """
    asked = [corpus.questions[question] for question in sorted(corpus.questions)][: questions + WARM_UP]
    with tempfile.TemporaryDirectory(prefix="lectern-bench-") as directory:
        base = Path(directory)
        (base / "pages").mkdir()
        command = Command(
            resources.write(base / "resources"), (f"{resources.CLAIM}={base / 'pages'}",), base / "data", sync_seconds=1
        )
        with lectern_up(command, base / "output"):
            pass  # makes topics, collection and alias
        chunks = asyncio.run(_fill(command.data_directory, corpus, vectors))
        with lectern_up(command, base / "output") as served:
            latencies = _ask_all(served, base / "echo", asked, vectors)
            peak = served.memory.peak
            before = documents_indexed(served.port)
            added = data.unpack_pages(root, base / "pages", pages=pages, seed=seed)
            _wait_for_documents(served, before + len(added))
        return Queries(latencies, chunks, peak, served.memory.peak, len(added))


async def _fill(directory: Path, corpus: RetrievalSet, vectors: Vectors) -> int:
    """Put the corpus into the collection that the knowledge base's alias stands for; return its chunks."""
    kb = resources.knowledge_base()
    language = wiring.worker_settings(kb, generation=1).sparse_language
    assert language is not None, "the shipped default has a term index"
    with DataDirectory.open(directory, created_by="bench") as opened:
        store = await EdgeStore.open(opened.store_path)
        try:
            collection = await store.resolve_alias(names.alias(kb.namespace, kb.name))
            if collection is None:
                raise NotStarted(f"lectern up left no index for {kb.name} in its data directory; start it by hand")
            return len(await wiki_index.fill(store, collection, corpus.paragraphs, vectors, SparseEncoder(language)))
        finally:
            await store.close()


def _ask_all(served: Served, output: Path, asked: Sequence[str], vectors: Vectors) -> Latencies:
    """Ask every question once at each of the three; the first WARM_UP are not counted."""
    port = processes.free_port()
    line = [sys.executable, "-m", "bench.echo", str(port)]
    bare = _bare_search(vectors)
    seen = Latencies()
    with Served(line, port, probe="/livez", output=output) as echo:
        real, floor = (http.client.HTTPConnection(HOST, each, timeout=60) for each in (served.port, echo.port))
        for question in asked[:WARM_UP]:
            _ask(question, real, floor, bare, Latencies())
        began = processes.cpu_seconds(served.pid)
        for question in asked[WARM_UP:]:
            _ask(question, real, floor, bare, seen)
        seen.cpu_seconds = processes.cpu_seconds(served.pid) - began
        real.close()
        floor.close()
    return seen


def _ask(
    question: str,
    real: http.client.HTTPConnection,
    floor: http.client.HTTPConnection,
    bare: Callable[[str], object],
    seen: Latencies,
) -> None:
    """Ask one question at the app, then at both floors, and take what it cost into `seen`."""
    began = time.perf_counter()
    answer = _post(real, "/v1/query", {"question": question})
    answered = time.perf_counter()
    _post(floor, "/echo", {"question": question})
    echoed, cpu = time.perf_counter(), time.process_time()
    bare(question)
    searched = time.perf_counter()
    seen.bare_cpu_seconds += time.process_time() - cpu
    seen.lectern.append((answered - began) * 1e3)
    seen.echo.append((echoed - answered) * 1e3)
    seen.bare.append((searched - echoed) * 1e3)
    if answer["cache"] != "off":
        raise QueryFailed(f"the answer cache is {answer['cache']!r}, but this benchmark needs it off")
    seen.refused += bool(answer["refused"])
    for stage, milliseconds in answer["timings"].items():
        seen.stages.setdefault(stage, []).append(milliseconds)


def _bare_search(vectors: Vectors) -> Callable[[str], object]:
    """The least that finding passages takes: the model, one matrix product, the best of it."""
    files = minilm_files.find()
    tokenizer, forward = onnx.open_tokenizer(files), onnx.session_forward(onnx.open_session(files))

    def search(question: str) -> object:
        vector = forward(np.array([tokenizer.encode(question).ids], np.int32))[0]
        # Not `@`: the threads of BLAS go on spinning after a product, which halved the speed of the app beside it.
        scores = np.einsum("ij,j->i", vectors, vector)
        best = np.argpartition(-scores, CANDIDATES)[:CANDIDATES]
        return best[np.argsort(-scores[best])]

    return search


def _post(connection: http.client.HTTPConnection, path: str, body: dict[str, object]) -> dict[str, Any]:
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise QueryFailed(f"{path} answered {response.status}: {content[:300]!r}")
    answer: dict[str, Any] = json.loads(content)
    return answer


def documents_indexed(port: int) -> int:
    """Return how many documents the knowledge base's status counts."""
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        connection.request("GET", "/resources")
        listed = json.loads(connection.getresponse().read())["items"]
    finally:
        connection.close()
    status = next(each["status"] for each in listed if each["kind"] == "KnowledgeBase")
    return int((status.get("documents") or {}).get("indexed", 0))


def _wait_for_documents(served: Served, wanted: int) -> None:
    until = time.perf_counter() + INGESTED_SECONDS
    while (there := documents_indexed(served.port)) < wanted:
        if time.perf_counter() > until:
            raise NotStarted(f"{there} of {wanted} documents after {INGESTED_SECONDS:g} s: {served.said()[-500:]}")
        time.sleep(0.2)
