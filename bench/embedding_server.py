"""Compares `lectern serve-embeddings` with a bare loop over the same model, and times a question beside a corpus.

`python -m bench.embedding_server` starts the server, lets floor and server take turns over the same passages, and says
passages a second, their ratio, the waiting time of a short question (alone, and while a corpus is embedded) and memory;
`bench.ingest` reports the same with a bound.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.embedder_floor import THREADS, Cost, Floor, synthetic
from bench.report import Aim, Goal
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
CPU = Aim("embedding-server", "embedding server, passages a CPU second", ">=", 0.9, "/s", of_floor=True)
AIMS = (CPU,)


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


@dataclass(frozen=True, slots=True)
class Compared:
    """Passages a second of the bare loop and of the server, and their ratio: medians over the rounds."""

    floor: float
    server: float
    ratio: float

    def __str__(self) -> str:
        return f"floor {self.floor:.1f}/s, server {self.server:.1f}/s, ratio {self.ratio:.3f}"


def compared(texts: int, floors: Sequence[Cost], served: Sequence[Cost], clock: Literal["wall", "cpu"]) -> Compared:
    """Return passages a second by one of the clocks; cpu is without the client's."""
    bare, costs = [getattr(cost, clock) for cost in floors], [getattr(cost, clock) for cost in served]
    ratio = statistics.median(a / b for a, b in zip(bare, costs, strict=True))
    return Compared(texts / statistics.median(bare), texts / statistics.median(costs), ratio)


def spread(waits: Sequence[float]) -> str:
    """Return median and 95th percentile."""
    return f"p50 {statistics.median(waits):.1f} ms, p95 {statistics.quantiles(waits, n=20)[18]:.1f} ms, n {len(waits)}"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one server did: speed by two clocks, waits of questions in milliseconds, memory in MiB."""

    passages: int
    wall: Compared
    cpu: Compared
    alone: Sequence[float]
    beside: Sequence[float]
    memory: tuple[float, float]

    def goals(self) -> list[Goal]:
        """Return the goal of the server."""
        floor, server, ratio = self.cpu.floor, self.cpu.server, self.cpu.ratio
        remark = f"on the wall, with the client beside it, {self.wall.ratio:.3f}"
        return [CPU.measured(server, floor=floor, ratio=ratio, n=self.passages, reason=remark)]

    def told(self) -> dict[str, object]:
        """Return everything in words."""
        mean = (SHORTEST + LONGEST) / 2
        return {
            f"embedding server, passages of {mean:.0f} tokens, {AT_ONCE} calls at once, wall": str(self.wall),
            "embedding server, cpu": str(self.cpu),
            "embedding server, a question alone": spread(self.alone),
            "embedding server, a question beside a corpus": spread(self.beside),
            "embedding server, memory": f"{self.memory[0]:.0f} MiB after the start, {self.memory[1]:.0f} MiB at most",
        }


async def measure(url: str, process: int) -> Measured:
    """Return all figures of the server at `url`."""
    calls = [synthetic(CALL, SHORTEST, LONGEST)] * CALLS
    texts = sum(map(len, calls))
    floor, embedder = Floor(THREADS), client(url)
    passes = [each for call in calls for each in floor.plan(call)]
    started = memory_mib(process, "VmRSS")
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
    return Measured(
        passages=texts * ROUNDS,
        wall=compared(texts, floors, served, "wall"),
        cpu=compared(texts, floors, served, "cpu"),
        alone=alone,
        beside=beside,
        memory=(started, memory_mib(process, "VmHWM")),
    )


def main() -> None:
    """Measure a server of this machine and print what it did."""
    with server() as (url, process):
        for name, value in asyncio.run(measure(url, process)).told().items():
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
