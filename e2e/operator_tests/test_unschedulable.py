"""What the real scheduler refuses is said by the operator in the scheduler's words, and mended when a node comes."""

from __future__ import annotations

import pytest

from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import RunningOperator, conditions, eventually, quiet
from e2e.testbed.fake_node import fake_node as start
from lectern_operator_tests import worlds

pytestmark = pytest.mark.usefixtures("claims", "operator", "fake_node")
SECONDS = 20.0
GPU = "nvidia.com/gpu"
FIXED = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=1, workers__maxReplicas=1)
ON_GPU = worlds.changed(
    FIXED,
    embedding__server={
        "managed": {
            "accelerator": {"resourceName": GPU},
            "nodeSelector": {"pool": "accelerated"},
            "tolerations": [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}],
        }
    },
)


def message(objects: Objects, condition: str) -> str:
    """Return the message of one condition of the knowledge base; empty while it is not there."""
    found = objects.get("KnowledgeBase", "docs").get("status", {}).get("conditions", ())
    return str(next((each["message"] for each in found if each["type"] == condition), ""))


def embedder_refused(objects: Objects) -> str:
    """Return what the scheduler says of the embedding server's pod; empty while it has said nothing."""
    for pod in objects.list("Pod", "lectern.dev/role=embedder"):
        for each in pod.get("status", {}).get("conditions", ()):
            if (each["type"], each["status"]) == ("PodScheduled", "False"):
                return str(each["message"])
    return ""


def told(objects: Objects, why: str) -> None:
    """Wait until the scheduler refuses the embedding server's pod because of `why` and the operator says the same."""

    def said() -> bool:
        words = embedder_refused(objects)
        wanted = f"Deployment docs-embedder: a pod cannot be scheduled: {words}"
        return f"available: {why}" in words and message(objects, "EmbeddingReady") == wanted

    eventually(said, SECONDS, lambda: (embedder_refused(objects), objects.get("KnowledgeBase", "docs").get("status")))
    found = conditions(objects.get("KnowledgeBase", "docs"))
    assert (found["EmbeddingReady"], found["Ready"]) == (("False", "ComponentNotReady"), ("False", "ComponentNotReady"))


def test_a_gpu_that_no_node_has_is_named_without_unrest_and_a_node_with_one_mends_it(
    objects: Objects, operator: RunningOperator
) -> None:
    objects.create(ON_GPU)
    told(objects, "1 node(s) didn't match Pod's node affinity/selector")
    with start(objects.plane, namespace=objects.namespace, labels={"pool": "accelerated"}, name="without-gpu"):
        told(objects, f"1 Insufficient {GPU}, 1 node(s) didn't match Pod's node affinity/selector")
        quiet(operator)
        before = objects.versions()
        quiet(operator, 3.0)
        assert objects.versions() == before

    taint = {"key": GPU, "value": "present", "effect": "NoSchedule"}
    labels, capacity = {"pool": "accelerated"}, {GPU: "1"}
    with start(objects.plane, namespace=objects.namespace, labels=labels, capacity=capacity, taints=[taint]) as node:
        eventually(
            lambda: conditions(objects.get("KnowledgeBase", "docs"))["Ready"][0] == "True",
            SECONDS,
            lambda: objects.get("KnowledgeBase", "docs")["status"],
        )
        (pod,) = objects.list("Pod", "lectern.dev/role=embedder")
        assert pod["spec"]["nodeName"] == node.name
