"""A RagEndpoint with everything that it can have, on the real API server: kinds of three projects beside Kubernetes'.

What no double can show: that every schema takes what is made, that what the server adds by default is no drift, and
who owns the number of replicas while it goes from hand to hand.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from e2e.operator_tests.conftest import Keda
from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import RunningOperator, conditions, eventually, quiet, running_operator
from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.errors import ApiRefused
from e2e.testbed.platform_crds import platform_crds
from lectern_operator_tests import worlds

SECONDS = 30.0
PLATFORM = ("gateway.networking.k8s.io_httproutes", "monitoring.coreos.com_servicemonitors")
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PATHS = {
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/{0}/httproutes",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{0}/horizontalpodautoscalers",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{0}/ingresses",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{0}/networkpolicies",
    "PersistentVolumeClaim": "/api/v1/namespaces/{0}/persistentvolumeclaims",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{0}/poddisruptionbudgets",
    "ScaledObject": "/apis/keda.sh/v1alpha1/namespaces/{0}/scaledobjects",
    "Secret": "/api/v1/namespaces/{0}/secrets",
    "ServiceAccount": "/api/v1/namespaces/{0}/serviceaccounts",
    "ServiceMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{0}/servicemonitors",
}
KNOWLEDGE_BASE = worlds.changed(worlds.KNOWLEDGE_BASE, suspend=True)
WHOLE = worlds.changed(
    worlds.ENDPOINT,
    autoscaling={"minReplicas": 2, "maxReplicas": 6},
    exposure={"httpRoute": {"gatewayName": "public", "hostnames": ["ask.example.com"]}},
    generation={
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "server": {"managed": {"modelCache": {"size": "1Gi"}, "tolerations": [{"operator": "Exists"}]}},
        "scaling": {"maxReplicas": 3, "prometheusUrl": "http://prometheus.monitoring:9090"},
    },
    reranker={"model": "BAAI/bge-reranker-base", "server": {"managed": {"replicas": 2}}},
)


@pytest.fixture
def platform(control_plane: ControlPlane) -> Iterator[None]:
    """Install the kinds of the Gateway API and of the Prometheus operator for one test."""
    control_plane.install_crds(*platform_crds(*PLATFORM))
    yield
    for stem in PLATFORM:
        group, _, plural = stem.partition("_")
        control_plane.request("DELETE", f"{DEFINITIONS}/{plural}.{group}")
        eventually(partial(_gone, control_plane, f"{DEFINITIONS}/{plural}.{group}"), SECONDS)


def _gone(plane: ControlPlane, path: str) -> bool:
    try:
        plane.request("GET", path)
    except ApiRefused as refused:
        return refused.status == 404
    return False


def made(objects: Objects) -> dict[str, list[str]]:
    """Return by kind the names of what belongs to the endpoint."""
    uid = objects.get("RagEndpoint", "ask")["metadata"]["uid"]
    found = {}
    for kind in ("ConfigMap", "Deployment", "Service", *PATHS):
        path = PATHS[kind].format(objects.namespace) if kind in PATHS else objects.path(kind)
        items = objects.plane.request("GET", f"{path}?labelSelector=lectern.dev/owner-uid={uid}")["items"]
        found[kind] = sorted(each["metadata"]["name"].removesuffix("-" + _digest(kind, each)) for each in items)
    return {kind: names for kind, names in found.items() if names}


def _digest(kind: str, body: dict[str, Any]) -> str:
    return str(body["metadata"]["name"]).rpartition("-")[2] if kind == "ConfigMap" else ""


def rest(operator: RunningOperator) -> None:
    """Wait until the operator rests, and see that a look at everything writes nothing."""
    quiet(operator)
    writes = operator.writes()
    passes = operator.passes()
    eventually(lambda: operator.passes() >= passes + 4, SECONDS)
    assert operator.writes() == writes, operator.log.read_text()[-2000:]


@pytest.mark.usefixtures("claims", "fake_node", "platform")
def test_every_child_is_taken_by_the_real_schemas_and_none_of_them_drifts(
    objects: Objects, work: Path, keda: Keda
) -> None:
    def judged() -> dict[str, tuple[str, str]]:
        return conditions(objects.get("RagEndpoint", "ask"))

    _restrict(objects)
    with keda(), running_operator(objects.plane, work, namespace=objects.namespace, resync_seconds=2) as operator:
        objects.create(KNOWLEDGE_BASE)
        objects.create(WHOLE)
        eventually(lambda: judged().get("GenerationReady", ("", ""))[0] == "True", SECONDS, judged)
        eventually(lambda: judged()["RerankerReady"][0] == judged()["QueryReady"][0] == "True", SECONDS, judged)
        assert made(objects) == {
            "ConfigMap": ["ask-query"],
            "Deployment": ["ask-generator", "ask-query", "ask-reranker"],
            "HTTPRoute": ["ask-query"],
            "HorizontalPodAutoscaler": ["ask-query"],
            "NetworkPolicy": ["ask-generator", "ask-query", "ask-reranker"],
            "PersistentVolumeClaim": ["ask-generator"],
            "PodDisruptionBudget": ["ask-generator", "ask-query", "ask-reranker"],
            "ScaledObject": ["ask-generator"],
            "Secret": ["ask-generator"],
            "Service": ["ask-generator", "ask-query", "ask-reranker"],
            "ServiceAccount": ["ask-generator", "ask-query", "ask-reranker"],
            "ServiceMonitor": ["ask-generator", "ask-query", "ask-reranker"],
        }
        eventually(lambda: judged()["ScalerReady"] == ("False", "ScalerRejected"), SECONDS, judged)  # no metrics-server
        assert judged()["RouteReady"] == ("Unknown", "Progressing")
        _accept(objects)
        eventually(lambda: judged()["RouteReady"] == ("True", "RouteAccepted"), SECONDS, judged)
        rest(operator)


def _restrict(objects: Objects) -> None:
    """Let the API server refuse every pod that Pod Security `restricted` does not allow."""
    patch = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    path = f"/api/v1/namespaces/{objects.namespace}"
    objects.plane.request("PATCH", path, patch, content_type="application/merge-patch+json")


def _accept(objects: Objects) -> None:
    """Say on the route what the controller of its Gateway would."""
    path = f"{PATHS['HTTPRoute'].format(objects.namespace)}/ask-query"
    generation = objects.plane.request("GET", path)["metadata"]["generation"]
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": kind,
            "message": "",
            "observedGeneration": generation,
            "lastTransitionTime": "2026-11-21T00:00:00Z",
        }
        for kind in ("Accepted", "ResolvedRefs")
    ]
    parent = {"parentRef": {"name": "public"}, "controllerName": "example.com/gateway", "conditions": conditions}
    patch = {"status": {"parents": [parent]}}
    objects.plane.request("PATCH", f"{path}/status", patch, content_type="application/merge-patch+json")


@pytest.mark.usefixtures("claims", "fake_node")
def test_replicas_go_from_hand_to_hand_and_never_dip(objects: Objects, work: Path) -> None:
    fixed = worlds.changed(worlds.ENDPOINT, replicas=3)
    with running_operator(objects.plane, work, namespace=objects.namespace) as operator:
        objects.create(KNOWLEDGE_BASE)
        objects.create(fixed)
        eventually(lambda: conditions(objects.get("RagEndpoint", "ask")).get("Ready", ("",))[0] == "True", SECONDS)
        with counting(objects) as seen:
            scaled = {"replicas": None, "autoscaling": {"minReplicas": 2, "maxReplicas": 6}}
            objects.merge("RagEndpoint", "ask", {"spec": scaled})
            eventually(lambda: autoscalers(objects) == ["ask-query"], SECONDS)
            quiet(operator)
            path = f"{objects.path('Deployment', 'ask-query')}/scale"
            objects.plane.request("PATCH", path, {"spec": {"replicas": 5}}, content_type="application/merge-patch+json")
            quiet(operator)
            objects.merge("RagEndpoint", "ask", {"spec": {"replicas": 4, "autoscaling": None}})
            eventually(lambda: autoscalers(objects) == [], SECONDS)
            eventually(lambda: objects.get("Deployment", "ask-query")["spec"]["replicas"] == 4, SECONDS)
        assert [number for number, last in zip(seen, [0, *seen], strict=False) if number != last] == [3, 5, 4]


def autoscalers(objects: Objects) -> list[str]:
    """Return the names of the autoscalers in the namespace."""
    path = PATHS["HorizontalPodAutoscaler"].format(objects.namespace)
    return [each["metadata"]["name"] for each in objects.plane.request("GET", path)["items"]]


@contextmanager
def counting(objects: Objects) -> Iterator[list[int]]:
    """Note the number of replicas again and again until the block ends."""
    seen: list[int] = []
    over = threading.Event()

    def count() -> None:
        while not over.wait(0.005):
            seen.append(int(objects.get("Deployment", "ask-query")["spec"]["replicas"]))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
