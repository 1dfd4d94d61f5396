"""RagEndpoint: given this world, one pass, that world; and a second pass that writes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from lectern_contract.resources.reasons import CONDITIONS
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.passes import Operator, children, names

KIND = "RagEndpoint"


def operator(document: dict[str, Any] = worlds.ENDPOINT, *, keda: bool = True) -> Operator:
    cluster = FakeCluster(keda=keda, namespaces=("team", "platform"))
    cluster.put(worlds.changed(worlds.KNOWLEDGE_BASE, suspend=True))
    cluster.put(document)
    return Operator(cluster)


def of_endpoint(cluster: FakeCluster) -> list[str]:
    """Return the children of the endpoint."""
    return [name for name in children(cluster) if "/ask" in name]


async def test_a_new_endpoint_gets_a_service_and_its_url() -> None:
    endpoint = operator()
    await endpoint.settle()
    assert tuple(endpoint.judged(KIND, "ask")) == CONDITIONS[KIND]
    assert endpoint.judged(KIND, "ask")["Ready"] == ("Unknown", "Progressing")
    status = endpoint.status(KIND, "ask")
    assert status["url"] == "http://ask-query.team.svc:8080"
    assert status["endpoints"] == [{"name": "query", "url": "http://ask-query.team.svc:8080"}]
    endpoint.cluster.roll_out("ask-query")
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask") == {
        "Ready": ("True", "AllComponentsReady"),
        "Reconciling": ("False", "Stable"),
        "Stalled": ("False", "Stable"),
        "SpecHonored": ("True", "AsSpecified"),
        "KnowledgeBaseFound": ("True", "KnowledgeBaseExists"),
        "ReferencesFound": ("True", "ReferencesExist"),
        "GenerationReady": ("True", "NotNeeded"),
        "RerankerReady": ("True", "NotNeeded"),
        "QueryReady": ("True", "DeploymentAvailable"),
        "ScalerReady": ("True", "NotNeeded"),
        "RouteReady": ("True", "NotNeeded"),
        "ConfigApplied": ("True", "SettingsLoaded"),
    }
    found = [name for name in of_endpoint(endpoint.cluster) if not name.startswith("ConfigMap")]
    assert found == [
        "Deployment/ask-query",
        "NetworkPolicy/ask-query",
        "Service/ask-query",
        "ServiceAccount/ask-query",
        "ServiceMonitor/ask-query",
    ]


async def test_the_number_of_replicas_is_the_one_that_is_asked_for() -> None:
    endpoint = operator(worlds.changed(worlds.ENDPOINT, replicas=3))
    await endpoint.settle()
    assert endpoint.cluster.objects["Deployment", "team", "ask-query"]["spec"]["replicas"] == 3
    endpoint.cluster.edit("Deployment", "ask-query", {"spec": {"replicas": 1}})
    await endpoint.settle()
    assert endpoint.cluster.objects["Deployment", "team", "ask-query"]["spec"]["replicas"] == 3


async def test_more_than_one_replica_gets_a_disruption_budget_and_one_has_none() -> None:
    endpoint = operator(worlds.changed(worlds.ENDPOINT, replicas=3))
    await endpoint.settle()
    assert names(endpoint.cluster, "PodDisruptionBudget") == ["ask-query"]
    endpoint.cluster.put(worlds.changed(worlds.ENDPOINT, replicas=1))
    await endpoint.settle()
    assert names(endpoint.cluster, "PodDisruptionBudget") == []


async def test_a_missing_knowledge_base_is_named_and_what_runs_is_left_alone() -> None:
    endpoint = operator()
    await endpoint.settle()
    endpoint.cluster.roll_out("ask-query")
    await endpoint.settle()
    before = of_endpoint(endpoint.cluster)
    endpoint.cluster.remove("KnowledgeBase", "docs")
    assert await endpoint.settle() == [("status", KIND, "ask")]
    assert endpoint.judged(KIND, "ask")["Ready"] == ("False", "KnowledgeBaseMissing")
    assert endpoint.judged(KIND, "ask")["QueryReady"][0] == "True"
    assert of_endpoint(endpoint.cluster) == before
    endpoint.cluster.put(worlds.KNOWLEDGE_BASE)
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["Ready"][0] == "True"


async def test_a_changed_knowledge_base_rolls_the_endpoint() -> None:
    endpoint = operator()
    await endpoint.settle()
    before = [name for name in names(endpoint.cluster, "ConfigMap") if name.startswith("ask")]
    endpoint.cluster.put(worlds.changed(worlds.KNOWLEDGE_BASE, suspend=True, embedding__queryPrefix="query: "))
    await endpoint.settle()
    after = [name for name in names(endpoint.cluster, "ConfigMap") if name.startswith("ask")]
    assert before != after


async def test_an_endpoint_of_no_replicas_is_as_asked() -> None:
    endpoint = operator(worlds.changed(worlds.ENDPOINT, replicas=0))
    await endpoint.settle()
    endpoint.cluster.roll_out("ask-query")
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["Ready"][0] == "True"


async def test_policies_go_when_they_are_not_wanted_and_come_back() -> None:
    endpoint = operator()
    await endpoint.settle()
    endpoint.cluster.put(worlds.changed(worlds.ENDPOINT, networkPolicy__enabled=False))
    await endpoint.settle()
    assert [name for name in of_endpoint(endpoint.cluster) if name.startswith("NetworkPolicy")] == []
    endpoint.cluster.put(worlds.changed(worlds.ENDPOINT, networkPolicy__enabled=True))
    await endpoint.settle()
    assert "NetworkPolicy/ask-query" in of_endpoint(endpoint.cluster)


async def test_without_the_prometheus_operator_nothing_is_monitored_and_nothing_is_wrong() -> None:
    endpoint = operator()
    endpoint.cluster.unserved.add("monitoring.coreos.com/v1")
    await endpoint.settle()
    endpoint.cluster.roll_out("ask-query")
    await endpoint.settle()
    assert names(endpoint.cluster, "ServiceMonitor") == []
    assert endpoint.judged(KIND, "ask")["Ready"][0] == "True"
    endpoint.cluster.unserved.clear()
    await endpoint.settle()
    assert "ask-query" in names(endpoint.cluster, "ServiceMonitor")


# --- knowledge bases of other namespaces ------------------------------------------------------------------------------

FOREIGN = worlds.changed(worlds.ENDPOINT, knowledgeBaseRefs=["docs", "platform/docs"])


def of_platform(**paths: Any) -> dict[str, Any]:
    """Return a knowledge base of the same name in another namespace."""
    document = worlds.changed(worlds.KNOWLEDGE_BASE, suspend=True, **paths)
    return {**document, "metadata": {**document["metadata"], "namespace": "platform", "uid": "uid-platform"}}


@pytest.mark.parametrize("there", [True, False])
async def test_a_knowledge_base_elsewhere_that_does_not_allow_us_looks_like_one_that_is_not_there(there: bool) -> None:
    endpoint = operator(FOREIGN)
    if there:
        endpoint.cluster.put(of_platform(allowedNamespaces=["sales"]))
    await endpoint.settle()
    assert endpoint.condition(KIND, "ask", "Ready")["reason"] == "NamespaceNotAllowed"
    assert endpoint.condition(KIND, "ask", "Ready")["message"] == (
        "KnowledgeBase platform/docs does not exist, or its spec.allowedNamespaces does not list team: have it listed "
        "there, or remove the reference"
    )
    assert of_endpoint(endpoint.cluster) == []


async def test_a_knowledge_base_elsewhere_that_allows_us_is_searched_under_its_own_names() -> None:
    endpoint = operator(FOREIGN)
    endpoint.cluster.put(
        of_platform(
            allowedNamespaces=["team"],
            vectorStore={"url": "http://qdrant:6333", "apiKeySecretRef": {"name": "theirs", "key": "key"}},
        )
    )
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["KnowledgeBaseFound"] == ("True", "KnowledgeBaseExists")
    (settings,) = [
        body["data"]["settings.json"]
        for (kind, _, name), body in endpoint.cluster.objects.items()
        if kind == "ConfigMap" and name.startswith("ask-query")
    ]
    assert '"alias": "team.docs"' in settings
    assert '"alias": "platform.docs"' in settings
    assert '"events_topic": "lectern.platform.docs.events"' in settings
    assert '"name": "platform/docs"' in settings
    assert "/etc/lectern/secrets/query/platform.docs.vector-store-api-key" in settings
    assert "http://docs-embedder.platform.svc:8080" in settings


async def test_a_namespace_that_is_allowed_no_longer_is_told_so() -> None:
    endpoint = operator(FOREIGN)
    endpoint.cluster.put(of_platform(allowedNamespaces=["team"]))
    await endpoint.settle()
    endpoint.cluster.put(of_platform())
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["Ready"] == ("False", "NamespaceNotAllowed")


async def test_one_knowledge_base_under_two_names_is_refused() -> None:
    endpoint = operator(worlds.changed(worlds.ENDPOINT, knowledgeBaseRefs=["docs", "team/docs"]))
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["Ready"] == ("False", "InvalidSpec")
    assert endpoint.judged(KIND, "ask")["Stalled"] == ("True", "InvalidSpec")


# --- the way in from outside ------------------------------------------------------------------------------------------

ROUTE = worlds.changed(worlds.ENDPOINT, exposure__httpRoute={"gatewayName": "public", "hostnames": ["ask.example.com"]})


def judge_route(cluster: FakeCluster, *, accepted: str = "True", resolved: str = "True", generation: int = 1) -> None:
    """Let the Gateway's controller say what it thinks of the route."""
    conditions = [
        {"type": kind, "status": status, "reason": kind, "message": "said", "observedGeneration": generation}
        for kind, status in (("Accepted", accepted), ("ResolvedRefs", resolved))
    ]
    parent = {"parentRef": {"name": "public"}, "controllerName": "example.com/gateway", "conditions": conditions}
    cluster.edit("HTTPRoute", "ask-query", {"status": {"parents": [parent]}})


