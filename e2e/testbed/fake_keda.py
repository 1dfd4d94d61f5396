"""A DOUBLE for the KEDA operator: it says in a ScaledObject's status that it is Ready, and scales nothing.

Tests start it beside `control_plane` after `install_crds(*keda_crds())`; the schema that checks a ScaledObject is the
real one. As the real operator it reports `ScaledObjectCheckFailed` where the Deployment to scale does not exist.

What it does not show: triggers and their metrics (a wrong address or topic goes unnoticed), the HPA that KEDA makes,
scaling from and to zero, pausing, fallback, TriggerAuthentications, the admission webhooks, KEDA's finalizer.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from e2e.testbed.api import Api, connect
from e2e.testbed.background import running
from e2e.testbed.plane import ControlPlane

RETRY_SECONDS = 0.5
_GROUP = "/apis/keda.sh/v1alpha1"
_READY = ("ScaledObjectReady", "ScaledObject is defined correctly and is ready for scaling")
_IDLE = ("ScalerNotActive", "Scaling is not performed because triggers are not active")


@contextmanager
def fake_keda(plane: ControlPlane, *, namespace: str | None = None) -> Iterator[None]:
    """Report on every ScaledObject of `namespace` (of all, where None) until the block ends."""
    scope = "" if namespace is None else f"/namespaces/{namespace}"

    async def body(started: Callable[[], None]) -> None:
        async with connect(plane.rest) as api:
            started()
            await _follow(api, f"{_GROUP}{scope}/scaledobjects")

    with running("fake-keda", body):
        yield


async def _follow(api: Api, path: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        pending: dict[str, asyncio.Task[None]] = {}
        async for event in api.watch(path):
            for scaled in event.objects:
                uid = scaled["metadata"]["uid"]
                if old := pending.pop(uid, None):
                    old.cancel()
                if event.kind != "DELETED":
                    pending[uid] = tasks.create_task(_report(api, scaled))


async def _report(api: Api, scaled: Mapping[str, Any]) -> None:
    """Report until the object to scale exists and the status says Ready."""
    path = f"{_GROUP}/namespaces/{scaled['metadata']['namespace']}/scaledobjects/{scaled['metadata']['name']}/status"
    while True:
        problem = await _target_problem(api, scaled)
        status = _status(scaled, problem)
        if any(scaled.get("status", {}).get(key) != value for key, value in status.items()):
            body = {"metadata": {"uid": scaled["metadata"]["uid"]}, "status": status}
            if await api.insist("PATCH", path, body) is None:
                return  # gone meanwhile; the change itself comes back as an event and starts the next report
        if problem is None:
            return
        await asyncio.sleep(RETRY_SECONDS)


async def _target_problem(api: Api, scaled: Mapping[str, Any]) -> str | None:
    target, namespace = scaled["spec"]["scaleTargetRef"], scaled["metadata"]["namespace"]
    version, kind = target.get("apiVersion", "apps/v1"), target.get("kind", "Deployment")
    base = "/api/v1" if version == "v1" else f"/apis/{version}"
    found = await api.insist("GET", f"{base}/namespaces/{namespace}/{kind.lower()}s/{target['name']}")
    return "ScaledObject doesn't have correct scaleTargetRef specification" if found is None else None


def _status(scaled: Mapping[str, Any], problem: str | None) -> dict[str, Any]:
    target = scaled["spec"]["scaleTargetRef"]
    ready = _condition("Ready", "True", *_READY)
    if problem is not None:
        ready = _condition("Ready", "False", "ScaledObjectCheckFailed", problem)
    return {
        "scaleTargetKind": f"{target.get('apiVersion', 'apps/v1')}.{target.get('kind', 'Deployment')}",
        "conditions": [
            ready,
            _condition("Active", "False" if problem is None else "Unknown", *(_IDLE if problem is None else ())),
            _condition("Fallback", "False" if problem is None else "Unknown"),
            _condition("Paused", "False" if problem is None else "Unknown"),
        ],
    }


def _condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, str]:
    found = {"type": kind, "status": status, "reason": reason, "message": message}
    return {key: value for key, value in found.items() if value}
