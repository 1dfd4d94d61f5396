"""The real scheduler decides over the fake node's object, and says in its own words why a pod gets no node."""

from collections import Counter
from typing import Any

import pytest

from e2e.testbed.fake_node import FakeNode
from e2e.testbed.fake_node import fake_node as start
from e2e.testbed_tests.eventually import eventually
from e2e.testbed_tests.objects import Manifest, deployment, pod
from e2e.testbed_tests.world import World

GPU = "nvidia.com/gpu"
TAINT = {"key": GPU, "value": "present", "effect": "NoSchedule"}
TOLERATION = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
CLAIM: Manifest = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "documents"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def spread(key: str, when_unsatisfiable: str) -> Manifest:
    """Return a constraint that lets the numbers of the pods `app: web` in two domains differ by one at most."""
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": when_unsatisfiable,
        "labelSelector": {"matchLabels": {"app": "web"}},
    }


def requesting(**resources: str) -> Manifest:
    return {"container": {"resources": {"requests": resources}}}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"nodeSelector": {"gpu": "big"}}, "1 node(s) didn't match Pod's node affinity/selector"),
        ({"container": {"resources": {"limits": {GPU: "1"}}}}, f"1 Insufficient {GPU}"),
        (requesting(cpu="65"), "1 Insufficient cpu"),
        (requesting(memory="300Gi"), "1 Insufficient memory"),
    ],
)
def test_pod_that_the_node_cannot_take_stays_pending_with_the_reason(
    world: World, fake_node: FakeNode, spec: Manifest, why: str
) -> None:
    world.create(pod("picky", **spec))
    assert world.refused("picky").startswith(f"0/1 nodes are available: {why}")
    assert world.pod("picky")["status"]["phase"] == "Pending"


def test_without_a_node_the_scheduler_says_so(world: World) -> None:
    world.create(pod("early"))
    assert world.refused("early").startswith("no nodes available to schedule pods")


def test_a_pod_gets_its_node_as_soon_as_one_fits(world: World, fake_node: FakeNode) -> None:
    world.create(pod("picky", nodeSelector={"gpu": "big"}, container={"resources": {"limits": {GPU: "1"}}}))
    world.refused("picky")
    with start(world.plane, namespace=world.namespace, labels={"gpu": "big"}, capacity={GPU: "1"}) as big:
        assert world.becomes_ready("picky")["spec"]["nodeName"] == big.name


def test_what_runs_already_counts(world: World) -> None:
    with start(world.plane, namespace=world.namespace, capacity={"cpu": "4"}):
        world.create(pod("first", **requesting(cpu="3")))
        world.becomes_ready("first")
        world.create(pod("second", **requesting(cpu="3")))
        assert world.refused("second").startswith("0/1 nodes are available: 1 Insufficient cpu")
        world.plane.kubectl("delete", "pod", "first", "-n", world.namespace)
        world.becomes_ready("second")


def test_a_taint_keeps_out_who_does_not_tolerate_it(world: World) -> None:
    with start(world.plane, namespace=world.namespace, taints=[TAINT]):
        world.create(pod("stranger"))
        world.create(pod("guest", tolerations=[TOLERATION]))
        world.becomes_ready("guest")
        assert world.refused("stranger").startswith("0/1 nodes are available: 1 node(s) had untolerated taint(s)")


def test_pods_are_spread_over_zones_and_the_one_too_many_waits(world: World) -> None:
    zone = "topology.kubernetes.io/zone"
    manifest = deployment("web", 5)
    manifest["spec"]["template"]["spec"]["topologySpreadConstraints"] = [spread(zone, "DoNotSchedule")]
    a = start(world.plane, namespace=world.namespace, name=f"a-{world.namespace}", labels={zone: "a"})
    b = start(
        world.plane, namespace=world.namespace, name=f"b-{world.namespace}", labels={zone: "b"}, capacity={"pods": "2"}
    )
    with a, b:
        world.create(manifest)
        eventually(world.pods, lambda pods: sum(1 for each in pods if "nodeName" in each["spec"]) == 5)
        assert Counter(each["spec"]["nodeName"] for each in world.pods()) == {
            f"a-{world.namespace}": 3,
            f"b-{world.namespace}": 2,
        }
        world.plane.kubectl("scale", "deployment/web", "-n", world.namespace, "--replicas=6")
        (sixth,) = eventually(
            lambda: [each["metadata"]["name"] for each in world.pods() if "nodeName" not in each["spec"]],
            lambda waiting: len(waiting) == 1,
        )
        assert "1 node(s) didn't match pod topology spread constraints" in world.refused(sixth)


def test_a_pod_waits_for_its_claim_and_the_claim_gets_a_volume(world: World, fake_node: FakeNode) -> None:
    world.create(pod("needy", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "documents"}}]))
    assert world.refused("needy").startswith('0/1 nodes are available: persistentvolumeclaim "documents" not found')
    world.create(CLAIM)
    world.becomes_ready("needy")
    path = f"/api/v1/namespaces/{world.namespace}/persistentvolumeclaims/documents"
    claim = world.plane.request("GET", path)
    assert claim["status"]["phase"] == "Bound"
    world.plane.kubectl("delete", "pod/needy", "pvc/documents", "-n", world.namespace)
    volumes = "/api/v1/persistentvolumes"

    def kept() -> list[Any]:
        found = world.plane.request("GET", volumes)["items"]
        return [each for each in found if each["metadata"]["name"] == claim["spec"]["volumeName"]]

    assert eventually(kept, lambda left: not left) == []


def test_a_node_leaves_its_object_only_as_long_as_it_lives(world: World) -> None:
    with start(world.plane, namespace=world.namespace, labels={"zone": "a"}, taints=[TAINT]) as node:
        found = world.plane.request("GET", f"/api/v1/nodes/{node.name}")
        assert found["metadata"]["labels"]["zone"] == "a"
        assert [{key: each[key] for key in TAINT} for each in found["spec"]["taints"]] == [TAINT]
        ready = [each["status"] for each in found["status"]["conditions"] if each["type"] == "Ready"]
        assert (ready, found["status"]["allocatable"]["cpu"]) == (["True"], "64")
    names = [each["metadata"]["name"] for each in world.plane.request("GET", "/api/v1/nodes")["items"]]
    assert node.name not in names
