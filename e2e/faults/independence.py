"""A8: while no operator runs, what it made goes on: pods stay, and what scales them goes on scaling.

What it cannot show here: failed queries. No pod answers questions where no container runs; the query path without an
operator is what `lectern up` and the journeys show, which have no operator at all.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from e2e.faults.arena import POLL_SECONDS, Arena, quiet
from e2e.faults.process import Operator, ended_with_block

SCALED_SECONDS = 30.0


@dataclass(frozen=True)
class Alone:
    """What happened without an operator: pods that ended, scalings that did not come, and writes after its return."""

    seconds: float
    pods: int
    ended: tuple[str, ...]
    not_scaled: tuple[str, ...]


def alone(arena: Arena, namespaces: Sequence[str], seconds: float) -> Alone:
    """Leave prepared namespaces without an operator for `seconds`; halfway, scale their workers as KEDA's HPA would."""
    before = {name: _pods(arena, name) for name in namespaces}
    time.sleep(seconds / 2)
    for name in namespaces:
        path = f"/apis/apps/v1/namespaces/{name}/deployments/docs-worker/scale"
        scale = arena.plane.request("GET", path)
        arena.plane.request("PUT", path, {**scale, "spec": {"replicas": 3}})
    deadline = time.monotonic() + max(SCALED_SECONDS, seconds / 2)
    time.sleep(seconds / 2)
    while (missing := [name for name in namespaces if _workers(arena, name) != 3]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    ended = [f"{name}: {pod}" for name in namespaces for pod in sorted(before[name] - _pods(arena, name))]
    return Alone(seconds, sum(map(len, before.values())), tuple(ended), (*missing, *_returned(arena, namespaces)))


def _returned(arena: Arena, namespaces: Sequence[str]) -> list[str]:
    """Start an operator again; return where it took back what was scaled meanwhile."""
    operator = Operator(arena.plane.kubeconfig, arena.directory)
    with ended_with_block(operator):
        operator.start()
        operator.await_healthy()
        quiet(arena.mirror, namespaces)
        operator.stop()
    return [f"{name}: scaled back at its return" for name in namespaces if _workers(arena, name) != 3]


def _pods(arena: Arena, namespace: str) -> set[str]:
    """UIDs of the pods that run without an end."""
    return {
        f"{pod['metadata']['name']} {pod['metadata']['uid']}"
        for pod in arena.mirror.of(namespace, "pods")
        if pod["spec"].get("restartPolicy") == "Always" and "deletionTimestamp" not in pod["metadata"]
    }


def _workers(arena: Arena, namespace: str) -> int:
    (found,) = [each for each in arena.mirror.of(namespace, "deployments") if each["metadata"]["name"] == "docs-worker"]
    return int(found.get("status", {}).get("readyReplicas", 0))
