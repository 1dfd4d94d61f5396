"""What a Deployment, its pods or a Job say of themselves, as a verdict that a user can act on.

Pure readings of Kubernetes' own status fields; the policies of the three kinds put them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lectern_contract.conditions import Verdict
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_contract.resources.status import Component
from lectern_operator.policies.summary import shortened

Manifest = Mapping[str, Any]
_WAITING = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Reasons of a waiting container that do not pass by themselves."""
_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName"})


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a Job ended; `at` is RFC 3339 in UTC."""

    succeeded: bool
    at: str
    message: str


def rolled_out(deployment: Manifest) -> bool:
    """Say whether every pod of `deployment` has its newest template."""
    status = deployment.get("status", {})
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 1):
        return False
    return bool(status.get("updatedReplicas", 0) == status.get("replicas", 0) == deployment["spec"].get("replicas", 1))


def deployment(
    aspect: ConditionType,
    name: str,
    found: Manifest | None,
    pods: Iterable[Manifest],
    *,
    autoscaled: bool = False,
    before: Verdict | None = None,
) -> Verdict:
    """Judge the Deployment `name`, whose pods are `pods`.

    Where an autoscaler sets the number of replicas, a new replica that is still starting is no news: the verdict is
    about the template (rolled out) and the pods (none in trouble), so that it does not flap with the load.

    `before` is the verdict that stands as long as its controller has not looked at the Deployment's newest
    generation: an annotation or a number of replicas that somebody else sets makes a new one. None after a write of
    ours: then nothing is known until the controller has looked.
    """
    if found is None:
        return Verdict(aspect, "Unknown", Reason.PROGRESSING, f"Deployment {name} does not exist yet")
    status = found.get("status", {})
    if status.get("observedGeneration", 0) < found["metadata"].get("generation", 1):
        unseen = f"Deployment {name} was changed and is not looked at yet"
        return before or Verdict(aspect, "Unknown", Reason.PROGRESSING, unseen)
    progress, failure = condition(found, "Progressing"), condition(found, "ReplicaFailure")
    problem = trouble(pods)
    if failure.get("status") == "True":
        return Verdict(aspect, "False", Reason.DEPLOYMENT_FAILED, f"Deployment {name}: {failure.get('message', '')}")
    if progress.get("status") == "False":
        cause = problem or progress.get("message", "")
        return Verdict(aspect, "False", Reason.DEPLOYMENT_FAILED, f"Deployment {name} makes no progress: {cause}")
    wanted, available = found["spec"].get("replicas", 1), status.get("availableReplicas", 0)
    if autoscaled and not problem and progress.get("reason") == "NewReplicaSetAvailable":
        return Verdict(aspect, "True", Reason.DEPLOYMENT_AVAILABLE, f"Deployment {name} is rolled out")
    if rolled_out(found) and available == wanted:
        return Verdict(aspect, "True", Reason.DEPLOYMENT_AVAILABLE, f"{wanted} of {wanted} replicas are available")
    if problem:
        return Verdict(aspect, "False", Reason.COMPONENT_NOT_READY, f"Deployment {name}: {problem}")
    message = f"Deployment {name}: {min(available, wanted)} of {wanted} replicas are available"
    return Verdict(aspect, "False", Reason.DEPLOYMENT_PROGRESSING, message)


def component(name: str, verdict: Verdict) -> Component:
    """Return the line of `status.components` for the Deployment that `verdict` is about."""
    ready = verdict.status == "True"
    message = "" if ready else shortened(verdict.message, 256)
    return Component(name=name, kind="Deployment", ready=ready, message=message)


def trouble(pods: Iterable[Manifest]) -> str:
    """Return what keeps the first troubled pod from running, without the pod's name; empty when nothing does."""
    for pod in sorted(pods, key=lambda each: str(each["metadata"]["name"])):
        if pod["metadata"].get("deletionTimestamp"):
            continue
        for container in pod.get("status", {}).get("containerStatuses", ()):
            if found := _container_trouble(container):
                return found
        scheduled = condition(pod, "PodScheduled")
        if scheduled.get("status") == "False":
            return f"a pod cannot be scheduled: {scheduled.get('message', '')}"
    return ""


def _container_trouble(container: Manifest) -> str:
    waiting = container.get("state", {}).get("waiting", {})
    reason = waiting.get("reason", "")
    if reason not in _WAITING:
        return ""
    if reason in _IMAGE:
        return f"the image {container.get('image')} of container {container['name']} cannot be pulled"
    if reason == "CrashLoopBackOff":
        # the back-off in Kubernetes' own message grows with every restart
        code = container.get("lastState", {}).get("terminated", {}).get("exitCode", "?")
        return f"container {container['name']} ends again and again, last with exit code {code}; see its logs"
    return f"container {container['name']}: {reason}: {waiting.get('message', '')}"


def job_end(job: Manifest) -> JobEnd | None:
    """Return how `job` ended; None while it runs."""
    complete, failed = condition(job, "Complete"), condition(job, "Failed")
    if complete.get("status") == "True":
        at = job["status"].get("completionTime") or complete.get("lastTransitionTime", "")
        return JobEnd(True, at, "")
    if failed.get("status") == "True":
        why = f"{failed.get('reason', 'Failed')}: {failed.get('message', '')}"
        return JobEnd(False, failed.get("lastTransitionTime", ""), why)
    return None


def condition(found: Manifest, name: str) -> Manifest:
    """Return the condition `name` of any object; an empty one when it is not there."""
    for each in found.get("status", {}).get("conditions", ()):
        if each.get("type") == name:
            return dict(each)
    return {}
