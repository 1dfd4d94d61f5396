"""Goal B2: the whole topic again, and once more, changes nothing and costs next to no embeddings."""

from __future__ import annotations

from dataclasses import dataclass

from bench.report import Aim, Goal
from e2e.ingest_faults.base import Base, Outcome
from e2e.ingest_faults.checker import Stored, read
from e2e.ingest_faults.traffic import Traffic
from e2e.ingest_faults.workers import Workers
from e2e.ingest_faults.world import World
from lectern_runtime.maintain.rewind import Target

CHANGED = Aim("B2", "points that two replays of the topic change, or that differ from the model", "<=", 0)
EMBEDDED = Aim("B2", "texts embedded again by two replays, share of the first pass", "<=", 0.01)
MEMBERS = 2
TIMES = 2
PROBES_A_START = 1
"""A worker embeds one word at its start, to see how long vectors are."""
DRAIN_SECONDS = 300.0


@dataclass(frozen=True)
class Told:
    """What the replays did."""

    seed: int
    versions: int
    first: int
    again: int
    changed: int
    outcome: Outcome

    @property
    def replay(self) -> str:
        """The line that repeats it."""
        return f"B2 seed={self.seed} versions={self.versions}"


def run(world: World, *, seed: int, versions: int) -> Told:
    """Fill a base, then read its topic from the beginning twice more."""
    base = Base.make(world, "b2")
    before = _texts(world)
    base.publish(Traffic(*base.place, seed=seed).messages(versions))
    _pass(base, versions)
    first = _texts(world) - before - MEMBERS * PROBES_A_START
    stored = _points(base)
    before = _texts(world)
    for _ in range(TIMES):
        base.rewind(Target())
        _pass(base, versions)
    again = _texts(world) - before - TIMES * MEMBERS * PROBES_A_START
    changed = len(set(stored.items()) ^ set(_points(base).items()))
    return Told(seed, versions, first, again, changed, base.judged())


def _pass(base: Base, versions: int) -> None:
    with Workers(base) as workers:
        for _ in range(MEMBERS):
            workers.add()
        workers.wait_ready()
        workers.drain(DRAIN_SECONDS + versions / 10)
        workers.stop()


def _texts(world: World) -> int:
    return world.stub.counts()["texts"]


def _points(base: Base) -> dict[str, str]:
    def spelled(point: Stored) -> str:
        return repr((point.key, sorted(point.payload.items()), point.vector))

    return {point.id: spelled(point) for point in read(base.world.double.url, base.collection)}


def goals(told: Told) -> list[Goal]:
    """Return the goals."""
    wrong = told.changed + len(told.outcome.differences)
    share = told.again / told.first if told.first else float("nan")
    return [
        CHANGED.measured(
            wrong, n=told.versions, seed=told.seed, reason=f"{told.outcome.said()}; replay: {told.replay}"
        ),
        EMBEDDED.measured(share, n=told.first, seed=told.seed, reason=f"{told.again} of {told.first} texts"),
    ]
