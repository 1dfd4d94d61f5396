"""A life of three resources in which every child is made, mended and removed once: what the rights are proven by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from e2e.operator_tests.running import eventually
from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.errors import ApiRefused
from e2e.testbed.fake_node import FakeNode
from lectern_contract import labels, names
from lectern_operator.clients import kinds
from lectern_operator_tests import worlds

TEAM = "team"
KEDA = ("keda.sh_scaledobjects", "keda.sh_triggerauthentications")
SECONDS = 40.0
NOT_SEEN_IN_AN_AUDIT_LOG = {("lectern.dev", f"{kind.plural}/finalizers", "update") for kind in kinds.OWNERS.values()}
"""Asked for by an admission plugin that clusters may switch on (OwnerReferencesPermissionEnforcement), not by us."""
Body = dict[str, Any]

FULL_BASE = worlds.changed(
    worlds.KNOWLEDGE_BASE,
    embedding__server__managed={"modelCache": {"size": "1Gi"}},
    messaging__securityProtocol="SASL_PLAINTEXT",
    messaging__saslMechanism="PLAIN",
    messaging__credentialsSecretRef={"name": "kafka"},
    messaging__topicManagement="Strimzi",
    messaging__strimziCluster="events",
    workers={"minReplicas": 1, "maxReplicas": 3},
)
LESS_OF_A_BASE: Body = {
    "messaging__securityProtocol": None,
    "messaging__saslMechanism": None,
    "messaging__credentialsSecretRef": None,
    "messaging__topicManagement": "Admin",
    "messaging__strimziCluster": None,
    "workers": {"minReplicas": 1, "maxReplicas": 1},
}
BARE_BASE = worlds.changed(
    worlds.KNOWLEDGE_BASE,
    embedding__server={"external": {"url": "http://models.example.com/v1", "protocol": "OpenAI"}},
    networkPolicy={"enabled": False},
    workers={"minReplicas": 1, "maxReplicas": 1},
)
SCHEDULED = worlds.changed(worlds.SOURCE, schedule="0 2 * * *")
RUNS = 5
"""More than Jobs are kept."""
FULL_ENDPOINT = worlds.changed(
    worlds.ENDPOINT,
    generation={
        "model": "Qwen/Qwen2.5-0.5B-Instruct",
        "server": {"managed": {"modelCache": {"size": "1Gi"}}},
        "promptConfigMapRef": {"name": "prompt", "key": "prompt.txt"},
        "scaling": {"minReplicas": 0, "maxReplicas": 2, "prometheusUrl": "http://prometheus.monitoring:9090"},
    },
    reranker={"model": "BAAI/bge-reranker-base", "server": {"managed": {}}},
    autoscaling={"minReplicas": 2, "maxReplicas": 3},
    exposure={"httpRoute": {"gatewayName": "public", "hostnames": ["ask.example.com"]}},
)
INSTEAD: Body = {
    "autoscaling": None,
    "replicas": 2,
    "exposure": {"ingress": {"className": "public", "host": "ask.example.com"}},
    "generation__scaling": None,
}
MADE_FIRST = (
    "ConfigMap",
    "CronJob",
    "Deployment",
    "HTTPRoute",
    "HorizontalPodAutoscaler",
    "KafkaTopic",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "ScaledObject",
    "Service",
    "ServiceAccount",
    "ServiceMonitor",
    "TriggerAuthentication",
)


class Team:
    """Short ways to the objects in the namespace of the resources, as its administrator."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def create(self, kind: kinds.Kind, body: Body) -> None:
        """Create an object."""
        self._plane.request("POST", kind.path(TEAM), {"apiVersion": kind.api_version, "kind": kind.name, **body})

    def get(self, kind: str, name: str) -> Body | None:
        """Return an object, None where there is none."""
        try:
            return self._plane.request("GET", kinds.ALL[kind].path(TEAM, name))
        except ApiRefused as refused:
            if refused.status != 404:
                raise
            return None

    def put(self, document: Body) -> None:
        """Create one of our resources, or replace its spec."""
        kind, name = kinds.OWNERS[document["kind"]], document["metadata"]["name"]
        known = self.get(kind.name, name)
        body = {**document, "metadata": {"name": name, "annotations": document["metadata"].get("annotations", {})}}
        if known is None:
            self._plane.request("POST", kind.path(TEAM), body)
            return
        body["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"]
        body["metadata"]["finalizers"] = known["metadata"].get("finalizers", [])
        try:
            self._plane.request("PUT", kind.path(TEAM, name), body)
        except ApiRefused as refused:
            if refused.status != 409:
                raise
            self.put(document)  # the operator wrote meanwhile

    def delete(self, kind: str, name: str) -> None:
        """Delete an object."""
        self._plane.request("DELETE", kinds.ALL[kind].path(TEAM, name))

    def lacks(self, kind: str, name: str) -> bool:
        """Say whether there is no such object."""
        return self.get(kind, name) is None

    def children(self, kind: str) -> list[Body]:
        """Return what the operator has made of a kind."""
        path = f"{kinds.CHILDREN[kind].path(TEAM)}?labelSelector={labels.OWNER_UID}"
        items: list[Body] = self._plane.request("GET", path)["items"]
        return items

    def conditions(self) -> list[str]:
        """Return what the conditions of all our resources say, for messages of this test."""
        return [
            f"{kind.name}/{each['metadata']['name']} {one['type']}={one['status']} {one['reason']}: {one['message']}"
            for kind in kinds.OWNERS.values()
            for each in self._plane.request("GET", kind.path(TEAM))["items"]
            for one in each.get("status", {}).get("conditions", ())
        ]


