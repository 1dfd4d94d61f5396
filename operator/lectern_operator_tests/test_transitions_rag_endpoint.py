"""RagEndpoint: given this world, one pass, that world; and a second pass that writes nothing."""

from __future__ import annotations

from typing import Any

from lectern_contract.resources.reasons import CONDITIONS
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.passes import Operator, children, names

KIND = "RagEndpoint"


def operator(document: dict[str, Any] = worlds.ENDPOINT) -> Operator:
    cluster = FakeCluster()
    cluster.put(worlds.changed(worlds.KNOWLEDGE_BASE, suspend=True))
    cluster.put(document)
    return Operator(cluster)


async def test_a_new_endpoint_gets_a_service_and_its_url() -> None:
    endpoint = operator()
    await endpoint.settle()
    assert tuple(endpoint.judged(KIND, "ask")) == CONDITIONS[KIND]
    assert endpoint.judged(KIND, "ask")["Ready"] == ("Unknown", "Progressing")
    assert endpoint.status(KIND, "ask")["url"] == "http://ask-query.team.svc:8080"
    endpoint.cluster.roll_out("ask-query")
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask") == {
        "Ready": ("True", "AllComponentsReady"),
        "Reconciling": ("False", "Stable"),
        "Stalled": ("False", "Stable"),
        "SpecHonored": ("True", "AsSpecified"),
        "KnowledgeBaseFound": ("True", "KnowledgeBaseExists"),
        "QueryReady": ("True", "DeploymentAvailable"),
    }


async def test_the_number_of_replicas_is_the_one_that_is_asked_for() -> None:
    endpoint = operator(worlds.changed(worlds.ENDPOINT, replicas=3))
    await endpoint.settle()
    assert endpoint.cluster.objects["Deployment", "team", "ask-query"]["spec"]["replicas"] == 3
    endpoint.cluster.edit("Deployment", "ask-query", {"spec": {"replicas": 1}})
    await endpoint.settle()
    assert endpoint.cluster.objects["Deployment", "team", "ask-query"]["spec"]["replicas"] == 3


async def test_a_missing_knowledge_base_is_named_and_what_runs_is_left_alone() -> None:
    endpoint = operator()
    await endpoint.settle()
    endpoint.cluster.roll_out("ask-query")
    await endpoint.settle()
    before = [name for name in children(endpoint.cluster) if "ask" in name]
    endpoint.cluster.remove("KnowledgeBase", "docs")
    assert await endpoint.settle() == [("status", KIND, "ask")]
    assert endpoint.judged(KIND, "ask")["Ready"] == ("False", "KnowledgeBaseMissing")
    assert endpoint.judged(KIND, "ask")["QueryReady"][0] == "True"
    assert [name for name in children(endpoint.cluster) if "ask" in name] == before
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
