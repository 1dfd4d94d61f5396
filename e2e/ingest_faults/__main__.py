"""The target `faults-ingest`: runs the goals B1, B2, B3, B5, B7 and B8, prints counts, writes a report.

`python -m e2e.ingest_faults [B1 B3 ...]` runs all, or those that are named. QUICK=1 takes a seeded sample, SEED chooses
another one, `--versions N` and `--kills N` another size of B1. `python -m e2e.ingest_faults replay LINE` repeats what a
report names: `B1 seed=1 versions=1000 kills=10`, `B2 seed=1 versions=600`, `B3`, `late fate=killed newer=deleted`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace

from aiokafka.errors import KafkaError  # type: ignore[import-untyped]  # published without types

from bench import report
from bench.report import Aim, Goal
from e2e.ingest_faults import late, lossless, machine, permuted, rebalanced, replay, replayed, restored, slowed
from e2e.ingest_faults.plan import Plan, plan
from e2e.ingest_faults.world import World, world
from e2e.testbed.errors import ComponentError
from lectern_contract.errors import LecternError

TARGET = "faults-ingest"
PACKAGES = ("aiokafka", "lectern", "qdrant-client", "qdrant-edge-py")


class Run:
    """One run over a world: each method is one goal of quality.md B."""

    def __init__(self, started: World, chosen: Plan) -> None:
        self._world, self._plan = started, chosen

    def b1(self) -> list[Goal]:
        """Zero loss, zero stale."""
        chosen = self._plan
        told = lossless.run(self._world, seed=chosen.seed, versions=chosen.versions, kills=chosen.kills, say=say)
        say(told.said())
        return lossless.goals(told)

    def late(self) -> list[Goal]:
        """Writes that come late."""
        found = []
        for fate in late.FATES:
            for newer in late.NEWERS:
                found.append(late.run(self._world, fate, newer))
                say(f"{found[-1].replay}: {found[-1].outcome.said()}")
        return [late.goal(found)]

    def b2(self) -> list[Goal]:
        """Idempotent."""
        return replayed.goals(replayed.run(self._world, seed=self._plan.seed, versions=self._plan.replayed))

    def b3(self) -> list[Goal]:
        """Order-safe."""
        return [permuted.goal(permuted.run(self._world)), machine.goal(self._plan.sequences)]

    def b5(self) -> list[Goal]:
        """Rebalance."""
        chosen = self._plan
        told = rebalanced.run(self._world, seed=chosen.seed, moves=chosen.moves, seconds=chosen.move_seconds, say=say)
        return rebalanced.goals(told)

    def b7(self) -> list[Goal]:
        """Disaster."""
        chosen = self._plan
        return restored.goals(restored.run(self._world, seed=chosen.seed, messages=chosen.restored, say=say))

    def b8(self) -> list[Goal]:
        """Back-pressure."""
        chosen = self._plan
        return slowed.goals(slowed.run(self._world, seed=chosen.seed, seconds=chosen.slow_seconds, say=say))

    @property
    def steps(self) -> dict[str, Callable[[], list[Goal]]]:
        """All goals by the names that the command line takes, in the order in which they run."""
        return {
            "B2": self.b2,
            "B3": self.b3,
            "B7": self.b7,
            "late": self.late,
            "B5": self.b5,
            "B8": self.b8,
            "B1": self.b1,
        }


AIMS: dict[str, Aim] = {
    "B1": lossless.LOST,
    "late": late.LATE,
    "B2": replayed.CHANGED,
    "B3": permuted.WRONG,
    "B5": rebalanced.LOST,
    "B7": restored.RESTORED,
    "B8": slowed.LOST,
}
"""The first figure of each goal, which stands in the report as not measured where its trial did not end."""


def ended(name: str, step: Callable[[], list[Goal]]) -> list[Goal]:
    """Return the goals of a step; one that does not end leaves the others their turn."""
    began = time.monotonic()
    try:
        found = step()
    except (ComponentError, LecternError, KafkaError, TimeoutError, OSError, subprocess.SubprocessError) as error:
        traceback.print_exc()
        first = " ".join(str(error).split())[:200]
        found = [AIMS[name].unmeasured(f"the trial did not end ({type(error).__name__}: {first}); run it alone")]
    for each in found:
        verdict = {True: "met", False: "NOT MET", None: "not measured"}[each.met]
        say(f"{each.goal}: {each.figure}: {each.value} ({each.bound}), {verdict}; {each.reason}")
    say(f"{name} took {time.monotonic() - began:.0f} s")
    return found


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)


def chosen_plan(options: argparse.Namespace, *, quick: bool) -> Plan:
    """Return the plan with what the command line changes of it."""
    found = plan(int(os.environ.get("SEED", "1")), quick=quick)
    versions = options.versions or found.versions
    kills = found.kills if options.kills is None else options.kills
    return replace(found, versions=versions, kills=kills)


def main(arguments: Sequence[str]) -> int:
    """Run and report; return 0 when every goal is met."""
    parser = argparse.ArgumentParser(prog="python -m e2e.ingest_faults", description=__doc__)
    parser.add_argument("goals", nargs="*", help="B1, late, B2, B3, B5, B7, B8; or: replay LINE")
    parser.add_argument("--versions", type=int, help="document versions of B1")
    parser.add_argument("--kills", type=int, help="kills of B1")
    options = parser.parse_args(arguments)
    if options.goals[:1] == ["replay"]:
        return replay.replay(" ".join(options.goals[1:]))
    quick = report.is_quick(os.environ)
    chosen = chosen_plan(options, quick=quick)
    found: list[Goal] = []
    with world() as started:
        steps = Run(started, chosen).steps
        if unknown := set(options.goals) - set(steps):
            print(f"{sorted(unknown)} are no goals; there are {', '.join(steps)}", file=sys.stderr)
            return 2
        for name in options.goals or steps:
            found += ended(name, steps[name])
    described = report.machine(PACKAGES)
    return report.finish(report.Report(target=TARGET, goals=tuple(found), machine=described, quick=quick))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
