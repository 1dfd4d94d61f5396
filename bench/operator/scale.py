"""A7: two thousand resources cold, restarted, during a resync, in memory, and twenty thousand that come and go.

Below the children everything is stubbed (`stub_children`): the figures are the operator's and the API server's.
"""

from __future__ import annotations

import asyncio
import math
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from bench.operator import cycles
from bench.operator import population as people
from bench.operator.site import Site, make_namespace, stub_children, wait_for
from bench.processes import cpu_seconds
from bench.report import Aim, Goal
from e2e.faults.arena import NotSettled
from e2e.faults.mirror import OWNERS
from e2e.faults.process import NotHealthy, Operator, ended_with_block
from e2e.faults.scenarios import PLURALS, Document

COLD = Aim("A7", "cold, resources a second to Ready with stub children", ">=", 25, "1/s")
RESTART_WRITES = Aim("A7", "writes of a restart over Ready resources", "<=", 0)
RESTART_IDLE = Aim("A7", "restart to idle", "<=", 60, "s")
RESTART = (RESTART_WRITES, RESTART_IDLE)
NEWCOMER = Aim("A7", "first status of a new one in the middle of a resync, p95", "<=", 10, "s")
IDLE_MEMORY = Aim("A7", "memory without a resource", "<=", 150, "MB")
KILOBYTES_A_RESOURCE = 30
GROWTH = Aim("A7", "growth of memory over create-delete cycles", "<=", 5, "%")
COLD_SECONDS = 900.0
IDLE_SECONDS = 300.0
STATUS_SECONDS = 60.0
NEWCOMERS = 20
RESYNC_A_RESOURCE = 0.03
"""Seconds of a resync for each resource: more passes than two cores can make, so that newcomers meet a queue."""
BUSY_SHARE = 0.1
CYCLES = "cycles"
WARM_SHARE = 0.2
SILENT_SECONDS = 3.0
MOST_SAID = 200
CALLS = "lectern_operator_api_calls_total{"
PASSES = "lectern_operator_reconciles_total{"
KNOWLEDGE_BASE = 'kind="KnowledgeBase"'
QUEUED = "lectern_operator_queue_length"


def memory_aim(count: int) -> Aim:
    """Return the bound of the memory with so many resources: what an idle operator may have, and 30 KB each."""
    most = IDLE_MEMORY.limit + KILOBYTES_A_RESOURCE * count / 1024
    return Aim("A7", f"memory with {count} Ready resources, idle", "<=", round(most, 1), "MB")


