"""Measures how soon `lectern up` on the quickstart is ready, and the most memory that it takes while it ingests.

Starts with an empty data directory, starts with a filled one, and a bare process that only imports and loads the same
take turns. `bench.skeleton` reports the result.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.processes import REPOSITORY, Command, NotStarted, Served, lectern_up
from bench.report import Aim, Goal

READY_SECONDS = 5.0
MOST_MIB = 600.0
EMPTY = Aim("ready-empty", "lectern up ready, empty data directory", "<=", READY_SECONDS, "s")
AGAIN = Aim("ready-again", "lectern up ready, filled data directory", "<=", READY_SECONDS, "s")
MEMORY = Aim("memory-quickstart", "peak memory, quickstart ingested", "<=", MOST_MIB, "MiB")
AIMS = (EMPTY, AGAIN, MEMORY)
INGESTED_SECONDS = 300.0
MIB = 1 << 20
INGESTED = "documents indexed"
"""What `lectern up` prints once every source was read and everything was worked on."""


@dataclass(frozen=True)
class Start:
    """Seconds on the wall from the start of the process to the first 200 of `/readyz`, and its CPU seconds by then."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Startup:
    """All starts, and the peak of memory (bytes) over one whole ingestion of the quickstart."""

    empty: tuple[Start, ...]
    filled: tuple[Start, ...]
    bare: tuple[float, ...]
    peak: int

    def goals(self) -> list[Goal]:
        """Return the goals of time and memory."""
        return [
            self._ready(EMPTY, self.empty),
            self._ready(AGAIN, self.filled),
            MEMORY.measured(self.peak / MIB, n=1),
        ]

    def _ready(self, aim: Aim, starts: tuple[Start, ...]) -> Goal:
        floor = statistics.median(self.bare)
        wall = statistics.median(start.wall for start in starts)
        cpu = statistics.median(start.cpu for start in starts)
        remark = f"{cpu:.2f} CPU s; slowest of {len(starts)} {max(start.wall for start in starts):.2f} s"
        return aim.measured(wall, floor=floor, ratio=floor / wall, n=len(starts), reason=remark)


def measure(*, rounds: int) -> Startup:
    """Return what `rounds` starts of each kind took; one start is let run until everything is ingested."""
    empty, filled, bare = [], [], []
    with tempfile.TemporaryDirectory(prefix="lectern-bench-") as directory:
        root = Path(directory)
        peak = _ingested(_quickstart(root / "filled"), root / "output")
        for number in range(rounds):
            bare.append(_bare_start())
            empty.append(_start(_quickstart(root / f"empty-{number}"), root / "output"))
            filled.append(_start(_quickstart(root / "filled"), root / "output"))
    return Startup(tuple(empty), tuple(filled), tuple(bare), peak)


def _quickstart(data_directory: Path) -> Command:
    samples = REPOSITORY / "config" / "samples" / "quickstart"
    return Command(samples, (f"lectern-guides={REPOSITORY / 'docs' / 'guides'}",), data_directory)


def _start(command: Command, output: Path) -> Start:
    with lectern_up(command, output) as served:
        return Start(served.seconds_to_ready, served.cpu_to_ready)


def _ingested(command: Command, output: Path) -> int:
    """Start, wait until everything is ingested, and return the peak of memory in bytes."""
    with lectern_up(command, output) as served:
        wait_until_said(served, INGESTED)
    return served.memory.peak


def wait_until_said(served: Served, words: str) -> None:
    """Return once the process has printed `words`; raise NotStarted when it does not in time."""
    until = time.perf_counter() + INGESTED_SECONDS
    while words not in served.said():
        if time.perf_counter() > until:
            raise NotStarted(f"lectern up did not say {words!r} in {INGESTED_SECONDS:g} s: {served.said()[-500:]}")
        time.sleep(0.1)


def _bare_start() -> float:
    """Seconds from the start of a bare process to its word that the model is loaded."""
    began = time.perf_counter()
    line = [sys.executable, "-m", "bench.bare_start"]
    with subprocess.Popen(line, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        seconds = time.perf_counter() - began
    if said != b"ready":
        raise NotStarted(f"{' '.join(line)} said {said!r} instead of ready; run it by hand to see why")
    return seconds
