import json

import pytest

from e2e.testbed.errors import ApiRefused
from e2e.testbed.fake_node import FakeNode, Pod, PodOutcome
from e2e.testbed.fake_node import fake_node as start
from e2e.testbed_tests.eventually import eventually
from e2e.testbed_tests.objects import Manifest, collection, condition, config_map, deployment, job, pod
from e2e.testbed_tests.world import World


def state(found: Manifest) -> Manifest:
    result: Manifest = found["status"]["containerStatuses"][0]["state"]
    return result


def test_deployment_of_two_becomes_available(world: World, fake_node: FakeNode) -> None:
    world.create(deployment("web", 2))
    world.wait("deployment/web", "condition=Available")
    pods = world.pods()
    assert [each["spec"]["nodeName"] for each in pods] == [fake_node.name] * 2
    assert len({each["status"]["podIP"] for each in pods}) == 2
    assert [each["metadata"]["ownerReferences"][0]["kind"] for each in pods] == ["ReplicaSet"] * 2


def test_deleted_deployment_takes_its_pods_along(world: World, fake_node: FakeNode) -> None:
    world.create(deployment("web", 2))
    world.wait("deployment/web", "condition=Available")
    world.plane.kubectl("delete", "deployment/web", "-n", world.namespace)
    assert eventually(world.pods, lambda left: not left) == []


def test_pod_is_running_but_not_ready_before_its_time(world: World, fake_node: FakeNode) -> None:
    fake_node.ready_after = 1.0
    world.create(pod("slow"))
    early = world.becomes("slow", "Running")
    assert condition(early, "Ready")["status"] == "False"
    assert condition(early, "Ready")["reason"] == "ContainersNotReady"
    assert condition(world.becomes_ready("slow"), "ContainersReady")["status"] == "True"


def test_job_completes_with_a_readable_termination_message(world: World, fake_node: FakeNode) -> None:
    fake_node.outcome = lambda _: PodOutcome(message=json.dumps({"documents": 3}))
    world.create(job("sync"))
    world.wait("job/sync", "condition=Complete")
    (ended,) = world.pods()
    assert ended["status"]["phase"] == "Succeeded"
    assert state(ended)["terminated"]["exitCode"] == 0
    assert json.loads(state(ended)["terminated"]["message"]) == {"documents": 3}


def test_job_fails_with_exit_code_and_reason(world: World, fake_node: FakeNode) -> None:
    fake_node.outcome = lambda _: PodOutcome(exit_code=137, reason="OOMKilled", message="x" * 5000 + "end")
    world.create(job("sync"))
    world.wait("job/sync", "condition=Failed")
    (ended,) = world.pods()
    terminated = state(ended)["terminated"]
    assert (ended["status"]["phase"], terminated["exitCode"], terminated["reason"]) == ("Failed", 137, "OOMKilled")
    assert terminated["message"] == "x" * 4093 + "end"


def test_failed_container_is_restarted_where_the_policy_says_so(world: World, fake_node: FakeNode) -> None:
    outcomes = [PodOutcome(exit_code=1, message="first"), PodOutcome(exit_code=0, message="second")]
    fake_node.outcome = lambda _: outcomes.pop(0)
    world.create(pod("retrying", restartPolicy="OnFailure"))
    ended = world.becomes("retrying", "Succeeded")
    (container,) = ended["status"]["containerStatuses"]
    assert container["restartCount"] == 1
    assert container["lastState"]["terminated"]["message"] == "first"
    assert container["state"]["terminated"]["message"] == "second"


@pytest.mark.parametrize(
    ("spec", "reason", "lacks"),
    [
        (
            {"volumes": [{"name": "v", "configMap": {"name": "settings", "items": [{"key": "k", "path": "k"}]}}]},
            "ContainerCreating",
            'configmap "settings" not found',
        ),
        (
            {"container": {"envFrom": [{"configMapRef": {"name": "settings"}}]}},
            "CreateContainerConfigError",
            'configmap "settings" not found',
        ),
    ],
)
def test_pod_without_its_config_map_waits_for_it(
    world: World, fake_node: FakeNode, spec: Manifest, reason: str, lacks: str
) -> None:
    world.create(pod("needy", **spec))
    waiting = eventually(lambda: world.pod("needy"), lambda found: "containerStatuses" in found["status"])
    assert waiting["status"]["phase"] == "Pending"
    assert condition(waiting, "Ready")["reason"] == "ContainersNotReady"
    assert state(waiting)["waiting"]["reason"] == reason
    assert fake_node.waiting_for == {f"{world.namespace}/needy": lacks}

    world.create(config_map("settings", {"other": "1"} if "volumes" in spec else {"k": "1"}))
    if "volumes" in spec:  # there, but without the key
        missing_key = f"couldn't find key k in ConfigMap {world.namespace}/settings"
        eventually(lambda: list(fake_node.waiting_for.values()), lambda lacking: lacking == [missing_key])
        assert condition(world.pod("needy"), "Ready")["status"] == "False"
        patch = {"data": {"k": "1"}}
        path = f"{collection(world.namespace, 'ConfigMap')}/settings"
        world.plane.request("PATCH", path, patch, content_type="application/merge-patch+json")

    world.becomes_ready("needy")
    assert fake_node.waiting_for == {}


def test_deleted_pod_is_removed_at_once(world: World, fake_node: FakeNode) -> None:
    world.create(pod("doomed"))
    world.becomes_ready("doomed")
    world.plane.request("DELETE", f"{collection(world.namespace, 'Pod')}/doomed", {"gracePeriodSeconds": 600})
    eventually(world.pods, lambda left: not left)
    with pytest.raises(ApiRefused, match="not found"):
        world.pod("doomed")


def test_finished_pod_stays_finished_under_a_new_node_of_the_same_name(world: World) -> None:
    with start(world.plane, namespace=world.namespace, name=f"n-{world.namespace}"):
        world.create(pod("once", restartPolicy="Never"))
        before = world.becomes("once", "Succeeded")
    with start(world.plane, namespace=world.namespace, name=f"n-{world.namespace}"):
        world.create(pod("witness"))
        world.becomes_ready("witness")
        assert world.pod("once")["status"] == before["status"]


def test_error_in_the_callback_fails_the_test(world: World) -> None:
    def broken(_: Pod) -> PodOutcome:
        raise LookupError("the test's own mistake")

    def scenario() -> None:
        with start(world.plane, namespace=world.namespace, outcome=broken):
            world.create(pod("victim"))
            eventually(world.pods, lambda _: False, seconds=1)

    with pytest.raises(LookupError, match="own mistake"):
        scenario()
