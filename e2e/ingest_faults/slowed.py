"""Goal B8: a store that is twenty times slower makes the log wait, not the worker's memory grow or its group move."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.report import Aim, Goal
from e2e.ingest_faults.base import Base, Outcome
from e2e.ingest_faults.traffic import Traffic
from e2e.ingest_faults.workers import Workers
from e2e.ingest_faults.world import World

MEMORY = Aim("B8", "memory of a worker behind a store 20 times slower, times its normal", "<=", 1.3)
REBALANCED = Aim("B8", "rebalances of the group meanwhile", "<=", 0)
LOST = Aim("B8", "points that differ from the model afterwards", "<=", 0)
MEMBERS = 2
SLOWER = 20.0
NORMAL_SECONDS = 20.0
BACKLOG = 400
AT_ONCE = 200
MOST = 60_000
DRAIN_SECONDS = 300.0
TICK_SECONDS = 0.5
REBALANCE = b"Preparing to rebalance group "


@dataclass(frozen=True)
class Told:
    """Memory in bytes, the highest seen of any worker; rebalances while the store was slow."""

    seed: int
    normal: int
    slow: int
    rebalances: int
    done_slowly: int
    published: int
    outcome: Outcome


class _Feed:
    """Keeps a backlog of `BACKLOG` messages at least, and notes the highest memory of the workers."""

    def __init__(self, base: Base, workers: Workers, seed: int) -> None:
        self._base, self._workers = base, workers
        self._traffic = Traffic(*base.place, seed=seed)
        self.published = 0
        self.lag = 0

    def run(self, seconds: float) -> int:
        """Feed for so many seconds and return the highest memory seen."""
        end, most = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            self.lag = self._base.lag()
            if self.lag < BACKLOG and self.published < MOST:
                self._base.publish(self._traffic.messages(AT_ONCE))
                self.published += AT_ONCE
            most = max(most, *(each.resident_bytes for each in self._workers.members))
            time.sleep(TICK_SECONDS)
        return most


def run(world: World, *, seed: int, seconds: float, say: Callable[[str], None]) -> Told:
    """Work normally for a while, then behind a slow store, then to the end."""
    base = Base.make(world, "b8")
    rules = world.store_proxy.rules
    with Workers(base) as workers:
        for _ in range(MEMBERS):
            workers.add()
        workers.wait_ready()
        feed = _Feed(base, workers, seed)
        normal = feed.run(NORMAL_SECONDS)
        before, done = rebalances(base), feed.published - feed.lag
        say(f"B8: normal {normal >> 20} MiB, {done} done")
        rules.slower = SLOWER
        try:
            slow = feed.run(seconds)
        finally:
            rules.slower = 1.0
        moved, done = rebalances(base) - before, feed.published - feed.lag - done
        say(f"B8: behind the slow store {slow >> 20} MiB, {done} done, {moved} rebalances")
        workers.drain(DRAIN_SECONDS)
        return Told(seed, normal, slow, moved, done, feed.published, base.judged())


def rebalances(base: Base) -> int:
    """Return how often the broker says that the group was shared out anew."""
    return base.world.broker.log.read_bytes().count(REBALANCE + base.group.encode() + b" ")


def goals(told: Told) -> list[Goal]:
    """Return the goals."""
    remark = f"{told.normal >> 20} MiB normally, {told.slow >> 20} behind it, {told.done_slowly} messages done there"
    return [
        MEMORY.measured(told.slow / told.normal, n=told.done_slowly, seed=told.seed, reason=remark),
        REBALANCED.measured(told.rebalances, seed=told.seed),
        LOST.measured(
            len(told.outcome.differences) + told.outcome.lag,
            n=told.published,
            seed=told.seed,
            reason=f"{told.outcome.said()}; replay: B8 seed={told.seed}",
        ),
    ]
