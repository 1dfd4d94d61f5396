"""One trial: a scenario in a namespace of its own under one fault, watched until it ends as it does without faults."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from e2e.faults import golden
from e2e.faults.acting import Acting
from e2e.faults.arena import POLL_SECONDS, Arena, NotSettled, is_settled, quiet, unready
from e2e.faults.mirror import MADE_BY_CONTROLLERS, Mirror, Seen
from e2e.faults.process import Operator, ended_with_block
from e2e.faults.proxy import FaultProxy
from e2e.faults.rules import NO_FAULTS, EventKey, Rules, WriteKey
from e2e.faults.scenarios import CLAIMS, Scenario

REFERENCE_SECONDS = 60.0
CONVERGE_SECONDS = 60.0
QUIET_SECONDS = 0.7
CALM_MOST_SECONDS = 5.0
MOST_LINES = 6


@dataclass(frozen=True)
class Reference:
    """What a scenario ends in without faults, what it takes, and what there is to break on the way."""

    state: golden.Golden
    created: Counter[str]
    deleted: Counter[str]
    writes: tuple[WriteKey, ...]
    events: tuple[EventKey, ...]
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """How one trial ended. `reached`: the fault happened; `why` is empty where it converged with the same counts."""

    scenario: str
    fault: str
    reached: bool
    seconds: float
    why: tuple[str, ...] = ()
    starts: int = 1

    @property
    def converged(self) -> bool:
        """Whether the end was the golden one."""
        return not self.why

    @property
    def replay(self) -> str:
        """The line that repeats the trial."""
        return f"{self.scenario} {self.fault}".strip()


@dataclass(frozen=True)
class Bench:
    """Where one trial after the other runs: an arena, and a proxy of its own."""

    arena: Arena
    proxy: FaultProxy

    def operator(self, namespace: str, resync_seconds: int) -> Operator:
        """Return an operator for one namespace behind the proxy."""
        kubeconfig = self.proxy.kubeconfig(self.arena.directory)
        return Operator(kubeconfig, self.arena.directory, namespace, resync_seconds)


def reference(bench: Bench, scenario: Scenario, namespace: str) -> Reference:
    """Run the scenario without faults; raises NotSettled when it does not come to an end."""
    mirror = bench.arena.mirror
    operator = bench.operator(namespace, 600)
    with ended_with_block(operator):
        acting = begin(bench, operator, scenario, namespace, NO_FAULTS)
        deadline = time.monotonic() + REFERENCE_SECONDS
        while not (acting.is_done() and _has_ended(mirror, scenario, namespace)):
            if time.monotonic() > deadline:
                said = unready(mirror, namespace, scenario.not_ready)
                raise NotSettled(f"{scenario.name} without faults does not end: {said}")
            time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - acting.began
        quiet(mirror, [namespace])
        operator.stop()
    created, deleted = counts(mirror, namespace)
    writes = tuple(each.key for each in bench.proxy.record.effective_writes())
    events = tuple(each.key for each in bench.proxy.record.told)
    return Reference(golden.end_state(mirror, namespace), created, deleted, writes, events, seconds)


def trial(
    bench: Bench,
    scenario: Scenario,
    namespace: str,
    rules: Rules,
    wanted: Reference,
    *,
    fault: str,
    resync_seconds: int = 600,
    converge_seconds: float = CONVERGE_SECONDS,
) -> Outcome:
    """Run the scenario under `rules`, starting the operator again whenever it ends, and compare the end."""
    operator = bench.operator(namespace, resync_seconds)
    with ended_with_block(operator):
        acting = begin(bench, operator, scenario, namespace, rules)
        why = converge(bench, operator, namespace, wanted, acting, converge_seconds)
        seconds = time.monotonic() - acting.began
        operator.kill()
        operator.wait()
    reached = operator.starts > 1 if rules.kill else any(each.fate != "told" for each in bench.proxy.record.told)
    return Outcome(scenario.name, fault, reached, seconds, tuple(why[:MOST_LINES]), operator.starts)


def counts(mirror: Mirror, namespace: str) -> tuple[Counter[str], Counter[str]]:
    """Return creations and deletions by kind and name; of ReplicaSets their number alone, of pods nothing."""
    both = []
    for counted in mirror.counts(namespace):
        kept: Counter[str] = Counter()
        for title, number in counted.items():
            plural = title.partition("/")[0]
            if plural not in MADE_BY_CONTROLLERS:
                kept[title] += number
            elif plural == "replicasets":
                kept[plural] += number
        both.append(kept)
    return both[0], both[1]


def begin(bench: Bench, operator: Operator, scenario: Scenario, namespace: str, rules: Rules) -> Acting:
    """Start the operator, let it look around, and let the user act."""
    proxy, arena = bench.proxy, bench.arena
    proxy.record.restart()
    proxy.rules = rules
    operator.start()
    proxy.revive(operator.kill)
    if scenario.prepared or not rules.kill:  # a kill may come before it is healthy
        operator.await_healthy()
    if rules == NO_FAULTS:
        _await_calm(proxy)  # how it copes with acts during its start is what the trials show
    arena.mirror.recount(namespace)
    return Acting(arena, namespace, scenario.acts)


def _await_calm(proxy: FaultProxy) -> None:
    """Wait until the operator asks for nothing, having looked around; it may look at what is outside for ever."""
    deadline = time.monotonic() + CALM_MOST_SECONDS
    while time.monotonic() - proxy.record.last_request < QUIET_SECONDS and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _has_ended(mirror: Mirror, scenario: Scenario, namespace: str) -> bool:
    if scenario.leaves_nothing:
        return not [each for each in mirror.live(namespace) if golden.matters(each) and not _of_the_user(each)]
    return is_settled(mirror, namespace, scenario.not_ready)


def _of_the_user(seen: Seen) -> bool:
    return seen.plural == "persistentvolumeclaims" and seen.body["metadata"]["name"] in CLAIMS


def converge(
    bench: Bench, operator: Operator, namespace: str, wanted: Reference, acting: Acting, seconds: float
) -> list[str]:
    """Wait until the end state is the golden one and nothing moves; return what is wrong after `seconds`."""
    mirror, proxy, deadline = bench.arena.mirror, bench.proxy, time.monotonic() + seconds
    changes, since, wrong = -1, time.monotonic(), ["nothing happened"]
    while time.monotonic() < deadline:
        if not operator.is_running:
            operator.wait()
            proxy.rules = NO_FAULTS
            operator.start()
            proxy.revive(operator.kill)
            since = time.monotonic()
        if (now := mirror.changes(namespace)) != changes:
            changes, since = now, time.monotonic()
            wrong = golden.differences(wanted.state, golden.end_state(mirror, namespace))
        if not wrong and acting.is_done() and time.monotonic() - max(since, proxy.record.last_write) > QUIET_SECONDS:
            return _miscounted(mirror, namespace, wanted)
        time.sleep(POLL_SECONDS)
    return wrong or ["it does not come to rest"]


def _miscounted(mirror: Mirror, namespace: str, wanted: Reference) -> list[str]:
    created, deleted = counts(mirror, namespace)
    return [
        f"{title} was {what} {found[title]} times instead of {right[title]}"
        for what, found, right in (("created", created, wanted.created), ("deleted", deleted, wanted.deleted))
        for title in sorted({*found, *right})
        if found[title] != right[title]
    ]
