"""Compares `lectern serve-embeddings` with a bare loop over the same model, and times a question beside a corpus.

`python -m bench.embedding_server` starts the server, lets floor and server take turns over the same passages, and says
passages a second, their ratio, the waiting time of a short question (alone, and while a corpus is embedded) and memory.
Client and server share the machine: on the wall, what the client spends counts against the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from bench.embedder_floor import THREADS, Cost, Floor, synthetic
from lectern_contract.settings import EmbedderSettings, ModelServerSettings
from lectern_runtime.adapters import minilm_files
from lectern_runtime.adapters.onnx import DIMENSIONS, MAX_INPUT_TOKENS
from lectern_runtime.adapters.tei import TeiEmbedder

CALL = 32
CALLS = 4
AT_ONCE = 4
ROUNDS = 3
QUESTIONS = 200
SHORTEST, LONGEST = 44, 256
"""Tokens of a passage, spread evenly: 150 on average."""
QUESTION = "how old is the universe"


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    """Run the server and yield its address and process id."""
    command = [sys.executable, "-m", "lectern_cli.main", "serve-embeddings", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            told = json.loads(line) if line.startswith("{") else {}
            if told.get("message") == "serving embeddings":
                yield told["url"], process.pid
                break
        else:
            raise SystemExit(f"the server ended with exit status {process.wait()}")
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def client(url: str) -> TeiEmbedder:
    """Return the adapter that the worker uses."""
    source = ModelServerSettings(url=url, protocol="TEI", api_key_file=None, ca_file=None)
    settings = EmbedderSettings(
        model=minilm_files.MODEL,
        revision="",
        dimensions=DIMENSIONS,
        max_input_tokens=MAX_INPUT_TOKENS,
        query_prefix="",
        document_prefix="",
        source=source,
    )
    return TeiEmbedder.open(settings, source)


async def corpus(embedder: TeiEmbedder, calls: Sequence[Sequence[str]]) -> float:
    """Return the seconds that the calls take, several at once as a worker makes them."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(call: Sequence[str]) -> None:
        async with places:
            await embedder.embed(call)

    begun = time.perf_counter()
    await asyncio.gather(*map(one, calls))
    return time.perf_counter() - begun


async def questions(embedder: TeiEmbedder, *, during: asyncio.Task[float] | None = None) -> list[float]:
    """Return how long each question waits, in milliseconds, one after another."""
    waits = []
    for _ in range(QUESTIONS):
        begun = time.perf_counter()
        await embedder.embed([QUESTION])
        waits.append((time.perf_counter() - begun) * 1000)
        if during is not None and during.done():
            break
    return waits


def cpu_seconds(process: int) -> float:
    """Return the processor time that a process has had."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(process: int, field: str) -> float:
    """Return what the kernel says of a process: VmRSS now, VmHWM at most, in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def compared(texts: int, floors: Sequence[Cost], served: Sequence[Cost], clock: Literal["wall", "cpu"]) -> str:
    """Return passages a second of both and their ratio, medians over the rounds; cpu is without the client's."""
    bare, costs = [getattr(cost, clock) for cost in floors], [getattr(cost, clock) for cost in served]
    ratio = statistics.median(a / b for a, b in zip(bare, costs, strict=True))
    speeds = [texts / statistics.median(seconds) for seconds in (bare, costs)]
    return f"floor {speeds[0]:.1f}/s, server {speeds[1]:.1f}/s, ratio {ratio:.3f}"


def spread(waits: Sequence[float]) -> str:
    """Return median and 95th percentile."""
    return f"p50 {statistics.median(waits):.1f} ms, p95 {statistics.quantiles(waits, n=20)[18]:.1f} ms, n {len(waits)}"


async def measure(url: str, process: int) -> None:
    """Print all figures."""
    calls = [synthetic(CALL, SHORTEST, LONGEST)] * CALLS
    texts = sum(map(len, calls))
    floor, embedder = Floor(THREADS), client(url)
    passes = [each for call in calls for each in floor.plan(call)]
    print(f"memory: {memory_mib(process, 'VmRSS'):.0f} MiB after the start")
    alone = await questions(embedder)
    await corpus(embedder, calls[:1])
    floors, served = [], []
    for _ in range(ROUNDS):
        floors.append((await asyncio.to_thread(floor.run, passes))[1])
        had = cpu_seconds(process)
        wall = await corpus(embedder, calls)
        served.append(Cost(cpu_seconds(process) - had, wall))
    running = asyncio.create_task(corpus(embedder, calls))
    beside = await questions(embedder, during=running)
    await running
    await embedder.close()
    print(
        f"corpus of {texts} passages, {(SHORTEST + LONGEST) / 2:.0f} tokens on average, {AT_ONCE} calls at once: "
        + ", ".join(f"{name} {compared(texts, floors, served, name)}" for name in ("wall", "cpu"))
    )
    print(f"a question alone: {spread(alone)}")
    print(f"a question beside a corpus: {spread(beside)}")
    print(f"memory: {memory_mib(process, 'VmHWM'):.0f} MiB at most")


def main() -> None:
    """Measure a server of this machine."""
    with server() as (url, process):
        asyncio.run(measure(url, process))


if __name__ == "__main__":
    main()
