"""A DOUBLE of everything below a child: Deployments and Jobs are told to be well as soon as they are seen.

A process of its own (`python -m bench.operator.stub_children FILE`), so that it costs the operator's measurement no
more than its share of the machine; the real controllers stand still meanwhile. It shows how fast the operator is when
nothing below it takes time. It makes no pods. Kinds with optional doubles: ScaledObjects say Ready as KEDA's do.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from e2e.testbed.api import Api, connect
from e2e.testbed.rest import Rest

Body = Mapping[str, Any]
IN_PARALLEL = 32


async def serve(rest: Rest, started: Callable[[], None]) -> None:
    """Tell the children of the API server `rest` to be well until killed; calls `started` once it watches."""
    async with connect(rest) as api, asyncio.TaskGroup() as tasks:
        slots = asyncio.Semaphore(IN_PARALLEL)
        for path, status in (
            ("/apis/apps/v1/deployments", deployment_status),
            ("/apis/batch/v1/jobs", job_status),
            ("/apis/keda.sh/v1alpha1/scaledobjects", scaled_object_status),
        ):
            tasks.create_task(_follow(api, path, status, slots, tasks))
        started()


def main(file: Path) -> None:
    """Serve the API server that `file` (JSON: url, ca, token) names until killed."""
    given = json.loads(file.read_text())
    rest = Rest(given["url"], Path(given["ca"]), given["token"])
    asyncio.run(serve(rest, file.with_suffix(".started").touch))


async def _follow(api: Api, path: str, status_of: Any, slots: asyncio.Semaphore, tasks: asyncio.TaskGroup) -> None:
    root, _, plural = path.rpartition("/")
    async for event in api.watch(path):
        for body in event.objects:
            if event.kind != "DELETED" and (status := status_of(body)) is not None:
                metadata = body["metadata"]
                where = f"{root}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}/status"
                tasks.create_task(_tell(api, where, metadata["uid"], status, slots))


async def _tell(api: Api, path: str, uid: str, status: Body, slots: asyncio.Semaphore) -> None:
    async with slots:
        await api.insist("PATCH", path, {"metadata": {"uid": uid}, "status": status})


def deployment_status(body: Body) -> Body | None:
    """Return the status of a Deployment whose pods are all available; None when it says so already."""
    generation, replicas = body["metadata"]["generation"], body["spec"].get("replicas", 1)
    status = body.get("status", {})
    if (status.get("observedGeneration"), status.get("availableReplicas", 0)) == (generation, replicas):
        return None
    now = _now()
    return {
        "observedGeneration": generation,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "readyReplicas": replicas,
        "availableReplicas": replicas,
        "unavailableReplicas": None,
        "conditions": [
            _condition("Available", "MinimumReplicasAvailable", now),
            _condition("Progressing", "NewReplicaSetAvailable", now),
        ],
    }


def job_status(body: Body) -> Body | None:
    """Return the status of a Job that succeeded; None when it says so already."""
    if body.get("status", {}).get("completionTime"):
        return None
    now = _now()
    done = [("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")]
    return {
        "startTime": now,
        "completionTime": now,
        "succeeded": 1,
        "uncountedTerminatedPods": {},
        "conditions": [{**_condition(kind, reason, now), "lastProbeTime": now} for kind, reason in done],
    }


def scaled_object_status(body: Body) -> Body | None:
    """Return the status of a ScaledObject that KEDA has accepted; None when it says so already."""
    if body.get("status", {}).get("conditions"):
        return None
    ready = {"type": "Ready", "status": "True", "reason": "ScaledObjectReady", "message": "ready for scaling"}
    return {"conditions": [ready, {"type": "Active", "status": "False"}]}


def _condition(kind: str, reason: str, now: str) -> dict[str, str]:
    found = {"type": kind, "status": "True", "reason": reason, "message": "told by the stub"}
    return (
        found
        | {"lastTransitionTime": now}
        | ({} if kind not in ("Available", "Progressing") else {"lastUpdateTime": now})
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
