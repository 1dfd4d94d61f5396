"""A4: the API server fails in every way it can while users go on working; afterwards their work must be done.

Each phase breaks something for a time. Users change resources all along, and once more when the fault ends: from that
moment counts how long it takes until all that they asked for is so, and until the operator acts at all.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from e2e.faults.arena import POLL_SECONDS, is_settled, unready
from e2e.faults.process import Operator
from e2e.faults.rules import NO_FAULTS, Errors, Rules
from e2e.faults.scenarios import User
from e2e.faults.supervised import Supervisor, supervised
from e2e.faults.trials import Bench
from e2e.testbed.errors import ApiRefused

RECOVER_SECONDS = 90.0
BLIND_SECONDS = 60.0
EDIT_EVERY_SECONDS = 3.0
REPLICAS = itertools.count(1)


@dataclass(frozen=True)
class Phase:
    """One kind of fault: `rules` hold for `seconds`; `once` is done at the begin and at every edit."""

    name: str
    rules: Rules
    seconds: float
    once: Callable[[Any], None] = lambda _: None


@dataclass(frozen=True)
class Endured:
    """How a phase ended. `acted` and `recovered` are seconds after its end, None: not within the limit.

    `exits` are the statuses of processes that ended by themselves; `hurries` requests before Retry-After allowed them.
    """

    phase: str
    seed: int
    seconds: float
    requests: int
    failed: int
    acted: float | None
    recovered: float | None
    exits: tuple[int, ...]
    asked_to_wait: int
    hurries: tuple[str, ...]
    unready: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Whether it recovered in time, was never blind, ended only with an error status, and waited when asked."""
        in_time = self.recovered is not None and self.acted is not None and self.acted <= BLIND_SECONDS
        return in_time and all(status != 0 for status in self.exits) and not self.hurries

    def said(self) -> str:
        """Return it in one line."""
        return (
            f"{self.phase} seed={self.seed}: {self.seconds:.0f} s, {self.failed} of {self.requests} requests failed, "
            f"acted after {_seconds(self.acted)}, recovered after {_seconds(self.recovered)}, "
            f"exits {list(self.exits)}, "
            f"{len(self.hurries)} of {self.asked_to_wait} Retry-After not honoured"
        )


def phases(seed: int, *, scale: float) -> tuple[Phase, ...]:
    """Return every phase; `scale` 1 takes ten minutes of mixed errors and five of a full outage."""
    mixed = Rules(errors=Errors(share=0.2, seed=seed, retry_after=2, silence_seconds=max(2.0, 25.0 * min(1.0, scale))))
    return (
        Phase("mixed-errors", mixed, 600 * scale),
        Phase("outage-503", Rules(outage=True), 300 * scale),
        Phase("error-500-in-stream", NO_FAULTS, 60 * scale, once=lambda proxy: proxy.break_watches(500)),
        Phase("cut-streams", NO_FAULTS, 60 * scale, once=lambda proxy: proxy.cut_watches()),
        Phase("storm-of-410", Rules(gone=True), 120 * scale),
    )


def run(
    bench: Bench,
    namespaces: Sequence[str],
    tried: Sequence[Phase],
    *,
    seed: int,
    told: Callable[[Endured], None] = lambda _: None,
) -> list[Endured]:
    """Endure the phases one after the other, each with a fresh operator over the same namespaces."""
    found = []
    for phase in tried:
        kubeconfig = bench.proxy.kubeconfig(bench.arena.directory)
        operator = Operator(kubeconfig, bench.arena.directory)
        bench.proxy.record.restart()
        bench.proxy.rules = NO_FAULTS
        with supervised(operator, bench.proxy) as supervisor:
            found.append(_endure(bench, supervisor, namespaces, phase, seed))
        told(found[-1])
    return found


def _endure(bench: Bench, supervisor: Supervisor, namespaces: Sequence[str], phase: Phase, seed: int) -> Endured:
    proxy, users = bench.proxy, [bench.arena.user(name) for name in namespaces]
    proxy.record.restart()
    proxy.rules = phase.rules
    end = time.monotonic() + phase.seconds
    for user in itertools.cycle(users):
        phase.once(proxy)
        _edit(user)
        if time.monotonic() + EDIT_EVERY_SECONDS > end:
            break
        time.sleep(EDIT_EVERY_SECONDS)
    time.sleep(max(0.0, end - time.monotonic()))
    proxy.rules = NO_FAULTS
    ended = time.monotonic()
    for user in users:
        _edit(user)
    acted, recovered = _recovery(bench, namespaces, ended)
    record = proxy.record
    answers = dict(record.answers)
    return Endured(
        phase=phase.name,
        seed=seed,
        seconds=phase.seconds,
        requests=sum(answers.values()),
        failed=sum(number for (_, status), number in answers.items() if status >= 409),
        acted=acted,
        recovered=recovered,
        exits=tuple(supervisor.exits),
        asked_to_wait=record.asked_to_wait,
        hurries=tuple(f"{each.method} {each.path} {each.early_seconds:.1f} s early" for each in record.hurries),
        unready=tuple(line for name in namespaces for line in unready(bench.arena.mirror, name)),
    )


def _edit(user: User) -> None:
    """Change what rolls pods, and what only counts them."""
    number = next(REPLICAS)
    changes: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("KnowledgeBase", "docs", {"parsing": {"timeoutSeconds": 60 + number % 600}}),
        ("RagEndpoint", "ask", {"replicas": 1 + number % 2}),
    )
    for kind, name, spec in changes:
        try:
            user.merge(kind, name, {"spec": spec})
        except ApiRefused as refused:
            if refused.status != 409:
                raise


def _recovery(bench: Bench, namespaces: Sequence[str], ended: float) -> tuple[float | None, float | None]:
    """Return after how many seconds the first, and the last, of the namespaces was as asked for."""
    mirror = bench.arena.mirror
    acted: float | None = None
    while (now := time.monotonic() - ended) < RECOVER_SECONDS:
        settled = [is_settled(mirror, name) for name in namespaces]
        if any(settled) and acted is None:
            acted = now
        if all(settled):
            return acted, now
        time.sleep(POLL_SECONDS)
    return acted, None


def scaled(phase: Phase, seconds: float) -> Phase:
    """Return the phase with another duration."""
    return replace(phase, seconds=seconds)


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"
