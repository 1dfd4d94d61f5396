"""A9 and the Lease: deletes made while no operator ran, statuses beside what was done, and two operators at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from e2e.faults import golden
from e2e.faults.arena import POLL_SECONDS, is_settled, quiet, unready
from e2e.faults.process import Operator, ended_with_block
from e2e.faults.rules import NO_FAULTS
from e2e.faults.scenarios import BY_NAME, DELETE, PLURALS
from e2e.faults.trials import Bench, begin

FREED_SECONDS = 60.0
SETTLE_SECONDS = 60.0
LEASE_SECONDS = 15.0
"""How long a Lease holds after its last renewal; a standby may act only after it."""


@dataclass(frozen=True)
class Freed:
    """How long deletes took that were made while no operator ran; `left` is what was not gone in time."""

    seconds: float
    left: tuple[str, ...]


def freed(bench: Bench, namespaces: Sequence[str]) -> Freed:
    """Delete everything in prepared namespaces while the operator is down, start it, and wait."""
    arena = bench.arena
    for namespace in namespaces:
        for act in DELETE:
            act.do(arena.user(namespace), arena.world)
    operator = Operator(arena.plane.kubeconfig, arena.directory)
    with ended_with_block(operator):
        operator.start()
        began = time.monotonic()
        while (left := _left(bench, namespaces)) and time.monotonic() - began < FREED_SECONDS:
            time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - began
        operator.stop()
    return Freed(seconds, tuple(left[:6]))


def _left(bench: Bench, namespaces: Sequence[str]) -> list[str]:
    return [
        f"{namespace}: {plural}/{body['metadata']['name']}"
        for namespace in namespaces
        for plural in PLURALS.values()
        for body in bench.arena.mirror.of(namespace, plural)
    ]


def ahead(bench: Bench, namespace: str) -> list[str]:
    """Change every spec in a prepared namespace; return where a status said Ready before the last child was written.

    Resource versions order all writes of a cluster: the status that first says Ready for a generation must be younger
    than every child that was written for it.
    """
    arena, record = bench.arena, bench.proxy.record
    operator = bench.operator(namespace, 600)
    with ended_with_block(operator):
        acting = begin(bench, operator, BY_NAME["spec-change"], namespace, NO_FAULTS)
        deadline = time.monotonic() + SETTLE_SECONDS
        while not (acting.is_done() and is_settled(arena.mirror, namespace)):
            if time.monotonic() > deadline:
                return unready(arena.mirror, namespace)
            time.sleep(POLL_SECONDS)
        quiet(arena.mirror, [namespace])
        operator.stop()
    children: dict[str, int] = {}
    for write in record.effective_writes():
        owner = write.target.name.partition("-")[0]
        if write.version and write.target.plural not in PLURALS.values():
            children[owner] = max(children.get(owner, 0), int(write.version))
    return [
        f"{state.plural}/{state.name} was Ready for generation {state.body['metadata']['generation']} at version "
        f"{version}, and a child was written at {children[state.name]}"
        for state in arena.mirror.history(namespace)
        if (version := int(state.body["metadata"]["resourceVersion"])) < children.get(state.name, 0)
        and state.body["metadata"]["generation"] > 1
        and _is_ready(state.body["status"], state.body["metadata"]["generation"])
    ]


def _is_ready(status: dict[str, object], generation: int) -> bool:
    conditions = status.get("conditions")
    ready = [each for each in conditions if each["type"] == "Ready"] if isinstance(conditions, list) else []
    return status.get("observedGeneration") == generation and bool(ready) and ready[0]["status"] == "True"


@dataclass(frozen=True)
class Fenced:
    """What two operators did. `late_writes` came from the one that had been stopped after the other took over."""

    taken_over_seconds: float | None
    late_writes: tuple[str, ...]
    stopped_status: int | None
    wrong: tuple[str, ...]


def fenced(first: Bench, second: Bench, namespace: str) -> Fenced:
    """Stop the active of two operators by SIGSTOP, let the other take over, and continue the first.

    Each stands behind a proxy of its own, so that it is known who wrote what.
    """
    arena = first.arena
    before = golden.end_state(arena.mirror, namespace)
    with ExitStack() as stack:
        both = []
        for bench in (first, second):
            bench.proxy.record.restart()
            bench.proxy.rules = NO_FAULTS
            operator = bench.operator(namespace, 600)
            operator.more = ("--lease-namespace", namespace)
            both.append(stack.enter_context(ended_with_block(operator)))
            operator.start()
            bench.proxy.revive(operator.kill)
            operator.await_healthy()
        held, standby = both
        _prove_active(first, namespace)
        held.signal(signal.SIGSTOP)
        try:
            seconds = _taken_over(first, second, namespace)
            first.proxy.record.restart()
        finally:
            held.signal(signal.SIGCONT)
        status = _exit_status(held)
        late = tuple(f"{each.key}" for each in first.proxy.record.writes if each.target.changes_state)
        quiet(arena.mirror, [namespace])
        wrong = golden.differences(before, golden.end_state(arena.mirror, namespace))
        standby.stop()
    return Fenced(seconds, late, status, tuple(line for line in wrong if not _is_of_owner(line))[:6])


def _is_of_owner(line: str) -> bool:
    """The number of replicas is written out now, which generations tell."""
    return line.startswith(tuple(PLURALS.values()))


def _prove_active(bench: Bench, namespace: str) -> None:
    """Let the first operator act once, so that it is known to hold the Lease."""
    _replicas(bench, namespace, 2)
    deadline = time.monotonic() + SETTLE_SECONDS
    while not bench.proxy.record.effective_writes():
        assert time.monotonic() < deadline, "the first operator does not act"
        time.sleep(POLL_SECONDS)
    quiet(bench.arena.mirror, [namespace])


def _taken_over(first: Bench, second: Bench, namespace: str) -> float | None:
    """Change something and return after how many seconds the second operator has acted on it."""
    assert not second.proxy.record.effective_writes(), "the standby wrote while the other was active"
    began = time.monotonic()
    _replicas(first, namespace, 1)
    while time.monotonic() - began < 3 * LEASE_SECONDS:
        if second.proxy.record.effective_writes():
            return time.monotonic() - began
        time.sleep(POLL_SECONDS)
    return None


def _replicas(bench: Bench, namespace: str, number: int) -> None:
    bench.arena.user(namespace).merge("RagEndpoint", "ask", {"spec": {"replicas": number}})


def _exit_status(operator: Operator) -> int | None:
    """Return the status with which a process ends that lost its Lease; None when it goes on."""
    deadline = time.monotonic() + LEASE_SECONDS
    while operator.is_running and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return None if operator.is_running else operator.wait()
