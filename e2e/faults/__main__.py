"""The target `faults-operator`: runs the matrices A1 to A5, A8, A9 and the Lease, prints counts, writes a report.

`python -m e2e.faults [A1 A3 ...]` runs all, or those that are named. QUICK=1 takes a seeded sample of minutes, SEED
chooses another one. `python -m e2e.faults replay LINE` repeats one point as a report or a failed test spells it:
`create kill=before:PATCH:deployments/docs-worker#1`, `spec-change drop=pods#3`, `create stale=middle:owners`,
`mixed-errors seed=3 scale=0.05`, `mutation=KnowledgeBase#17 seed=1`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

from bench import report
from bench.report import Goal
from e2e.faults import (
    api_faults,
    conventions,
    crashes,
    goals,
    independence,
    matrix,
    mutated,
    mutations,
    replay,
    stale,
    unobserved,
    upkeep,
)
from e2e.faults.arena import arena
from e2e.faults.plan import Plan, plan
from e2e.faults.scenarios import BY_NAME, SCENARIOS, trio
from e2e.faults.trials import Bench, Outcome, Reference

TARGET = "faults-operator"
STALE_SCENARIOS = ("create", "scale", "spec-change", "shard-change", "delete-and-recreate")
API_NAMESPACES = 6
WANTED_BY = {"A1": SCENARIOS, "A2": SCENARIOS, "A3": tuple(BY_NAME[name] for name in STALE_SCENARIOS)}


class Run:
    """One run over an arena: each method is one goal of quality.md A."""

    def __init__(self, benches: Sequence[Bench], chosen: Plan) -> None:
        self._benches = benches
        self._arena = benches[0].arena
        self._plan = chosen
        self._references: dict[str, Reference] = {}

    def wanted(self, goal: str) -> dict[str, Reference]:
        """Return the golden ends that a matrix compares with, made at their first use."""
        missing = [each for each in WANTED_BY[goal] if each.name not in self._references]
        if missing:
            self._references |= matrix.references(self._benches[0], missing)
        return {each.name: self._references[each.name] for each in WANTED_BY[goal]}

    def a1(self) -> list[Goal]:
        """Crash matrix."""
        chosen = self._plan
        result = crashes.run(self._benches, self.wanted("A1"), most=chosen.crashes, seed=chosen.seed, told=told)
        print(result.said(), flush=True)
        return [goals.of_matrix(goals.CRASHES, result, chosen.seed)]

    def a2(self) -> list[Goal]:
        """Unobserved events."""
        chosen = self._plan
        result = unobserved.run(self._benches, self.wanted("A2"), most=chosen.unobserved, seed=chosen.seed, told=told)
        print(result.said(), flush=True)
        return [
            goals.of_matrix(goals.UNOBSERVED, result, chosen.seed),
            goals.UNOBSERVED_SECONDS.measured(result.slowest, n=len(result.outcomes), seed=chosen.seed),
        ]

    def a3(self) -> list[Goal]:
        """Stale views."""
        chosen = self._plan
        wanted = self.wanted("A3")
        known = stale.points(STALE_SCENARIOS)
        tried = stale.sampled(known, chosen.stale, chosen.seed)
        result = stale.run(self._benches, wanted, tried, known=len(known), hold_seconds=chosen.stale_seconds, told=told)
        print(result.said(), flush=True)
        return [goals.of_matrix(goals.STALE, result, chosen.seed)]

    def a4(self) -> list[Goal]:
        """Faults of the API server."""
        chosen = self._plan
        namespaces = self._arena.prepared(API_NAMESPACES, "api-faults")
        tried = api_faults.phases(chosen.seed, scale=chosen.api_scale)
        found = api_faults.run(
            self._benches[0], namespaces, tried, seed=chosen.seed, told=lambda each: print(each.said(), flush=True)
        )
        return goals.of_api_faults(found, chosen.seed)

    def a5(self) -> list[Goal]:
        """Mutations."""
        chosen = self._plan
        tried, covered = [], []
        for document in trio(self._arena.world):
            of_kind = mutations.mutations(document["kind"], document["spec"], count=chosen.mutations, seed=chosen.seed)
            tried += of_kind
            covered.append(mutations.covered(of_kind))
        found = mutated.run(self._arena, tried, told=lambda each: print(each.line()) if each.wrong else None)
        return goals.of_mutations(found, min(covered), chosen.seed)

    def a8(self) -> list[Goal]:
        """Independence."""
        found = independence.alone(self._arena, self._arena.prepared(2, "alone"), self._plan.down_seconds)
        wrong = (*found.ended, *found.not_scaled)
        remark = f"{found.seconds:.0f} s without an operator; queries are not measured: no container runs here"
        return [goals.INDEPENDENT.measured(len(wrong), n=found.pods, reason="; ".join((remark, *wrong[:3])))]

    def a9(self) -> list[Goal]:
        """Conventions, over all states that were recorded until now."""
        first, *others = self._arena.prepared(4, "upkeep")
        ahead = upkeep.ahead(self._benches[0], first)
        gone = upkeep.freed(self._benches[0], others)
        mirror = self._arena.mirror
        history = [state for name in mirror.namespaces() for state in mirror.history(name)]
        return goals.of_upkeep(conventions.breaches(history), len(history), ahead, gone)

    def lease(self) -> list[Goal]:
        """Two operators."""
        (namespace,) = self._arena.prepared(1, "fenced")
        return goals.of_lease(upkeep.fenced(self._benches[0], self._benches[1], namespace))


def told(outcome: Outcome) -> None:
    """Print how far the matrix is, and what did not converge with the line that repeats it."""
    print(".", end="", flush=True)
    if not outcome.converged:
        print("\n    ".join((f"\nnot converged: {outcome.replay}", *outcome.why)), flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run and report; return 0 when every goal is met."""
    if arguments[:1] == ["replay"]:
        return replay.replay(" ".join(arguments[1:]))
    quick = report.is_quick(os.environ)
    chosen = plan(int(os.environ.get("SEED", "1")), quick=quick)
    found: list[Goal] = []
    with arena() as started, matrix.benches(started) as benches:
        run = Run(benches, chosen)
        steps: dict[str, Callable[[], list[Goal]]] = {
            "A1": run.a1,
            "A2": run.a2,
            "A3": run.a3,
            "A4": run.a4,
            "A5": run.a5,
            "A8": run.a8,
            "lease": run.lease,
            "A9": run.a9,
        }
        if unknown := set(arguments) - set(steps):
            print(f"{sorted(unknown)} are no goals; there are {', '.join(steps)}", file=sys.stderr)
            return 2
        for name in arguments or steps:
            began = time.monotonic()
            found += steps[name]()
            print(f"{name} took {time.monotonic() - began:.0f} s", flush=True)
    machine = report.machine(("kopf", "kubernetes", "aiohttp"))
    return report.finish(report.Report(target=TARGET, goals=tuple(found), machine=machine, quick=quick))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
