"""Goal B1: many document versions under many kills end as the log says, and so do the dead letters.

Kills are spread over the run by its progress, so that a slow machine is hurt as often and not more often in vain.
Workers die by SIGKILL at random moments and at named failpoints; broker and store die and start over their data;
the store answers errors after it applied a write; connections to store and broker are cut.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from bench.report import Aim, Goal
from e2e.ingest_faults.base import Base, Outcome
from e2e.ingest_faults.traffic import Spoken, Traffic, shares
from e2e.ingest_faults.workers import Worker, Workers
from e2e.ingest_faults.world import World
from lectern_contract.errors import DependencyError
from lectern_runtime.failpoints import FAILPOINTS

LOST = Aim("B1", "points that differ from the reference model", "<=", 0)
LETTERS = Aim("B1", "dead letters that differ from the reference model", "<=", 0)
BEHIND = Aim("B1", "messages that were never committed", "<=", 0)
MEMBERS = 2
AT_ONCE = 200
AHEAD = 2_000
"""How far production goes ahead of the workers at most."""
TICK_SECONDS = 0.3
DRAIN_SECONDS = 300.0
PER_BATCH = frozenset({"embed", "upsert", "delete-older", "record", "read-back", "withdraw-late", "event", "commit"})
STORE_SHARE, BROKER_SHARE, REPLACED_SHARE, ARMED_SHARE, CUT_SHARE = 0.20, 0.06, 0.10, 0.75, 0.2
SIGKILLED = -9


@dataclass
class Told:
    """What a run did and how it ended."""

    seed: int
    versions: int
    wanted_kills: int
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    ends: Counter[int] = field(default_factory=Counter)
    after_apply: int = 0
    shares: dict[str, int] = field(default_factory=dict)
    outcome: Outcome | None = None

    @property
    def rate(self) -> float:
        """Versions a second, kills included."""
        return self.versions / self.seconds if self.seconds else 0.0

    @property
    def replay(self) -> str:
        """The line that repeats the run."""
        return f"B1 seed={self.seed} versions={self.versions} kills={self.wanted_kills}"

    def said(self) -> str:
        """Return the run in a few sentences."""
        missed = sorted(set(FAILPOINTS) - set(self.reached))
        return (
            f"{self.versions} versions {self.shares} in {self.seconds:.0f} s, {self.rate:.0f} a second; "
            f"{sum(self.kills.values())} kills {dict(self.kills)}; failpoints reached {dict(self.reached)}, "
            f"not reached {missed}; {self.after_apply} store errors after applying; other ends {dict(self.ends)}; "
            f"{self.outcome.said() if self.outcome else 'no outcome'}; replay: {self.replay}"
        )


class Run:
    """One run over a world; everything is conducted from the thread that made the world."""

    def __init__(self, world: World, *, seed: int, versions: int, kills: int) -> None:
        self._world = world
        self._base = Base.make(world, "b1")
        self._messages = Traffic(*self._base.place, seed=seed).messages(versions)
        self._chance = random.Random(seed)
        self._told = Told(seed, versions, kills, shares=shares(self._messages))
        self._failpoints = [*FAILPOINTS]
        self._chance.shuffle(self._failpoints)
        self._published = 0
        self._progress = 0.0

    def run(self, say: Callable[[str], None]) -> Told:
        """Publish, kill, wait for the end and judge."""
        began, seen = time.monotonic(), self._world.store_proxy.seen
        before = seen.failed + seen.cut
        with Workers(self._base) as workers:
            for _ in range(MEMBERS):
                workers.add(failpoint=self._next_failpoint())
            self._conduct(workers, say)
            self._disarm(workers)
            workers.drain(DRAIN_SECONDS + self._told.versions / 20)
            self._told.seconds = time.monotonic() - began
            self._told.after_apply = seen.failed + seen.cut - before
            self._told.outcome = self._base.judged()
        return self._told

    def _conduct(self, workers: Workers, say: Callable[[str], None]) -> None:
        publishing: Future[None] | None = None
        spoken = time.monotonic()
        while self._progress < 1.0 or sum(self._told.kills.values()) < self._told.wanted_kills:
            publishing = self._publish(publishing)
            self._tend(workers)
            self._look()
            if sum(self._told.kills.values()) < self._progress * self._told.wanted_kills:
                self._kill(workers)
            if time.monotonic() - spoken > 30:
                spoken = time.monotonic()
                say(f"B1: {self._progress:.0%}, {sum(self._told.kills.values())} kills")
            time.sleep(TICK_SECONDS)

    def _publish(self, publishing: Future[None] | None) -> Future[None] | None:
        """Keep production going, at most `AHEAD` before the workers; its errors are raised here."""
        if publishing is not None:
            if not publishing.done():
                return publishing
            publishing.result()
        done = self._progress * self._told.versions
        if self._published >= len(self._messages) or self._published - done > AHEAD:
            return None
        part: Sequence[Spoken] = self._messages[self._published : self._published + AT_ONCE]
        self._published += len(part)
        return self._world.loop.begin(self._base.published(part))

    def _look(self) -> None:
        """See how far the workers are; a broker that is away says nothing."""
        try:
            lag = self._base.lag()
        except (DependencyError, TimeoutError):
            return
        self._progress = max(0, self._published - lag) / self._told.versions

    def _tend(self, workers: Workers) -> None:
        """Start again what ended, as a kubelet does, now and then as another pod."""
        for worker in list(workers.members):
            status = worker.status
            if status is None:
                continue
            armed = worker.failpoint.partition(":")[0]
            if status == SIGKILLED and armed:
                self._told.kills["failpoint"] += 1
                self._told.reached[armed] += 1
            elif status != SIGKILLED:
                self._told.ends[status] += 1
            self._start_again(workers, worker)

    def _start_again(self, workers: Workers, worker: Worker) -> None:
        enough = sum(self._told.kills.values()) >= self._told.wanted_kills
        failpoint = "" if enough or self._chance.random() > ARMED_SHARE else self._next_failpoint()
        if self._chance.random() < REPLACED_SHARE:
            workers.members.remove(worker)
            workers.add(failpoint=failpoint)
        else:
            worker.start(failpoint)

    def _kill(self, workers: Workers) -> None:
        """Hurt one thing, and let the store fail after it applied something."""
        drawn, rules = self._chance.random(), self._world.store_proxy.rules
        rules.fail_after_apply += self._chance.randint(0, 2)
        rules.cut_after_apply += self._chance.randint(0, 1)
        if self._chance.random() < CUT_SHARE:
            self._world.broker_proxy.cut()
        if drawn < BROKER_SHARE:
            self._world.restart_broker()
            self._told.kills["broker"] += 1
        elif drawn < BROKER_SHARE + STORE_SHARE:
            self._world.restart_store()
            self._told.kills["store"] += 1
        else:
            worker = self._chance.choice(workers.members)
            if worker.kill():
                worker.failpoint = ""
                self._told.kills["worker"] += 1
                self._start_again(workers, worker)

    def _disarm(self, workers: Workers) -> None:
        """No failpoint is left for the rest."""
        for worker in workers.members:
            if worker.failpoint:
                worker.kill()
                worker.start()

    def _next_failpoint(self) -> str:
        """The next name in a shuffled round of all, and how often it is passed before it kills."""
        name = self._failpoints.pop(0)
        self._failpoints.append(name)
        if name in ("dead-letter", "withdraw-late", "delete-older"):
            return f"{name}:1"
        return f"{name}:{self._chance.randint(1, 3 if name in PER_BATCH else 40)}"


def run(world: World, *, seed: int, versions: int, kills: int, say: Callable[[str], None]) -> Told:
    """Run the goal once."""
    return Run(world, seed=seed, versions=versions, kills=kills).run(say)


def goals(told: Told) -> list[Goal]:
    """Return the goals of a run."""
    outcome = told.outcome
    if outcome is None:
        return [each.unmeasured(f"the run did not end; replay: {told.replay}") for each in (LOST, LETTERS, BEHIND)]
    first = "; ".join(map(str, outcome.differences[:3]))
    return [
        LOST.measured(len(outcome.differences), n=told.versions, seed=told.seed, reason=f"{told.said()} {first}"),
        LETTERS.measured(outcome.letters_missing + outcome.letters_extra, n=told.versions, seed=told.seed),
        BEHIND.measured(outcome.lag, n=told.versions, seed=told.seed),
    ]
