"""Goal B5: workers join and leave under steady work; nothing is lost, little is done twice, none stands still long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.report import Aim, Goal
from e2e.ingest_faults.base import Base, Outcome
from e2e.ingest_faults.commits import watching
from e2e.ingest_faults.traffic import Spoken, Traffic
from e2e.ingest_faults.workers import Workers
from e2e.ingest_faults.world import World
from lectern_runtime.embed.flow import POLL_RECORDS
from lectern_runtime.embed.reading import BATCH_DOCUMENTS

LOST = Aim("B5", "points that differ from the model after joins and leaves", "<=", 0)
IN_FLIGHT = POLL_RECORDS + 5 * BATCH_DOCUMENTS
"""Of one worker: what it read last, and a batch in each of three stages and the two queues between them."""
TWICE = Aim("B5", "documents done twice at a join or leave, the mean; what one worker has in flight", "<=", IN_FLIGHT)
STALL = Aim("B5", "time that a partition with work stands still at a join or leave, p95", "<=", 5.0, "s")
MEMBERS = 2
PER_SECOND = 10.0
WARM_SECONDS = 10.0
DRAIN_SECONDS = 300.0
TICK_SECONDS = 0.2


@dataclass(frozen=True)
class Told:
    """What joins and leaves did; `usual` is the stall without any. Times are in seconds."""

    seed: int
    stalls: tuple[float, ...]
    usual: float
    published: int
    outcome: Outcome

    @property
    def p95(self) -> float:
        """The stall that one move in twenty passes."""
        return float(np.percentile(self.stalls, 95, method="higher")) if self.stalls else float("nan")


class _Producer:
    """Steady production: what is due by the clock is published when asked."""

    def __init__(self, base: Base, messages: list[Spoken]) -> None:
        self._base, self._messages = base, messages
        self._began = time.monotonic()
        self.published = 0

    def until(self, moment: float) -> None:
        while time.monotonic() < moment:
            due = min(len(self._messages), int((time.monotonic() - self._began) * PER_SECOND))
            if due > self.published:
                part = self._messages[self.published : due]
                self.published = due
                self._base.publish(part)
            time.sleep(TICK_SECONDS)


def run(world: World, *, seed: int, moves: int, seconds: float, say: Callable[[str], None]) -> Told:
    """Join and leave in turn, one every `seconds`, while documents come."""
    base = Base.make(world, "b5")
    messages = Traffic(*base.place, seed=seed).messages(int(PER_SECOND * (moves * seconds + 60)))
    with Workers(base) as workers, watching(base) as commits:
        for _ in range(MEMBERS):
            workers.add()
        workers.wait_ready()
        producer = _Producer(base, messages)
        producer.until(time.monotonic() + WARM_SECONDS)
        usual = commits.stall(time.monotonic() - WARM_SECONDS / 2, time.monotonic())
        stalls: list[float] = []
        for number in range(moves):
            began = time.monotonic()
            if number % 2 == 0:
                workers.add()
            else:
                leaving = workers.members.pop(0)
                leaving.stop()
            producer.until(began + seconds)
            stalls.append(commits.stall(began, time.monotonic()))
            say(f"B5: {'join' if number % 2 == 0 else 'leave'} {number + 1}, stall {stalls[-1]:.1f} s")
        workers.drain(DRAIN_SECONDS)
        return Told(seed, tuple(stalls), usual, producer.published, base.judged())


def goals(told: Told) -> list[Goal]:
    """Return the goals."""
    moves = len(told.stalls)
    twice = told.outcome.events_repeated / moves if moves else float("nan")
    spelled = ", ".join(f"{each:.1f}" for each in told.stalls)
    return [
        LOST.measured(
            len(told.outcome.differences) + told.outcome.lag,
            n=told.published,
            seed=told.seed,
            reason=f"{told.outcome.said()}; replay: B5 seed={told.seed} moves={moves}",
        ),
        TWICE.measured(twice, n=moves, seed=told.seed, reason=f"{told.outcome.events_repeated} events said again"),
        STALL.measured(told.p95, n=moves, seed=told.seed, reason=f"{spelled}; without moves {told.usual:.1f}"),
    ]
