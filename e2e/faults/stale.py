"""A3: the operator is started again behind a view that stands still in the past, and must harm nothing that lives.

First the scenario runs to its end. Then the process is killed and a new one is started, to which lists and watches tell
the state of an earlier moment for a while. Single objects are answered as they are, as an API server does.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from e2e.faults import golden, matrix
from e2e.faults.arena import POLL_SECONDS
from e2e.faults.mirror import OWNERS
from e2e.faults.process import Operator, ended_with_block
from e2e.faults.rules import NO_FAULTS, Rules
from e2e.faults.scenarios import BY_NAME, Scenario
from e2e.faults.trials import Bench, Outcome, Reference, begin, converge, counts

AGES = ("before", "middle")
"""The moment of the view: before the first act, or after half of the writes that followed."""
VIEWS: dict[str, frozenset[str]] = {
    "all": frozenset(),
    "owners": frozenset(OWNERS),
    "children": frozenset(
        {
            "configmaps",
            "cronjobs",
            "deployments",
            "horizontalpodautoscalers",
            "ingresses",
            "jobs",
            "networkpolicies",
            "persistentvolumeclaims",
            "poddisruptionbudgets",
            "pods",
            "scaledobjects",
            "secrets",
            "serviceaccounts",
            "services",
            "triggerauthentications",
        }
    ),
}
"""Which kinds stand still: watches lag each by itself, so owners and children may be of different times."""
END_SECONDS = 60.0


@dataclass(frozen=True)
class View:
    """A point: how old the view is, and of what."""

    scenario: Scenario
    age: str
    view: str

    def __str__(self) -> str:
        return f"stale={self.age}:{self.view}"


def points(scenarios: Sequence[str]) -> list[View]:
    """Return every point of these scenarios."""
    return [View(BY_NAME[name], age, view) for name in scenarios for age in AGES for view in VIEWS]


def run(
    side_by_side: Sequence[Bench],
    wanted: Mapping[str, Reference],
    tried: Sequence[View],
    *,
    known: int,
    hold_seconds: float,
    told: Callable[[Outcome], None] = lambda _: None,
) -> matrix.Result:
    """Try these points, each behind a view that stands still for `hold_seconds`."""

    def act(bench: Bench, point: View, namespace: str) -> Outcome:
        return trial(bench, point, namespace, wanted[point.scenario.name], hold_seconds)

    return matrix.spread("A3", side_by_side, [(point, point.scenario) for point in tried], act, known=known, told=told)


def trial(bench: Bench, point: View, namespace: str, wanted: Reference, hold_seconds: float) -> Outcome:
    """Run the scenario to its end, restart the operator behind the stale view, and say what it harmed."""
    mirror, proxy = bench.arena.mirror, bench.proxy
    operator = bench.operator(namespace, 600)
    with ended_with_block(operator):
        before = _version(bench)
        acting = begin(bench, operator, point.scenario, namespace, NO_FAULTS)
        why = converge(bench, operator, namespace, wanted, acting, END_SECONDS)
        if why:
            return Outcome(point.scenario.name, str(point), False, time.monotonic() - acting.began, tuple(why[:6]))
        writes = [each.version for each in proxy.record.effective_writes() if each.version]
        at = before if point.age == "before" or not writes else writes[len(writes) // 2]
        operator.kill()
        operator.wait()
        mirror.recount(namespace)
        harm = _restart(bench, operator, namespace, Rules(frozen_at=at, frozen_kinds=VIEWS[point.view]), hold_seconds)
        proxy.rules = NO_FAULTS
        restarted = time.monotonic()
        harm += _settled_again(bench, operator, namespace, wanted, restarted + END_SECONDS)
        harm += _harm(bench, namespace)
        seconds = time.monotonic() - restarted
    return Outcome(point.scenario.name, str(point), True, seconds, tuple(dict.fromkeys(harm)), operator.starts)


def _restart(bench: Bench, operator: Operator, namespace: str, rules: Rules, hold_seconds: float) -> list[str]:
    """Start the operator behind the view and keep it there; return what it harmed meanwhile."""
    proxy = bench.proxy
    proxy.record.restart()
    proxy.rules = rules
    operator.start()
    proxy.revive(operator.kill)
    deadline = time.monotonic() + hold_seconds
    while time.monotonic() < deadline:
        if not operator.is_running:
            return [f"the operator ended with status {operator.wait()} behind a stale view: {operator.tail()[-300:]}"]
        time.sleep(POLL_SECONDS)
    return _harm(bench, namespace)


def _harm(bench: Bench, namespace: str) -> list[str]:
    """Return what was created or deleted since the restart: everything that had to be was there already."""
    created, deleted = counts(bench.arena.mirror, namespace)
    harm = [f"{title} was created anew ({number})" for title, number in sorted(created.items())]
    return harm + [f"{title} was deleted ({number})" for title, number in sorted(deleted.items())]


def _settled_again(bench: Bench, operator: Operator, namespace: str, wanted: Reference, deadline: float) -> list[str]:
    """Wait until the end state is the golden one again."""
    mirror = bench.arena.mirror
    wrong: list[str] = []
    while time.monotonic() < deadline and operator.is_running:
        wrong = golden.differences(wanted.state, golden.end_state(mirror, namespace))
        if not wrong and time.monotonic() - bench.proxy.record.last_write > 1.0:
            return []
        time.sleep(POLL_SECONDS)
    return wrong[:6] or ["it does not come to rest, or ended"]


def _version(bench: Bench) -> str:
    """The resource version of now."""
    found = bench.arena.plane.request("GET", "/api/v1/namespaces?limit=1")
    return str(found["metadata"]["resourceVersion"])


def sampled(known: Sequence[View], most: int | None, seed: int) -> list[View]:
    """Return at most `most` of the points (all where None), chosen by `seed`."""
    return list(known) if most is None else random.Random(seed).sample(list(known), min(most, len(known)))
