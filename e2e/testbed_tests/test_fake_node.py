import json

import pytest

from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.errors import ApiRefused
from e2e.testbed.fake_node import FakeNode, Pod, PodOutcome
from e2e.testbed.fake_node import fake_node as start
from e2e.testbed_tests.eventually import eventually
from e2e.testbed_tests.objects import (
    Manifest,
    collection,
    condition,
    config_map,
    create,
    deployment,
    job,
    pod,
)


class World:
    """One test's namespace: create objects, look at them."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace

    def create(self, manifest: Manifest) -> Manifest:
        return create(self.plane, self.namespace, manifest)

    def pod(self, name: str) -> Manifest:
        return self.plane.request("GET", f"{collection(self.namespace, 'Pod')}/{name}")

    def pods(self) -> list[Manifest]:
        items: list[Manifest] = self.plane.request("GET", collection(self.namespace, "Pod"))["items"]
        return items

    def becomes_ready(self, name: str) -> Manifest:
        return eventually(lambda: self.pod(name), lambda found: condition(found, "Ready")["status"] == "True")

    def becomes(self, name: str, phase: str) -> Manifest:
        return eventually(lambda: self.pod(name), lambda found: found["status"]["phase"] == phase)

    def wait(self, what: str, until: str) -> None:
        self.plane.kubectl("wait", "-n", self.namespace, f"--for={until}", what, "--timeout=20s")


@pytest.fixture
def world(control_plane: ControlPlane, namespace: str) -> World:
    return World(control_plane, namespace)


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


def test_pod_without_its_claim_waits_for_it(world: World, fake_node: FakeNode) -> None:
    world.create(pod("needy", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "documents"}}]))
    eventually(lambda: dict(fake_node.waiting_for), lambda waiting: len(waiting) == 1)
    assert world.pod("needy")["status"]["phase"] == "Pending"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "documents"}, "spec": spec}
    world.create(claim)
    world.becomes_ready("needy")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"nodeSelector": {"gpu": "big"}}, "1 node(s) didn't match Pod's node affinity/selector"),
        ({"container": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}, "1 Insufficient nvidia.com/gpu"),
    ],
)
def test_pod_that_no_node_takes_is_unschedulable(world: World, spec: Manifest, why: str) -> None:
    world.create(pod("picky", **spec))
    with start(world.plane, namespace=world.namespace):
        found = eventually(
            lambda: world.pod("picky"), lambda found: condition(found, "PodScheduled")["status"] == "False"
        )
    assert condition(found, "PodScheduled")["message"] == f"0/1 nodes are available: {why}."
    assert "nodeName" not in found["spec"]
    with start(
        world.plane, namespace=world.namespace, labels={"gpu": "big"}, extended_resources={"nvidia.com/gpu": "1"}
    ):
        world.becomes_ready("picky")


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