async def test_a_route_is_ready_when_its_gateway_accepts_it_as_it_is_now() -> None:
    endpoint = operator(ROUTE)
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["RouteReady"] == ("Unknown", "Progressing")
    judge_route(endpoint.cluster, generation=0)
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["RouteReady"] == ("Unknown", "Progressing")
    judge_route(endpoint.cluster)
    endpoint.cluster.roll_out("ask-query")
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["RouteReady"] == ("True", "RouteAccepted")
    assert endpoint.judged(KIND, "ask")["Ready"][0] == "True"
    assert endpoint.status(KIND, "ask")["endpoints"][1:] == [{"name": "route-1", "url": "//ask.example.com"}]


@pytest.mark.parametrize("refused", ["accepted", "resolved"])
async def test_a_route_that_its_gateway_refuses_says_the_gateways_words(refused: str) -> None:
    endpoint = operator(ROUTE)
    await endpoint.settle()
    judge_route(
        endpoint.cluster,
        accepted="False" if refused == "accepted" else "True",
        resolved="False" if refused == "resolved" else "True",
    )
    await endpoint.settle()
    kind = {"accepted": "Accepted", "resolved": "ResolvedRefs"}[refused]
    condition = endpoint.condition(KIND, "ask", "RouteReady")
    assert (condition["status"], condition["reason"]) == ("False", "RouteRejected")
    assert condition["message"] == f"Gateway public on HTTPRoute ask-query: {kind}: said"


