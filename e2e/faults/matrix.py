"""Tries many points: a scenario with one fault each, two at a time, every one in a namespace of its own.

`sampled` chooses points by a seed where all would take too long; what was left out is counted.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from e2e.faults import golden
from e2e.faults.arena import Arena, NotSettled
from e2e.faults.proxy import fault_proxy
from e2e.faults.rules import Rules
from e2e.faults.scenarios import Scenario
from e2e.faults.trials import CONVERGE_SECONDS, Bench, Outcome, Reference, reference, trial

PARALLEL = 6
"""Operators at once: most of a point is waiting for the next resync."""
BUSY = 3
"""Operators at once where a point is mostly their starts, which take all of two cores."""
ROUND = 40
T = TypeVar("T")


@dataclass(frozen=True)
class Point:
    """One thing to try; `resync_seconds` and `converge_seconds` are how the operator runs and how long it may take."""

    scenario: Scenario
    rules: Rules
    fault: str
    resync_seconds: int = 600
    converge_seconds: float = CONVERGE_SECONDS


@dataclass
class Result:
    """What came of a matrix: outcomes of what was tried, of `known` points in all."""

    name: str
    known: int
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def converged(self) -> int:
        """How many points ended as without faults."""
        return sum(each.converged for each in self.outcomes)

    @property
    def reached(self) -> int:
        """How many points had their fault at all."""
        return sum(each.reached for each in self.outcomes)

    @property
    def slowest(self) -> float:
        """Seconds of the slowest point that converged."""
        return max((each.seconds for each in self.outcomes if each.converged), default=0.0)

    def said(self) -> str:
        """Return counts in one line."""
        return (
            f"{self.name}: {len(self.outcomes)} of {self.known} points tried, {self.reached} reached, "
            f"{self.converged} converged, slowest {self.slowest:.1f} s, {self.seconds:.0f} s in all"
        )


@contextmanager
def benches(arena: Arena, count: int = PARALLEL) -> Iterator[list[Bench]]:
    """Open proxies that work side by side."""
    with ExitStack() as stack:
        yield [Bench(arena, stack.enter_context(fault_proxy(arena.plane.rest))) for _ in range(count)]


def references(bench: Bench, scenarios: Sequence[Scenario]) -> dict[str, Reference]:
    """Run every scenario twice without faults and return what they end in.

    Raises NotSettled where two runs differ: then a difference would tell nothing about a fault.
    """
    found = {}
    stages = bench.arena.stages([scenario for scenario in scenarios for _ in range(2)])
    for number, scenario in enumerate(scenarios):
        first, second = (reference(bench, scenario, stage) for stage in stages[2 * number : 2 * number + 2])
        wrong = golden.differences(first.state, second.state)
        wrong += [f"created {first.created} and {second.created}"] if first.created != second.created else []
        wrong += [f"deleted {first.deleted} and {second.deleted}"] if first.deleted != second.deleted else []
        if wrong:
            raise NotSettled(f"two runs of {scenario.name} without faults differ: {wrong[:5]}")
        found[scenario.name] = _longer(first, second)
    return found


def _longer(first: Reference, second: Reference) -> Reference:
    """The one with more to break: statuses in between come and go with the timing."""
    return first if len(first.writes) + len(first.events) >= len(second.writes) + len(second.events) else second


def sampled(points: Sequence[Point], most: int | None, seed: int) -> list[Point]:
    """Return at most `most` of the points (all where None), chosen by `seed`, in order."""
    if most is None or len(points) <= most:
        return list(points)
    chosen = set(random.Random(seed).sample(range(len(points)), most))
    return [point for index, point in enumerate(points) if index in chosen]


def run(
    name: str,
    side_by_side: Sequence[Bench],
    points: Sequence[Point],
    wanted: Mapping[str, Reference],
    *,
    known: int,
    told: Callable[[Outcome], None] = lambda _: None,
) -> Result:
    """Try all `points`, as many at once as there are benches."""
    return spread(
        name,
        side_by_side,
        [(point, point.scenario) for point in points],
        lambda bench, point, namespace: _tried(bench, point, namespace, wanted),
        known=known,
        told=told,
    )


def spread(
    name: str,
    side_by_side: Sequence[Bench],
    points: Sequence[tuple[T, Scenario]],
    act: Callable[[Bench, T, str], Outcome],
    *,
    known: int,
    told: Callable[[Outcome], None],
) -> Result:
    """Call `act` for every point with a bench and a namespace of its own, as many at once as there are benches.

    Namespaces are made for `ROUND` points at a time: hundreds of them would be prepared for longer than anybody waits.
    """
    began, result = time.monotonic(), Result(name, known)
    for first in range(0, len(points), ROUND):
        _round(result, side_by_side, points[first : first + ROUND], act, told)
    result.seconds = time.monotonic() - began
    return result


def _round(
    result: Result,
    side_by_side: Sequence[Bench],
    points: Sequence[tuple[T, Scenario]],
    act: Callable[[Bench, T, str], Outcome],
    told: Callable[[Outcome], None],
) -> None:
    arena = side_by_side[0].arena
    waiting: queue.SimpleQueue[tuple[T, str]] = queue.SimpleQueue()
    for (point, _), stage in zip(points, arena.stages([scenario for _, scenario in points]), strict=True):
        waiting.put((point, stage))
    lock = threading.Lock()

    def work(bench: Bench) -> None:
        while True:
            try:
                point, namespace = waiting.get_nowait()
            except queue.Empty:
                return
            outcome = act(bench, point, namespace)
            arena.remove_pods(namespace)
            with lock:
                result.outcomes.append(outcome)
                told(outcome)

    with ThreadPoolExecutor(len(side_by_side)) as threads:
        for done in [threads.submit(work, bench) for bench in side_by_side]:
            done.result()


def _tried(bench: Bench, point: Point, namespace: str, wanted: Mapping[str, Reference]) -> Outcome:
    return trial(
        bench,
        point.scenario,
        namespace,
        point.rules,
        wanted[point.scenario.name],
        fault=point.fault,
        resync_seconds=point.resync_seconds,
        converge_seconds=point.converge_seconds,
    )
