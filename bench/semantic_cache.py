"""Measures the semantic tier of the answer cache before it ships: whom it would answer wrongly, and what it costs.

`python -m bench.semantic_cache curves` embeds the question pairs of `cache/` and prints, for each threshold, how many
pairs that mean the same would hit and how many that do not would hit wrongly, with and without the content gate.
`python -m bench.semantic_cache redis` fills vector sets of a real Redis 8 and prints latency and memory of VSIM.
The vectors of the first are the shipped model's, those of the second are random and clustered, which says nothing
about answers and everything about speed. The similarity of Redis is (1 + cos) / 2; here every threshold is a cosine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import lzma
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import data, vector_cache
from e2e.testbed.redis import redis_server
from lectern_runtime.adapters.onnx import DIMENSIONS, MAX_INPUT_TOKENS, OnnxMiniLm
from lectern_runtime.query import content_gate

FILES = ("dev.jsonl.xz", "dev-siblings.jsonl.xz")
THRESHOLDS = tuple(round(0.90 + 0.01 * step, 2) for step in range(9))
SEED = 7
SIZES = (1_000, 10_000, 100_000)
PROBES = 500
EF = (50, 200)
AT_ONCE = 500
SPECIAL = 2
QUANTISATIONS = ("NOQUANT", "Q8")

Table = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Two questions and whether one answer serves both."""

    a: str
    b: str
    same: bool
    kind: str


@dataclass(frozen=True)
class Curve:
    """Pairs of one kind, their cosines, and which of them the gate lets through."""

    same: bool
    cosines: NDArray[np.float64]
    agree: NDArray[np.bool_]

    def rate(self, threshold: float, *, gated: bool) -> float:
        """Share of the pairs that would hit."""
        hit = self.cosines >= threshold
        return float(np.mean(hit & self.agree if gated else hit))


def read(root: Path) -> list[Pair]:
    """Return the pairs of both files, in order."""
    found: list[Pair] = []
    for name in FILES:
        path = root / "cache" / name
        if not path.is_file():
            raise data.DataMissing(f"{path} is not there: the test data is incomplete; fetch it again")
        found += [Pair(**json.loads(line)) for line in lzma.decompress(path.read_bytes()).decode().splitlines()]
    return found


async def curves(pairs: Sequence[Pair]) -> dict[str, Curve]:
    """Embed every question once and return a curve for each kind of pair; identical questions are left out."""
    kinds: defaultdict[tuple[str, bool], list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.a != pair.b:  # else the exact tier answers
            kinds[pair.kind, pair.same].append(pair)
    embedder, found = OnnxMiniLm.open(), {}
    try:
        for (kind, same), members in sorted(kinds.items()):
            name = f"{kind} {'same' if same else 'different'}"
            found[name] = await _curve(name, same, members, embedder)
    finally:
        await embedder.close()
    return found


async def _curve(name: str, same: bool, members: Sequence[Pair], embedder: OnnxMiniLm) -> Curve:
    texts = sorted({text for pair in members for text in (pair.a, pair.b)})
    spans = await embedder.tokenize(texts)
    fits = {text for text, tokens in zip(texts, spans, strict=True) if len(tokens) + SPECIAL <= MAX_INPUT_TOKENS}
    members = [pair for pair in members if pair.a in fits and pair.b in fits]
    asked = sorted(fits)
    rows = await vector_cache.vectors(asked, embedder, vector_cache.directory(os.environ), print)
    place = {text: row for row, text in enumerate(asked)}
    print(f"{name}: {len(texts) - len(fits)} questions are longer than the model reads and left out")
    cosines = [float(rows[place[pair.a]] @ rows[place[pair.b]]) for pair in members]
    return Curve(same, np.array(cosines), np.array([content_gate.agree(pair.a, pair.b) for pair in members]))


def print_curves(found: dict[str, Curve]) -> None:
    """Print a table: a line for each threshold, two columns for each kind (bare, with the gate)."""
    for name, curve in found.items():
        print(f"{name}: {len(curve.cosines)} pairs; the gate lets {curve.agree.mean():.1%} through")
    print("share of pairs that would hit: bare / with the gate")
    print("cosine  " + "  ".join(f"{name:>34}" for name in found))
    for threshold in THRESHOLDS:
        cells = [
            f"{curve.rate(threshold, gated=False):>24.2%} /{curve.rate(threshold, gated=True):>8.2%}"
            for curve in found.values()
        ]
        print(f"{threshold:.2f}    " + "  ".join(cells))


def clustered(count: int, seed: int) -> Table:
    """Return unit vectors around one centre for every fifty: questions come in topics."""
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((max(1, count // 50), DIMENSIONS)).astype(np.float32)
    rows = centres[chance.integers(0, len(centres), count)]
    rows += 0.5 * chance.standard_normal((count, DIMENSIONS)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def measure(client: Any, quantisation: str, sizes: Sequence[int]) -> Iterator[str]:
    """Grow one vector set through the sizes and yield a line for each size and effort."""
    rows = clustered(sizes[-1], SEED)
    empty = int(client.info("memory")["used_memory"])
    done, adding = 0, 0.0
    for size in sizes:
        began = time.perf_counter()
        while done < size:
            pipeline = client.pipeline(transaction=False)
            for row in range(done, min(done + AT_ONCE, size)):
                pipeline.execute_command(
                    "VADD", "v", "FP32", rows[row].tobytes(), f"{row:016x}", quantisation, "SETATTR", '{"e":1}'
                )
            done += len(pipeline.execute())
        adding += time.perf_counter() - began
        memory = int(client.info("memory")["used_memory"]) - empty
        for ef in EF:
            took, found = probe(client, rows[:size], ef)
            low, high = np.percentile(took, [50, 95])
            yield (
                f"{quantisation:>8} {size:>7} entries: {memory / size:>6.0f} bytes each, {1000 * adding / size:.2f} ms "
                f"to add; EF {ef:>3}: p50 {low:.2f} ms, p95 {high:.2f} ms, nearest found {found:.1%}"
            )


def probe(client: Any, rows: Table, ef: int) -> tuple[NDArray[np.float64], float]:
    """Return milliseconds of each search near a stored vector, and how often the nearest one came first."""
    chance = np.random.default_rng(SEED + 1)
    took, right = np.empty(PROBES), 0
    for number, row in enumerate(chance.integers(0, len(rows), PROBES)):
        asked = rows[row] + 0.02 * chance.standard_normal(DIMENSIONS).astype(np.float32)
        began = time.perf_counter()
        found = client.execute_command("VSIM", "v", "FP32", asked.tobytes(), "WITHSCORES", "COUNT", 4, "EF", ef)
        took[number] = 1000 * (time.perf_counter() - began)
        right += found[0] == f"{int(np.argmax(rows @ asked)):016x}".encode()
    return took, right / PROBES


def main() -> None:
    """Run the part that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.semantic_cache", description=__doc__)
    parser.add_argument("part", choices=("curves", "redis"))
    parser.add_argument("--most", type=int, default=SIZES[-1], help="entries of the largest vector set")
    options = parser.parse_args()
    if options.part == "curves":
        print_curves(asyncio.run(curves(read(data.directory(os.environ)))))
        return
    for quantisation in QUANTISATIONS:
        with redis_server() as server, server.owner() as client:
            for line in measure(client, quantisation, [size for size in SIZES if size <= options.most]):
                print(line, flush=True)


if __name__ == "__main__":
    main()
