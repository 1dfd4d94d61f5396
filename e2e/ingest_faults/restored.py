"""Goal B7: a store restored from a snapshot that is OLDER than the committed offsets, and a topic that is made anew.

What a person has to do after the first is one step: `lectern rewind`, to the moment of the snapshot or to the start,
while no worker runs. Nothing else is needed: records say which version they are of.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.report import Aim, Goal
from e2e.ingest_faults.base import Base, Outcome
from e2e.ingest_faults.traffic import Spoken, Traffic, deleted, put
from e2e.ingest_faults.workers import Workers
from e2e.ingest_faults.world import World
from lectern_contract.messages import Put
from lectern_contract.payload import DocumentState
from lectern_runtime.maintain.rewind import Target

RESTORED = Aim("B7", "points that differ from the model after a snapshot and rewound offsets", "<=", 0)
RENEWED = Aim("B7", "points that differ from the model after the documents topic was made anew", "<=", 0)
MEMBERS = 2
DRAIN_SECONDS = 300.0


@dataclass(frozen=True)
class Told:
    """The state at each step; `unrewound` shows that the disaster was one."""

    seed: int
    messages: int
    unrewound: Outcome
    rewound: Outcome
    from_start: Outcome
    renewed: Outcome

    @property
    def replay(self) -> str:
        """The line that repeats it."""
        return f"B7 seed={self.seed} messages={self.messages}"


def run(world: World, *, seed: int, messages: int, say: Callable[[str], None]) -> Told:
    """Snapshot half way, go on, restore, rewind; then make the topic anew and sync everything again."""
    base = Base.make(world, "b7")
    traffic = Traffic(*base.place, seed=seed)
    snapshot = world.directory / "snapshot"
    _work(base, traffic.messages(messages // 2))
    moment = time.time()  # all that was said before it is in the snapshot
    _copied(world, world.double.data, snapshot)
    _work(base, traffic.messages(messages - messages // 2))
    _copied(world, snapshot, world.double.data)
    unrewound = base.judged()
    say(f"B7: restored, not rewound: {unrewound.said()}")
    base.rewind(Target(since=moment))
    _work(base, [])
    rewound = base.judged()
    say(f"B7: rewound to the snapshot's moment: {rewound.said()}")
    _copied(world, snapshot, world.double.data)
    base.rewind(Target())
    _work(base, [])
    from_start = base.judged()
    base.renew_topic()
    _work(base, _synced_again(base))
    renewed = base.judged()
    say(f"B7: with a new topic: {renewed.said()}")
    shutil.rmtree(snapshot)
    return Told(seed, messages, unrewound, rewound, from_start, renewed)


def _work(base: Base, messages: list[Spoken]) -> None:
    base.publish(messages)
    with Workers(base) as workers:
        for _ in range(MEMBERS):
            workers.add()
        workers.drain(DRAIN_SECONDS)
        workers.stop()


def _copied(world: World, source: Path, target: Path) -> None:
    """Copy the store's files while it is down."""
    world.double.stop()
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    world.double.start()


def _synced_again(base: Base) -> list[Spoken]:
    """What a full resync says after the topic was lost: every living document again, and one of three is gone."""
    living = [each for each in base.past if isinstance(each.message, Put)]
    expected = base.expected()
    found: list[Spoken] = []
    for number, each in enumerate(sorted(living, key=lambda said: said.version)):
        message = each.message
        if expected[message.document.id].version != each.version or not isinstance(message, Put):
            continue
        if expected[message.document.id].state is DocumentState.INDEXED and number % 3:
            text = base.bytes_of[message.sha256].decode()
            found.append(put(message.document, text, media_type=message.media_type, name=f"again-{number}"))
        else:
            found.append(deleted(message.document, f"again-{number}"))
    return found


def goals(told: Told) -> list[Goal]:
    """Return the goals."""
    wrong = len(told.rewound.differences) + len(told.from_start.differences)
    lost = len(told.unrewound.differences)
    return [
        RESTORED.measured(
            wrong,
            n=told.messages,
            seed=told.seed,
            reason=f"{lost} differences before the rewind; {told.rewound.said()}; replay: {told.replay}",
        ),
        RENEWED.measured(len(told.renewed.differences), n=told.messages, seed=told.seed, reason=told.renewed.said()),
    ]
