"""Goal B1, the line "delete, then a late upsert": a write that reaches the store long after its sender lost its place.

The proxy holds a worker's write back. Before it arrives, another worker has brought the store to a newer version.
The sender is killed while it waits, or lives on, or is killed where it would take back what it wrote.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from bench.report import Aim, Goal
from e2e.ingest_faults.base import Base, Outcome
from e2e.ingest_faults.traffic import Spoken, deleted, put, reference
from e2e.ingest_faults.workers import Worker, Workers
from e2e.ingest_faults.world import World, wait
from e2e.testbed.errors import StartFailed
from lectern_runtime.embed.late import LOOKS_SECONDS

LATE = Aim("B1", "late writes that leave something stale", "<=", 0)
HOLDS_SECONDS = (25.0, 55.0)
"""How long a write is held back; the second time longer, where the machine was too slow to overtake it in the first."""
LONG_TEXT = "amber basin cedar " * 30
SHORT_TEXT = "amber"
Fate = Literal["killed", "lives", "killed-at-withdraw-late"]
Newer = Literal["deleted", "shorter"]
FATES: tuple[Fate, ...] = ("killed", "lives", "killed-at-withdraw-late")
NEWERS: tuple[Newer, ...] = ("deleted", "shorter")
WAIT_SECONDS = 180.0
LOOKING_SECONDS = 15.0


@dataclass(frozen=True)
class Told:
    """How one late write ended."""

    fate: Fate
    newer: Newer
    outcome: Outcome

    @property
    def replay(self) -> str:
        """The line that repeats it."""
        return f"late fate={self.fate} newer={self.newer}"


def run(world: World, fate: Fate, newer: Newer) -> Told:
    """Let one write come late; raises StartFailed when the machine is too slow to overtake it."""
    for seconds in HOLDS_SECONDS:
        outcome = _tried(world, fate, newer, seconds)
        if outcome is not None:
            return Told(fate, newer, outcome)
    raise StartFailed(f"no worker overtook a write that was held back for {HOLDS_SECONDS[-1]:.0f} s; is the load high?")


def _tried(world: World, fate: Fate, newer: Newer, seconds: float) -> Outcome | None:
    """How it ended; None when the write was not late after all."""
    base = Base.make(world, "late")
    document = reference(*base.place, "late.txt")
    seen, rules = world.store_proxy.seen, world.store_proxy.rules
    with Workers(base) as workers:
        first = workers.add(failpoint="withdraw-late:1" if fate == "killed-at-withdraw-late" else "")
        workers.wait_ready()
        held = seen.held
        rules.hold_seconds, rules.hold_writes = seconds, 1
        base.publish([put(document, LONG_TEXT)])
        wait(lambda: seen.held > held, WAIT_SECONDS, "the write that is held back")
        if fate == "killed":
            first.kill()
            workers.members.remove(first)
        base.publish([_newer(base, newer)])
        _take_over(base, workers)
        if not world.store_proxy.late:
            return None
        wait(lambda: not world.store_proxy.late, WAIT_SECONDS, "the end of the write that was held back")
        if fate != "killed":
            _settle(base, first)
        workers.drain(WAIT_SECONDS)
        return _at_rest(base)


def _at_rest(base: Base) -> Outcome:
    """How it ended: with what the worker that took over has taken back, if anything was left to be."""
    deadline = time.monotonic() + LOOKS_SECONDS[-1] + LOOKING_SECONDS
    while True:
        outcome = base.judged()
        if not outcome.differences or time.monotonic() > deadline:
            return outcome
        time.sleep(1.0)


def _newer(base: Base, newer: Newer) -> Spoken:
    document = reference(*base.place, "late.txt")
    return deleted(document) if newer == "deleted" else put(document, SHORT_TEXT)


def _take_over(base: Base, workers: Workers) -> None:
    """Let another worker bring the store to the newer version while the write is still held back.

    A group gives a new member what it likes, so the first one is paused out of the group where it lives.
    """
    for each in workers.members:
        each.pause()
    workers.add()
    wait(lambda: _newest_is_there(base), WAIT_SECONDS, "the newer version in the store")
    for each in workers.members[:-1]:
        each.resume()


def _newest_is_there(base: Base) -> bool:
    return any(each.version == _last(base) for each in base.events())


def _last(base: Base) -> int:
    return max(each.version for each in base.said())


def _settle(base: Base, worker: Worker) -> None:
    """Wait until the late worker has done what it does about its late write: taken it back, or died there."""
    wait(lambda: not worker.alive or base.lag() == 0, WAIT_SECONDS, "what the late worker does")
    if worker.alive:
        worker.stop()
        worker.start()


def goal(told: list[Told]) -> Goal:
    """Return the goal over all late writes."""
    wrong = [each for each in told if each.outcome.differences]
    remark = "; ".join(f"{each.replay}: {each.outcome.said()}" for each in wrong) or "nothing stale"
    return LATE.measured(len(wrong), n=len(told), reason=remark)