@dataclass
class Scale:
    """What was measured; None where it was not. `cpu` is in seconds, by process, for the cold start."""

    count: int
    cycles: int
    cpu: dict[str, float] = field(default_factory=dict)
    cold_seconds: float | None = None
    not_ready: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    passes: float = 0.0
    restart_writes: tuple[str, ...] = ()
    restart_seconds: float | None = None
    newcomers: list[float] = field(default_factory=list)
    queued: list[float] = field(default_factory=list)
    empty_megabytes: float = 0.0
    full_megabytes: float = 0.0
    restarted_megabytes: float = 0.0
    cycle_megabytes: list[float] = field(default_factory=list)
    cycle_seconds: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)
    """Why a phase ended before it was measured, by its name."""

    def goals(self) -> list[Goal]:
        """Return the goals; what a failed phase would have measured is not."""
        return [
            *(self._cold() if "cold" not in self.failures else self._missing("cold", COLD, memory_aim(self.count))),
            *(self._restart() if "restart" not in self.failures else self._missing("restart", *RESTART)),
            *([self._newcomers()] if "newcomers" not in self.failures else self._missing("newcomers", NEWCOMER)),
            IDLE_MEMORY.measured(self.empty_megabytes, n=1, reason="of an operator that has no resource"),
            *([self._growth()] if "cycles" not in self.failures else self._missing("cycles", GROWTH)),
        ]

    def _missing(self, phase: str, *aims: Aim) -> list[Goal]:
        return [aim.unmeasured(self.failures[phase]) for aim in aims]

    def _cold(self) -> list[Goal]:
        rate = self.count / self.cold_seconds if self.cold_seconds else 0.0
        late = f"in {self.cold_seconds:.0f} s" if self.cold_seconds else f"{self.not_ready} not Ready in time"
        return [
            COLD.measured(rate, n=self.count, reason=f"{late}, {sum(self.calls.values()):.0f} calls of the API server"),
            memory_aim(self.count).measured(self.full_megabytes, n=self.count, reason="after the cold start"),
        ]

    def _restart(self) -> list[Goal]:
        seconds = math.inf if self.restart_seconds is None else self.restart_seconds
        memory = f"{self.restarted_megabytes:.0f} MB afterwards"
        return [
            RESTART_WRITES.measured(len(self.restart_writes), n=self.count, reason=", ".join(self.restart_writes[:3])),
            RESTART_IDLE.measured(seconds, n=self.count, reason=memory),
        ]

    def _newcomers(self) -> Goal:
        if len(self.newcomers) < 2 or not self.queued:
            return NEWCOMER.unmeasured("no resync kept the operator busy; take more resources")
        median, queue = statistics.median(self.newcomers), statistics.median(self.queued)
        remark = f"median {median:.2f} s; {queue:.0f} resources in the queue when they came"
        return NEWCOMER.measured(percentile(self.newcomers, 95), n=len(self.newcomers), reason=remark)

    def _growth(self) -> Goal:
        warm, end = warm_and_end(self.cycle_megabytes)
        made = self.cycles / self.cycle_seconds
        remark = f"{warm:.1f} MB after a fifth, {end:.1f} MB at the end; {made:.1f} cycles a second"
        return GROWTH.measured((end / warm - 1) * 100, n=self.cycles, reason=remark)

    def figures(self) -> dict[str, object]:
        """Return what is measured beside the goals."""
        return {
            "milliseconds of CPU a resource, cold": {
                name: round(seconds / self.count * 1000, 1) for name, seconds in self.cpu.items()
            },
            "passes a resource, cold": round(self.passes / self.count, 2),
            "calls a resource, cold": {name: round(n / self.count, 2) for name, n in self.calls.most_common(12)},
            "memory over the cycles, MB": [round(each, 1) for each in self.cycle_megabytes],
        }


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` of 100 do not exceed, one of `values`."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def warm_and_end(readings: Sequence[float]) -> tuple[float, float]:
    """Return the reading after the first fifth and the last one."""
    return readings[max(0, math.ceil(len(readings) * WARM_SHARE) - 1)], readings[-1]


def measure(site: Site, *, count: int, cycles: int) -> Scale:
    """Measure everything, one after the other, over the same resources."""
    found = Scale(count, cycles)
    crowd = people.population(count, site.namespaces, site.world, site.embedder)
    found.empty_megabytes = _empty(site)
    people.create(site.plane, crowd.documents)
    make_namespace(site.plane, CYCLES)
    site.controllers(run=False)
    with stub_children(site):
        for phase in (_cold, _restart, _newcomers, _cycles):
            print(f"A7: {phase.__name__[1:]}", file=sys.stderr, flush=True)
            try:
                phase(site, found)
            except (NotSettled, NotHealthy, OSError, ExceptionGroup) as error:
                # what was measured before it stands, and what comes after it needs none of it
                found.failures[phase.__name__[1:]] = f"{type(error).__name__}: {error}"[:MOST_SAID]
    return found


def _empty(site: Site) -> float:
    """Return the memory of an operator that has nothing to do."""
    operator = site.operator()
    with ended_with_block(operator):
        operator.start()
        operator.await_healthy()
        _idle(operator, passes=0)
        megabytes = operator.resident_megabytes()
        operator.stop()
    return megabytes


def _cold(site: Site, found: Scale) -> None:
    """Start over resources that nobody has looked at."""
    operator = site.operator()
    with ended_with_block(operator):
        before = {name: cpu_seconds(pid) for name, pid in site.plane.pids.items()}
        began = time.monotonic()
        operator.start()
        if wait_for(lambda: not _waiting(site), COLD_SECONDS) is not None:
            found.cold_seconds = time.monotonic() - began
        found.not_ready = len(_waiting(site))
        found.cpu = {"operator": cpu_seconds(operator.pid)}
        found.cpu |= {name: cpu_seconds(site.plane.pids[name]) - spent for name, spent in before.items()}
        _idle(operator, passes=0)
        found.full_megabytes = operator.resident_megabytes()
        found.calls, found.passes = calls(operator.metrics()), _sum(operator, PASSES)
        operator.stop()


def _restart(site: Site, found: Scale) -> None:
    """Start again over what is Ready."""
    before = people.versions(site.plane)
    operator = site.operator()
    with ended_with_block(operator):
        began = time.monotonic()
        operator.start()
        operator.await_healthy()
        silent_since = _idle(operator, passes=found.count - people.BASES_EACH * len(site.namespaces))
        found.restart_seconds = None if silent_since is None else silent_since - began
        found.restarted_megabytes = operator.resident_megabytes()
        wrote = [f"{name} ({n})" for name, n in calls(operator.metrics()).items() if not name.startswith("GET ")]
        after = people.versions(site.plane)
        operator.stop()
    changed = [uid for uid in before.keys() | after.keys() if before.get(uid) != after.get(uid)]
    found.restart_writes = (*wrote, *(f"object {uid}" for uid in sorted(changed)))


def _newcomers(site: Site, found: Scale) -> None:
    """Create endpoints one by one, each while a resync keeps the operator busy."""
    resync_seconds = max(1, round(found.count * RESYNC_A_RESOURCE))
    operator = site.operator(resync_seconds=resync_seconds)
    with ended_with_block(operator):
        operator.start()
        operator.await_healthy()
        for number in range(NEWCOMERS):
            if wait_for(lambda: _queued(operator) > found.count * BUSY_SHARE, 3.0 * resync_seconds) is None:
                break
            found.queued.append(_queued(operator))
            namespace = site.namespaces[number % len(site.namespaces)]
            document = people.newcomer(number, site.world)
            people.create(site.plane, [(namespace, document)])
            seconds = wait_for(partial(_has_status, site, namespace, document), STATUS_SECONDS)
            found.newcomers.append(math.inf if seconds is None else seconds)
        operator.stop()


def _cycles(site: Site, found: Scale) -> None:
    """Let sources come and go, each with its children, and read the memory from time to time."""
    base = people.population(1, (CYCLES,), site.world, site.embedder)
    people.create(site.plane, base.documents)
    operator = site.operator(namespace=CYCLES)
    with ended_with_block(operator):
        operator.start()
        operator.await_healthy()
        began = time.monotonic()
        found.cycle_megabytes = asyncio.run(cycles.come_and_go(site, CYCLES, found.cycles, operator))
        found.cycle_seconds = time.monotonic() - began
        operator.stop()


def _waiting(site: Site) -> list[str]:
    return [
        body["metadata"]["name"]
        for namespace in site.namespaces
        for plural in OWNERS
        for body in site.mirror.of(namespace, plural)
        if not people.is_ready(body)
    ]


def _has_status(site: Site, namespace: str, document: Document) -> bool:
    return people.has_status(site.mirror.of(namespace, PLURALS[document["kind"]]), document["metadata"]["name"])


def _idle(operator: Operator, passes: int) -> float | None:
    """Wait for `passes` and until no more are made for some seconds; return when that silence began, None if never.

    Knowledge bases are left out: those that are Ready look at their broker and store again and again.
    """
    deadline = time.monotonic() + IDLE_SECONDS
    before, since = -1.0, time.monotonic()
    while time.monotonic() < deadline:
        metrics = operator.metrics()
        now = sum(n for name, n in metrics.items() if name.startswith(PASSES) and KNOWLEDGE_BASE not in name)
        if now != before or now < passes:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > SILENT_SECONDS:
            return since
        time.sleep(0.2)
    return None


def _sum(operator: Operator, prefix: str) -> float:
    return sum(value for name, value in operator.metrics().items() if name.startswith(prefix))


def _queued(operator: Operator) -> float:
    return operator.metrics()[QUEUED]


def calls(metrics: Mapping[str, float]) -> Counter[str]:
    """Return how often the API server was asked, by verb and kind."""
    found = Counter[str]()
    for name, value in metrics.items():
        if name.startswith(CALLS):
            given = dict(re.findall(r'(\w+)="([^"]*)"', name))
            found[f"{given['verb']} {given['kind']}"] += round(value)
    return found


def unmeasured(count: int, reason: str) -> list[Goal]:
    """Return the goals as not measured."""
    aims = (COLD, RESTART_WRITES, RESTART_IDLE, NEWCOMER, IDLE_MEMORY, memory_aim(count), GROWTH)
    return [aim.unmeasured(reason) for aim in aims]
