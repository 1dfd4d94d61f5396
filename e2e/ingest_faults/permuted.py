"""Goal B3: every order of {v1, v2, delete, v3}, with every prefix delivered again, ends as the log's order says.

Twenty-four documents, one for each order. The messages go round by round through real workers, so that each message
is acted on; then the group is set back to the beginning of each round in turn. The same all at once, where a worker
acts on the newest of what it reads together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

from bench.report import Aim, Goal
from e2e.ingest_faults.base import PARTITIONS, Base, Outcome
from e2e.ingest_faults.traffic import PARTITIONS as WHERE
from e2e.ingest_faults.traffic import Spoken, deleted, put, reference
from e2e.ingest_faults.workers import Workers
from e2e.ingest_faults.world import World

ORDERS = tuple(permutations(("v1", "v2", "delete", "v3")))
WRONG = Aim("B3", "orders and redeliveries of {v1, v2, delete, v3} that do not end as the log says", "<=", 0)
TEXTS = {"v1": "amber basin cedar " * 30, "v2": "delta ember " * 8, "v3": "amber basin cedar " * 12 + "fjord"}
DRAIN_SECONDS = 300.0


@dataclass(frozen=True)
class Told:
    """How each look at the store ended, by what came before it."""

    outcomes: dict[str, Outcome]

    @property
    def wrong(self) -> list[str]:
        """What did not end as it should."""
        return [f"{name}: {each.said()}" for name, each in self.outcomes.items() if not each.is_equal]


def spoken(base: Base, round_: int) -> list[Spoken]:
    """Return the messages of one round: of each order its message of that number, from 0."""
    return [message(base, number, order[round_]) for number, order in enumerate(ORDERS)]


def message(base: Base, number: int, what: str) -> Spoken:
    """Return what is said about the document of one order."""
    document = reference(*base.place, f"order-{number}.txt", WHERE[number % len(WHERE)])
    name = f"{document.id}-{what}"
    return deleted(document, name) if what == "delete" else put(document, TEXTS[what], name=name)


def run(world: World) -> Told:
    """Run all orders, round by round and all at once, and all redeliveries."""
    base = Base.make(world, "b3")
    outcomes: dict[str, Outcome] = {}
    begins: list[dict[int, int]] = []
    with Workers(base) as workers:
        workers.add()
        for round_ in range(4):
            begins.append(_ends(base))
            base.publish(spoken(base, round_))
            workers.drain(DRAIN_SECONDS)
            outcomes[f"round {round_}"] = base.judged()
        workers.stop()
        for round_, begin in enumerate(begins):
            base.rewind(begin)
            workers.add()
            workers.drain(DRAIN_SECONDS)
            outcomes[f"delivered again from round {round_}"] = base.judged()
            workers.stop()
    outcomes["at once"] = at_once(world)
    return Told(outcomes)


def at_once(world: World) -> Outcome:
    """Say everything before the workers begin, and return how it ended."""
    base = Base.make(world, "b3-once")
    base.publish([each for round_ in range(4) for each in spoken(base, round_)])
    with Workers(base) as workers:
        workers.add()
        workers.add()
        workers.drain(DRAIN_SECONDS)
        return base.judged()


def _ends(base: Base) -> dict[int, int]:
    ends = dict.fromkeys(range(PARTITIONS), 0)
    for each in base.said():
        ends[each.partition] = max(ends[each.partition], each.offset + 1)
    return ends


def goal(told: Told) -> Goal:
    """Return the goal."""
    remark = "; ".join((f"{len(ORDERS)} orders; {', '.join(told.outcomes)}", *told.wrong, "replay: B3"))
    return WRONG.measured(len(told.wrong), n=len(ORDERS) * len(told.outcomes), reason=remark)