def travel(plane: ControlPlane, node: FakeNode) -> None:
    """Take the resources through their lives; ends when all is gone."""
    team = Team(plane)
    node.ready_after = 0.1
    _prepare(team)
    for document in (FULL_BASE, SCHEDULED, FULL_ENDPOINT):
        team.put(document)
    expect(team, *MADE_FIRST)
    for document in (worlds.changed(FULL_BASE, **LESS_OF_A_BASE), worlds.changed(FULL_ENDPOINT, **INSTEAD)):
        team.put(document)
    _run_often(team)
    expect(team, "Ingress")
    gone(team, "CronJob", "HTTPRoute", "HorizontalPodAutoscaler", "KafkaTopic", "ScaledObject", "TriggerAuthentication")
    team.put(BARE_BASE)
    team.put(worlds.ENDPOINT)
    gone(
        team,
        "Ingress",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "NetworkPolicy/docs-worker",
        "ServiceMonitor/ask-reranker",
    )
    for kind, name in (("RagEndpoint", "ask"), ("IngestionSource", "guides"), ("KnowledgeBase", "docs")):
        team.delete(kind, name)
        _await(team, partial(team.lacks, kind, name), partial("{}/{} is still there".format, kind, name))


def _run_often(team: Team) -> None:
    """Ask the source for runs, one after the other, until the Job of the first is removed."""
    for number in map(str, range(RUNS)):
        team.put({**worlds.SOURCE, "metadata": {"name": "guides", "annotations": {names.SYNC_REQUESTED: number}}})
        _await(team, partial(_handled, team, number), partial("run {} is not handled".format, number))
    _await(team, lambda: len(team.children("Job")) < RUNS, lambda: "all Jobs are kept")


def _handled(team: Team, request: str) -> bool:
    status = (team.get("IngestionSource", "guides") or {}).get("status", {})
    return bool(status.get("lastHandledSyncRequest") == request and status["lastRun"]["result"] != "Running")


def _prepare(team: Team) -> None:
    for name in ("blobs", "guides"):
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        team.create(kinds.CHILDREN["PersistentVolumeClaim"], {"metadata": {"name": name}, "spec": spec})
    secret = {"metadata": {"name": "kafka"}, "stringData": {"username": "lectern", "password": "journey"}}
    team.create(kinds.CHILDREN["Secret"], secret)
    prompt = {"metadata": {"name": "prompt"}, "data": {"prompt.txt": "Answer."}}
    team.create(kinds.CHILDREN["ConfigMap"], prompt)


def wait_for_the_operator(plane: ControlPlane) -> str:
    """Leave a knowledge base that is being deleted and has our finalizer; return its path."""
    kind = kinds.OWNERS["KnowledgeBase"]
    body = {**worlds.KNOWLEDGE_BASE, "metadata": {"name": "waiting", "finalizers": [names.FINALIZER]}}
    plane.request("POST", kind.path(TEAM), body)
    plane.request("DELETE", kind.path(TEAM, "waiting"))
    return kind.path(TEAM, "waiting")


def visit(plane: ControlPlane) -> None:
    """Make the simplest resources and remove them: what an operator of one namespace does at least."""
    team = Team(plane)
    _prepare(team)
    for document in (FULL_BASE, worlds.SOURCE, FULL_ENDPOINT):
        team.put(document)
    expect(team, "Deployment", "HTTPRoute", "ScaledObject", "ServiceMonitor")
    for kind, name in (("RagEndpoint", "ask"), ("IngestionSource", "guides"), ("KnowledgeBase", "docs")):
        team.delete(kind, name)
        _await(team, partial(team.lacks, kind, name), partial("{}/{} is still there".format, kind, name))


def expect(team: Team, *wanted: str) -> None:
    """Wait until there are children of these kinds."""

    def missing() -> list[str]:
        return [kind for kind in wanted if not team.children(kind)]

    _await(team, lambda: not missing(), lambda: f"there is no {missing()}")


def gone(team: Team, *unwanted: str) -> None:
    """Wait until there are no children of these kinds, or none of that name where it is Kind/name."""

    def left() -> list[str]:
        kinds_ = dict.fromkeys(each.partition("/")[0] for each in unwanted)
        found = [f"{kind}/{each['metadata']['name']}" for kind in kinds_ for each in team.children(kind)]
        return [each for each in found if each in unwanted or each.partition("/")[0] in unwanted]

    _await(team, lambda: not left(), lambda: f"{left()} is still there")


def _await(team: Team, holds: Callable[[], object], what: Callable[[], object]) -> None:
    eventually(holds, SECONDS, lambda: "\n".join([str(what()), *team.conditions()]))