async def test_a_route_without_the_gateway_api_names_the_next_step_and_is_made_when_it_comes() -> None:
    endpoint = operator(ROUTE)
    endpoint.cluster.unserved.add("gateway.networking.k8s.io/v1")
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["RouteReady"] == ("False", "GatewayNotInstalled")
    assert "Deployment/ask-query" in of_endpoint(endpoint.cluster)
    endpoint.cluster.unserved.clear()
    await endpoint.settle()
    assert names(endpoint.cluster, "HTTPRoute") == ["ask-query"]


async def test_an_ingress_takes_the_place_of_a_route() -> None:
    endpoint = operator(ROUTE)
    await endpoint.settle()
    ingress = {"host": "ask.example.com", "tlsSecretName": "ask-tls"}
    endpoint.cluster.put(worlds.changed(worlds.ENDPOINT, exposure__ingress=ingress))
    await endpoint.settle()
    assert names(endpoint.cluster, "HTTPRoute") == []
    assert names(endpoint.cluster, "Ingress") == ["ask-query"]
    assert endpoint.judged(KIND, "ask")["RouteReady"] == ("True", "RouteAccepted")
    assert endpoint.status(KIND, "ask")["endpoints"][1:] == [{"name": "ingress", "url": "https://ask.example.com"}]


async def test_jobs_without_a_redis_that_all_replicas_share_are_named_and_what_runs_is_left_alone() -> None:
    endpoint = operator()
    await endpoint.settle()
    before = {key: body for key, body in endpoint.cluster.objects.items() if key[0] != KIND}
    endpoint.cluster.put(worlds.changed(worlds.ENDPOINT, jobs={"enabled": True}))
    await endpoint.settle()
    assert {key: body for key, body in endpoint.cluster.objects.items() if key[0] != KIND} == before
    assert endpoint.judged(KIND, "ask")["Ready"] == ("False", "NotOnCluster")
    assert "spec.cache.redis" in endpoint.condition(KIND, "ask", "Ready")["message"]
    shared = {"redis": {"url": "redis://cache.team.svc:6379"}}
    endpoint.cluster.put(worlds.changed(worlds.ENDPOINT, jobs={"enabled": True}, cache=shared))
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["Stalled"] == ("False", "Stable")
