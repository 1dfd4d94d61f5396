from typing import Any

import pytest

from e2e.testbed import pod_references, pod_status
from e2e.testbed.errors import ImpossibleStatus
from e2e.testbed.pod_references import Reference
from e2e.testbed.pod_status import PodOutcome
from e2e.testbed_tests import objects

NOON, LATER = "2026-11-21T12:00:00Z", "2026-11-21T12:00:05Z"


def known(status: dict[str, Any] | None = None, **spec: Any) -> objects.Manifest:
    found = objects.pod("p", **spec)
    found["metadata"] |= {"namespace": "ns"}
    return found | {"status": status or {}}


def ready(found: objects.Manifest, *, restarts: int = 0) -> pod_status.Status:
    return pod_status.running(found, NOON, ready=True, started_at=NOON, restarts=restarts, address="10.244.1.1")


def ended(exit_code: int = 0) -> dict[str, Any]:
    return pod_status.terminated(PodOutcome(exit_code), NOON, LATER)


def test_transition_time_moves_only_with_the_status() -> None:
    unready = pod_status.running(known(), NOON, ready=False, started_at=NOON, restarts=0, address="10.244.1.1")
    now_ready = pod_status.running(known(unready), LATER, ready=True, started_at=NOON, restarts=0, address="10.244.1.1")
    times = {each["type"]: each["lastTransitionTime"] for each in now_ready["conditions"]}
    assert times == {"PodScheduled": NOON, "Initialized": NOON, "ContainersReady": LATER, "Ready": LATER}
    assert now_ready["startTime"] == NOON


def test_conditions_of_others_stay() -> None:
    other = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": NOON}
    assert other in ready(known({"conditions": [other]}))["conditions"]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_finished_pod_never_runs_again(phase: str) -> None:
    with pytest.raises(ImpossibleStatus, match=f"Pod ns/p is {phase} and cannot become Running"):
        ready(known({"phase": phase}))


def test_failed_pod_never_succeeds() -> None:
    with pytest.raises(ImpossibleStatus, match="is Failed and cannot become Succeeded"):
        pod_status.finished(known({"phase": "Failed"}), ended(), LATER, restarts=0)


def test_pod_that_is_being_deleted_is_never_ready() -> None:
    doomed = known()
    doomed["metadata"]["deletionTimestamp"] = NOON
    with pytest.raises(ImpossibleStatus, match="being deleted"):
        ready(doomed)


def test_ready_condition_with_an_unready_container_is_refused() -> None:
    status = ready(known())
    status["containerStatuses"][0]["ready"] = False
    with pytest.raises(ImpossibleStatus, match="cannot be Ready"):
        pod_status.checked(known(), status)


def test_restarts_are_never_taken_back() -> None:
    with pytest.raises(ImpossibleStatus, match="cannot take restarts back"):
        ready(known(ready(known(), restarts=2)), restarts=1)


@pytest.mark.parametrize(("exit_code", "phase", "reason"), [(0, "Succeeded", "Completed"), (2, "Failed", "Error")])
def test_exit_code_decides_phase_and_reason(exit_code: int, phase: str, reason: str) -> None:
    status = pod_status.finished(known(ready(known())), ended(exit_code), LATER, restarts=0)
    assert status["phase"] == phase
    assert status["containerStatuses"][0]["state"]["terminated"]["reason"] == reason
    assert next(each for each in status["conditions"] if each["type"] == "Ready")["status"] == "False"


def test_init_containers_complete_before_the_others_run() -> None:
    spec: dict[str, Any] = {
        "initContainers": [{"name": "init", "image": "i"}, {"name": "side", "image": "i", "restartPolicy": "Always"}]
    }
    waiting = pod_status.waiting(known(**spec), "ContainerCreating", "", NOON)
    assert [each["ready"] for each in waiting["initContainerStatuses"]] == [False, False]
    init, side = ready(known(**spec))["initContainerStatuses"]
    assert init["state"]["terminated"]["exitCode"] == 0
    assert side["state"] == {"running": {"startedAt": NOON}}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({}, []),
        (
            {"volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}}]},
            [Reference("configmaps", "c", ("k",), "mount")],
        ),
        ({"volumes": [{"name": "v", "configMap": {"name": "c", "optional": True}}]}, []),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, [Reference("secrets", "s", (), "mount")]),
        (
            {
                "volumes": [
                    {"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "c"}}]}}
                ]
            },
            [Reference("secrets", "s", (), "mount"), Reference("configmaps", "c", (), "mount")],
        ),
        ({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/x"}}]}, []),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "d"}}]}, []),
        (
            {
                "container": {
                    "envFrom": [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "c", "optional": True}}]
                }
            },
            [Reference("secrets", "s", (), "environment")],
        ),
        (
            {
                "container": {
                    "env": [
                        {"name": "A", "value": "1"},
                        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": True}}},
                        {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    ]
                }
            },
            [Reference("secrets", "s", ("k",), "environment")],
        ),
    ],
)
def test_pod_refers_to(spec: dict[str, Any], wanted: list[Reference]) -> None:
    assert pod_references.references(known(**spec)) == wanted


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (None, 'secret "s" not found'),
        ({}, "couldn't find key a, b in Secret ns/s"),
        ({"data": {"a": ""}}, "couldn't find key b in Secret ns/s"),
        ({"data": {"a": ""}, "binaryData": {"b": ""}}, None),
    ],
)
def test_problem_with_what_was_found(found: dict[str, Any] | None, wanted: str | None) -> None:
    reference = Reference("secrets", "s", ("a", "b"), "mount")
    assert pod_references.problem(reference, "ns", found) == wanted
