"""What a Deployment, its pods and a Job say, as verdicts; one row for each state that they can be in."""

from __future__ import annotations

from typing import Any

import pytest

from lectern_contract.conditions import Verdict
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_operator.policies import workload

ASPECT = ConditionType.WORKERS_READY
PROGRESSING = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}
COMPLETE = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
QUOTA = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}


def deployment(
    *, wanted: int = 2, updated: int = 2, available: int = 2, seen: int = 3, conditions: tuple[Any, ...] = (COMPLETE,)
) -> dict[str, Any]:
    return {
        "metadata": {"generation": 3},
        "spec": {"replicas": wanted},
        "status": {
            "observedGeneration": seen,
            "replicas": wanted,
            "updatedReplicas": updated,
            "availableReplicas": available,
            "conditions": list(conditions),
        },
    }


def pod(state: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    container = {"name": "worker", "image": "img", "state": state or {"running": {}}, **fields}
    return {"metadata": {"name": "p"}, "status": {"containerStatuses": [container]}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


@pytest.mark.parametrize(
    ("found", "status", "reason", "said"),
    [
        (None, "Unknown", Reason.PROGRESSING, "does not exist yet"),
        (deployment(seen=2), "Unknown", Reason.PROGRESSING, "not looked at yet"),
        (deployment(), "True", Reason.DEPLOYMENT_AVAILABLE, "2 of 2"),
        (deployment(wanted=0, updated=0, available=0), "True", Reason.DEPLOYMENT_AVAILABLE, "0 of 0"),
        (deployment(available=1, conditions=(PROGRESSING,)), "False", Reason.DEPLOYMENT_PROGRESSING, "1 of 2"),
        (deployment(updated=1, conditions=(PROGRESSING,)), "False", Reason.DEPLOYMENT_PROGRESSING, "2 of 2"),
        (deployment(available=0, conditions=(LATE,)), "False", Reason.DEPLOYMENT_FAILED, "timed out"),
        (deployment(available=0, conditions=(PROGRESSING, QUOTA)), "False", Reason.DEPLOYMENT_FAILED, "quota"),
    ],
)
def test_a_deployment_is_judged(found: dict[str, Any] | None, status: str, reason: Reason, said: str) -> None:
    verdict = workload.deployment(ASPECT, "d", found, [])
    assert (verdict.status, verdict.reason) == (status, reason)
    assert said in verdict.message


@pytest.mark.parametrize(
    ("available", "conditions", "pods", "status"),
    [
        (1, (COMPLETE,), [], "True"),
        (0, (COMPLETE,), [], "True"),
        (1, (PROGRESSING,), [], "False"),
        (1, (COMPLETE,), [pod(waiting("CrashLoopBackOff"))], "False"),
    ],
)
def test_an_autoscaled_deployment_is_judged_by_its_template_and_its_pods(
    available: int, conditions: tuple[Any, ...], pods: list[dict[str, Any]], status: str
) -> None:
    found = deployment(wanted=4, updated=4, available=available, conditions=conditions)
    assert workload.deployment(ASPECT, "d", found, pods, autoscaled=True).status == status


def test_the_verdict_of_before_stands_until_the_controller_has_looked() -> None:
    before = Verdict(ASPECT, "True", Reason.DEPLOYMENT_AVAILABLE, "2 of 2")
    assert workload.deployment(ASPECT, "d", deployment(seen=2), [], before=before) is before
    late = deployment(seen=3, available=0, conditions=(PROGRESSING,))
    assert workload.deployment(ASPECT, "d", late, [], before=before).status == "False"


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([], ""),
        ([pod()], ""),
        ([pod(waiting("ContainerCreating"))], ""),
        (
            [pod(waiting("ErrImagePull", "x")), pod(waiting("ImagePullBackOff", "y"))],
            "the image img of container worker",
        ),
        ([pod(waiting("CreateContainerConfigError", 'secret "s" not found'))], 'secret "s" not found'),
        (
            [pod(waiting("CrashLoopBackOff"), lastState={"terminated": {"exitCode": 137}})],
            "last with exit code 137",
        ),
        (
            [
                {
                    "metadata": {"name": "p"},
                    "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no gpu"}]},
                }
            ],
            "a pod cannot be scheduled: no gpu",
        ),
        ([{**pod(waiting("CrashLoopBackOff")), "metadata": {"name": "p", "deletionTimestamp": "t"}}], ""),
    ],
)
def test_what_keeps_pods_from_running_is_named(pods: list[dict[str, Any]], said: str) -> None:
    found = workload.trouble(pods)
    assert found == "" if said == "" else said in found


@pytest.mark.parametrize(
    ("conditions", "ended"),
    [
        ([], None),
        ([{"type": "Complete", "status": "True", "lastTransitionTime": "t1"}], (True, "t0")),
        (
            [{"type": "Failed", "status": "True", "lastTransitionTime": "t1", "reason": "DeadlineExceeded"}],
            (False, "t1"),
        ),
        ([{"type": "Suspended", "status": "True"}], None),
    ],
)
def test_the_end_of_a_job(conditions: list[dict[str, Any]], ended: tuple[bool, str] | None) -> None:
    found = workload.job_end({"status": {"conditions": conditions, "completionTime": "t0"}})
    assert (None if found is None else (found.succeeded, found.at)) == ended
