"""Turns what a fake node decided about a pod into the whole `status` that a kubelet would report.

Pure; `fake_node` sends the result. Every status passes `checked`, which refuses what no kubelet ever reports: a
finished pod that runs again, a Ready pod that does not run, a container that was restarted fewer times than before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from e2e.testbed.errors import ImpossibleStatus

Pod = Mapping[str, Any]
Status = dict[str, Any]

TERMINAL = ("Succeeded", "Failed")
TERMINATION_MESSAGE_BYTES = 4096  # a kubelet keeps the end of a longer file
HOST_ADDRESS = "10.99.0.2"  # nobody answers there


@dataclass(frozen=True)
class PodOutcome:
    """How a pod's main container ends: exit code, termination message, and seconds Running before the end.

    `reason` is `Completed` or `Error` by the exit code where none is given (`OOMKilled` is a usual other one).
    """

    exit_code: int = 0
    message: str = ""
    after: float = 0.0
    reason: str | None = None


def waiting(pod: Pod, reason: str, message: str, now: str) -> Status:
    """Report a pod on its node whose containers wait for `reason`."""
    state = {"waiting": {"reason": reason, "message": message}}
    containers = [_container(pod, spec, state=state, ready=False, started=False) for spec in pod["spec"]["containers"]]
    return _report(pod, "Pending", containers, now, initialized=not pod["spec"].get("initContainers"))


def running(pod: Pod, now: str, *, ready: bool, started_at: str, restarts: int, address: str) -> Status:
    """Report running containers, Ready or not yet."""
    state = {"running": {"startedAt": started_at}}
    containers = [
        _container(pod, spec, state=state, ready=ready, started=True, restarts=restarts)
        for spec in pod["spec"]["containers"]
    ]
    return _report(pod, "Running", containers, now, address=address)


def backing_off(pod: Pod, ended: Mapping[str, Any], now: str, *, restarts: int) -> Status:
    """Report a container that ended and will be started again."""
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
    containers = [
        {**_container(pod, spec, state=state, ready=False, started=False, restarts=restarts), "lastState": dict(ended)}
        for spec in pod["spec"]["containers"]
    ]
    return _report(pod, "Running", containers, now)


def finished(pod: Pod, ended: Mapping[str, Any], now: str, *, restarts: int) -> Status:
    """Report a pod whose containers ended for good: Succeeded for exit code 0, else Failed."""
    containers = [
        _container(pod, spec, state=ended, ready=False, started=False, restarts=restarts)
        for spec in pod["spec"]["containers"]
    ]
    phase = "Succeeded" if ended["terminated"]["exitCode"] == 0 else "Failed"
    return _report(pod, phase, containers, now)


def terminated(outcome: PodOutcome, started_at: str, now: str) -> dict[str, Any]:
    """Return the container state of an end with `outcome`."""
    reason = outcome.reason or ("Completed" if outcome.exit_code == 0 else "Error")
    state = {"exitCode": outcome.exit_code, "reason": reason, "startedAt": started_at, "finishedAt": now}
    if outcome.message:
        kept = outcome.message.encode()[-TERMINATION_MESSAGE_BYTES:]
        state["message"] = kept.decode(errors="replace")
    return {"terminated": state}


def checked(pod: Pod, status: Status) -> Status:
    """Return `status`, or raise ImpossibleStatus where no kubelet could report it after the pod's present one."""
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    before = pod.get("status", {})
    if before.get("phase") in TERMINAL and status["phase"] != before["phase"]:
        raise ImpossibleStatus(f"Pod {name} is {before['phase']} and cannot become {status['phase']}.")
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status["conditions"])
    all_ready = all(each["ready"] for each in status.get("containerStatuses", []))
    if ready and (status["phase"] != "Running" or not all_ready or "deletionTimestamp" in pod["metadata"]):
        raise ImpossibleStatus(f"Pod {name} cannot be Ready: its phase is {status['phase']} or it is being deleted.")
    counts = {each["name"]: each["restartCount"] for each in before.get("containerStatuses") or []}
    for each in status.get("containerStatuses", []):
        if each["restartCount"] < counts.get(each["name"], 0):
            raise ImpossibleStatus(f"Container {each['name']} of pod {name} cannot take restarts back.")
    return status


def _report(
    pod: Pod,
    phase: str,
    containers: Sequence[dict[str, Any]],
    now: str,
    *,
    address: str | None = None,
    initialized: bool = True,
) -> Status:
    before = pod.get("status", {})
    names = " ".join(each["name"] for each in containers if not each["ready"])
    if not names:
        ready = ("True", "", "")
    elif phase == "Succeeded":
        ready = ("False", "PodCompleted", "")
    else:
        ready = ("False", "ContainersNotReady", f"containers with unready status: [{names}]")
    wanted = {
        "PodScheduled": ("True", "", ""),
        "Initialized": ("True", "", "") if initialized else ("False", "ContainersNotInitialized", ""),
        "ContainersReady": ready,
        "Ready": ready,
    }
    status: Status = {
        "phase": phase,
        "startTime": before.get("startTime") or now,
        "conditions": _conditions(pod, wanted, now),
        "containerStatuses": list(containers),
        "initContainerStatuses": [_init_container(pod, spec, initialized, now) for spec in _init_specs(pod)],
    }
    if address:
        status |= {
            "podIP": address,
            "podIPs": [{"ip": address}],
            "hostIP": HOST_ADDRESS,
            "hostIPs": [{"ip": HOST_ADDRESS}],
        }
    return checked(pod, status)


def _conditions(pod: Pod, wanted: Mapping[str, tuple[str, str, str]], now: str) -> list[dict[str, Any]]:
    before = {each["type"]: each for each in pod.get("status", {}).get("conditions") or []}
    conditions = []
    for kind, (status, reason, message) in wanted.items():
        old = before.pop(kind, None)
        moved = old is None or old["status"] != status
        condition = {"type": kind, "status": status}
        condition["lastTransitionTime"] = now if old is None or moved else old["lastTransitionTime"]
        condition |= {key: text for key, text in (("reason", reason), ("message", message)) if text}
        conditions.append(condition)
    return [*conditions, *before.values()]  # conditions of others (DisruptionTarget) stay


def _container(
    pod: Pod, spec: Mapping[str, Any], *, state: Mapping[str, Any], ready: bool, started: bool, restarts: int = 0
) -> dict[str, Any]:
    old = {each["name"]: each for each in pod.get("status", {}).get("containerStatuses") or []}.get(spec["name"], {})
    return {
        "name": spec["name"],
        "image": spec["image"],
        "imageID": "",
        "ready": ready,
        "started": started,
        "restartCount": restarts,
        "state": dict(state),
        "lastState": old.get("lastState", {}),
    }


def _init_specs(pod: Pod) -> list[Mapping[str, Any]]:
    return list(pod["spec"].get("initContainers") or [])


def _init_container(pod: Pod, spec: Mapping[str, Any], done: bool, now: str) -> dict[str, Any]:
    sidecar = spec.get("restartPolicy") == "Always"
    state: dict[str, Any] = {"waiting": {"reason": "PodInitializing"}}
    if done:
        state = {"running": {"startedAt": now}} if sidecar else terminated(PodOutcome(), now, now)
    return {
        "name": spec["name"],
        "image": spec["image"],
        "imageID": "",
        "ready": done,
        "started": done and sidecar,
        "restartCount": 0,
        "state": state,
        "lastState": {},
    }
