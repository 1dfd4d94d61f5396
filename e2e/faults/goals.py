"""Turns the results of the matrices into goals of one report, and says what repeats each failure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report import Aim, Goal
from e2e.faults.api_faults import BLIND_SECONDS, RECOVER_SECONDS, Endured
from e2e.faults.matrix import Result
from e2e.faults.mutated import SAY_SECONDS, Verdict
from e2e.faults.upkeep import FREED_SECONDS, LEASE_SECONDS, Fenced, Freed

CRASHES = Aim("A1", "crash points that do not end as without crashes", "<=", 0)
UNOBSERVED = Aim("A2", "dropped events that are not made up for", "<=", 0)
UNOBSERVED_SECONDS = Aim("A2", "slowest end of a scenario with a dropped event, resync period 20 s", "<=", 40, "s")
STALE = Aim("A3", "stale views behind which a live object was deleted or made anew", "<=", 0)
RECOVERED = Aim("A4", "slowest recovery after a fault of the API server", "<=", RECOVER_SECONDS, "s")
BLIND = Aim("A4", "longest time without acting after it", "<=", BLIND_SECONDS, "s")
HURRIES = Aim("A4", "requests before Retry-After allowed them", "<=", 0)
MUTATIONS = Aim("A5", "mutations that end wrong", "<=", 0)
COVERED = Aim("A5", "share of schema leaves mutated, of the kind with least", ">=", 0.95)
SAID = Aim("A5", "slowest answer to a mutation", "<=", SAY_SECONDS, "s")
INDEPENDENT = Aim("A8", "pods and scalings that ended while the operator was down", "<=", 0)
CONVENTIONS = Aim("A9", "breaches of kstatus and API conventions in recorded states", "<=", 0)
AHEAD = Aim("A9", "statuses that were Ready before their last child was written", "<=", 0)
FREED = Aim("A9", "deletes made while the operator was down, gone after", "<=", FREED_SECONDS, "s")
FENCED = Aim("lease", "writes of an operator that was stopped and continued", "<=", 0)
TAKEN_OVER = Aim("lease", "time until the standby acts", "<=", LEASE_SECONDS + 5, "s")


def of_matrix(aim: Aim, result: Result, seed: int) -> Goal:
    """Return the goal of a matrix: how many points did not converge."""
    failed = [each.replay for each in result.outcomes if not each.converged]
    remark = f"{result.said()}" + (f"; replay: {failed[0]}" if failed else "")
    return aim.measured(len(failed), n=len(result.outcomes), seed=seed, reason=remark)


def of_api_faults(endured: Sequence[Endured], seed: int) -> list[Goal]:
    """Return the goals of the faults of the API server."""
    never = float("inf")
    slowest = max((never if each.recovered is None else each.recovered for each in endured), default=never)
    blind = max((never if each.acted is None else each.acted for each in endured), default=never)
    hurries = sum(len(each.hurries) for each in endured)
    asked = sum(each.asked_to_wait for each in endured)
    exits = {each.phase: list(each.exits) for each in endured if each.exits}
    return [
        RECOVERED.measured(slowest, n=len(endured), seed=seed, reason=f"processes that ended by themselves: {exits}"),
        BLIND.measured(blind, n=len(endured), seed=seed),
        HURRIES.measured(hurries, n=asked, seed=seed),
    ]


def of_mutations(verdicts: Sequence[Verdict], covered: float, seed: int) -> list[Goal]:
    """Return the goals of the mutations."""
    wrong = [each for each in verdicts if each.wrong]
    refused, rejected = sum(bool(each.refused) for each in verdicts), sum(each.rejected for each in verdicts)
    fresh = sum(each.fresh for each in verdicts)
    remark = (
        f"{refused} refused by the API server, {rejected} rejected by the operator, {fresh} compared with fresh ones"
    )
    remark += f"; replay: {wrong[0].line()}" if wrong else ""
    return [
        MUTATIONS.measured(len(wrong), n=len(verdicts), seed=seed, reason=remark),
        COVERED.measured(covered, n=len(verdicts), seed=seed),
        SAID.measured(max((each.said_after for each in verdicts), default=0.0), n=len(verdicts), seed=seed),
    ]


def of_upkeep(breaches: Sequence[str], states: int, ahead: Sequence[str], gone: Freed) -> list[Goal]:
    """Return the goals of conventions and deletes."""
    return [
        CONVENTIONS.measured(len(breaches), n=states, reason="; ".join(breaches[:3])),
        AHEAD.measured(len(ahead), n=1, reason="; ".join(ahead[:3])),
        FREED.measured(float("inf") if gone.left else gone.seconds, n=1, reason="; ".join(gone.left)),
    ]


def of_lease(fenced: Fenced) -> list[Goal]:
    """Return the goals of two operators at once."""
    seconds = float("inf") if fenced.taken_over_seconds is None else fenced.taken_over_seconds
    status = "went on" if fenced.stopped_status is None else f"ended with status {fenced.stopped_status}"
    return [
        FENCED.measured(len(fenced.late_writes) + len(fenced.wrong), n=1, reason=f"the stopped one {status}"),
        TAKEN_OVER.measured(seconds, n=1),
    ]
