"""Runs the local embedding model in a bare loop, as the floor under the `Embedder` of the embedded mode.

`embedding` compares the two for `bench.skeleton`; run as a program it prints floor, embedder and ratio for a few
workloads. The loop has the product's session, passes and threads and nothing else: no event loop, tokeniser or check.
"""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lectern_runtime.adapters import minilm_files, onnx
from lectern_runtime.ports import Vectors

ROUNDS = 3
THREADS = os.cpu_count() or 1


@dataclass(frozen=True)
class Cost:
    """CPU seconds of the whole process, and seconds on the wall."""

    cpu: float
    wall: float


class Floor:
    """The model without the embedder around it: one session, plain threads."""

    def __init__(self, threads: int) -> None:
        files = minilm_files.find()
        self._tokenizer = onnx.open_tokenizer(files)
        self._forward = onnx.session_forward(onnx.open_session(files))
        self._threads = threads

    def plan(self, texts: Sequence[str]) -> list[onnx.Pass]:
        """Return the passes that the embedder would make of one call with `texts`."""
        return onnx.plan_passes([encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))])

    def run(self, passes: Sequence[onnx.Pass]) -> tuple[list[Vectors], Cost]:
        """Run the passes and return their vectors, pass by pass, with what they cost."""
        with ThreadPoolExecutor(self._threads) as pool:
            start = Cost(time.process_time(), time.perf_counter())
            parts = list(pool.map(self._forward, [each.ids for each in passes]))
            return parts, since(start)


def since(start: Cost) -> Cost:
    """Return what was spent since the clocks showed `start`."""
    return Cost(time.process_time() - start.cpu, time.perf_counter() - start.wall)


def compare(calls: Sequence[Sequence[str]], threads: int) -> tuple[Cost, Cost]:
    """Return the best (floor, embedder) of several rounds in turns, so that a busy neighbour disturbs both alike."""
    floor, embedder = Floor(threads), onnx.OnnxMiniLm.open(threads=threads)
    passes = [each for call in calls for each in floor.plan(call)]
    floors, costs = [], []
    with asyncio.Runner() as runner:
        for _ in range(ROUNDS + 1):
            floors.append(floor.run(passes)[1])
            costs.append(runner.run(embed(embedder, calls)))
        runner.run(embedder.close())
    return best(floors[1:]), best(costs[1:])  # the first round touches the weights


async def embed(embedder: onnx.OnnxMiniLm, calls: Sequence[Sequence[str]]) -> Cost:
    """Return what the embedder spends on the calls, one after another."""
    start = Cost(time.process_time(), time.perf_counter())
    for call in calls:
        await embedder.embed(call)
    return since(start)


def best(costs: Sequence[Cost]) -> Cost:
    """Return the least CPU and the least wall time: noise on a shared machine only ever adds."""
    return Cost(min(cost.cpu for cost in costs), min(cost.wall for cost in costs))


def synthetic(count: int, shortest: int, longest: int) -> list[str]:
    """Return `count` texts whose lengths in tokens are spread evenly, special tokens included."""
    words = ("harbour", "light", "stone", "paper")
    lengths = np.linspace(shortest, longest, count).astype(int)
    return [" ".join(words[place % 4] for place in range(length - 2)) for length in lengths]


def resident_mib() -> float:
    """Return the peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(name: str, calls: Sequence[Sequence[str]], threads: int) -> str:
    """Return one line: floor, embedder, and the share of the embedder's time that the model itself needs."""
    floor, cost = compare(calls, threads)
    texts = sum(len(call) for call in calls)
    return (
        f"{name}, {threads} threads: floor {floor.cpu / texts * 1e3:.2f} cpu-ms a text, "
        f"embedder {cost.cpu / texts * 1e3:.2f} ({texts / cost.cpu:.1f} texts a cpu-second), "
        f"ratio {floor.cpu / cost.cpu:.3f} cpu, {floor.wall / cost.wall:.3f} wall"
    )


def main() -> None:
    """Print memory and load first, then one line per workload, then the hardware."""
    before, start = resident_mib(), Cost(time.process_time(), time.perf_counter())
    embedder = onnx.OnnxMiniLm.open()
    load, loaded = since(start), resident_mib()
    with asyncio.Runner() as runner:
        runner.run(embed(embedder, [synthetic(32, 256, 256)]))
        runner.run(embedder.close())
    print(
        f"load {load.cpu:.2f} cpu-s, {load.wall:.2f} s; peak resident memory {before:.0f} MiB before, "
        f"{loaded:.0f} MiB loaded, {resident_mib():.0f} MiB after 32 passages of 256 tokens"
    )
    questions = [[text] for text in synthetic(100, 12, 12)]
    print(report("questions of 12 tokens, a call each", questions, 1))
    for threads in sorted({1, THREADS}):
        print(report("32 passages of 256 tokens", [synthetic(32, 256, 256)], threads))
        print(report("32 passages of 40 to 256 tokens", [synthetic(32, 40, 256)], threads))
    print(f"{THREADS} processors, {platform.machine()}, {platform.system()}")


if __name__ == "__main__":
    main()
