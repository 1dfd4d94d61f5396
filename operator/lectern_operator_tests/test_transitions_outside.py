"""A KnowledgeBase and what it has outside the cluster: world in, passes, world out; the second pass writes nothing."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest

from lectern_contract import names as naming
from lectern_contract.collection import FALLBACK_SHARD_KEY
from lectern_contract.topics import topics
from lectern_operator.facts import Known
from lectern_operator.facts.outside import EmbedderFacts, Loaded
from lectern_operator.facts.vector_store import CreateShardKeys
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.passes import Operator, names

KIND = "KnowledgeBase"
FIXED = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=2, workers__maxReplicas=2)
GONE = worlds.changed(FIXED, deletionPolicy="Delete")
COLLECTION, ALIAS = "team.docs.g1", "team.docs"
TOPICS = [each.name for each in topics(worlds.knowledge_base())]


def operator(document: dict[str, Any] = FIXED) -> Operator:
    """Return an operator in whose cluster somebody has just applied `document`."""
    cluster = FakeCluster()
    cluster.put(document)
    return Operator(cluster)


async def ready(document: dict[str, Any] = FIXED) -> Operator:
    """Return an operator whose knowledge base is Ready."""
    kb = operator(document)
    await kb.settle()
    kb.cluster.roll_out_all()
    await kb.look()
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"] == ("True", "AllComponentsReady"), kb.status(KIND, "docs")
    return kb


def broker(kb: Operator) -> Any:
    """Return the Kafka cluster of the tests."""
    return kb.outside.brokers.clusters["kafka:9092"]


def store(kb: Operator) -> Any:
    """Return the Qdrant server of the tests."""
    return kb.outside.stores.servers["http://qdrant:6333"]


async def test_ready_means_topics_a_collection_and_an_alias() -> None:
    kb = await ready()
    assert sorted(broker(kb).topics) == sorted(TOPICS)
    assert sorted(store(kb).collections) == [COLLECTION]
    assert store(kb).aliases == {ALIAS: COLLECTION}
    status = kb.status(KIND, "docs")
    assert (status["activeGeneration"], status["partitionCount"]) == (1, 0)
    assert status["endpoints"] == [{"name": "embedder", "url": "http://docs-embedder.team.svc:8080"}]


async def test_documents_are_counted_as_the_catalogue_has_them() -> None:
    kb = await ready()
    store(kb).write(COLLECTION, "acme", "public", 12, by="TenantAndAccessLevel")
    await kb.settle()
    assert kb.status(KIND, "docs")["documents"] == {"indexed": 12, "failed": 0}
    store(kb).silent = True
    await kb.settle()
    assert kb.status(KIND, "docs")["documents"] == {"indexed": 12, "failed": 0}


async def test_no_collection_is_made_for_another_length_than_the_spec_says() -> None:
    kb = operator()
    kb.outside.embedders.answers[FIXED["spec"]["embedding"]["model"]] = Known(EmbedderFacts(768, 512, 32))
    await kb.settle()
    kb.cluster.roll_out_all()
    await kb.settle()
    assert kb.judged(KIND, "docs")["EmbeddingReady"] == ("False", "DimensionMismatch")
    assert "length 768" in kb.condition(KIND, "docs", "Ready")["message"]
    assert store(kb).collections == {}


async def test_what_somebody_deleted_outside_comes_back() -> None:
    kb = await ready()
    broker(kb).drop(TOPICS[0])
    store(kb).drop(COLLECTION)
    await kb.look()
    await kb.settle()
    assert sorted(broker(kb).topics) == sorted(TOPICS)
    assert sorted(store(kb).collections) == [COLLECTION]
    assert kb.judged(KIND, "docs")["Ready"][0] == "True"


async def test_a_broker_that_is_away_is_named_and_mends() -> None:
    kb = await ready()
    broker(kb).silent = True
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "BrokerUnreachable")
    assert kb.judged(KIND, "docs")["CollectionReady"][0] == "True"
    broker(kb).silent = False
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"][0] == "True"


async def test_an_index_for_other_settings_blocks_and_what_runs_is_left_alone() -> None:
    kb = await ready()
    before = {key: body for key, body in kb.cluster.objects.items() if key[0] != KIND}
    kb.cluster.put(worlds.changed(FIXED, chunking__size=100))
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "CollectionChanged")
    assert kb.judged(KIND, "docs")["Stalled"][0] == "True"
    assert {key: body for key, body in kb.cluster.objects.items() if key[0] != KIND} == before
    kb.cluster.put(worlds.changed(FIXED, chunking__size=200))
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"][0] == "True"


async def test_the_status_remembers_what_an_index_was_built_for_while_the_store_is_away() -> None:
    kb = await ready()
    store(kb).silent = True
    kb.cluster.put(worlds.changed(FIXED, chunking__size=100))
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "CollectionChanged")


async def test_a_missing_secret_is_named_and_its_arrival_mends() -> None:
    protected = worlds.changed(
        FIXED,
        messaging__securityProtocol="SASL_PLAINTEXT",
        messaging__saslMechanism="PLAIN",
        messaging__credentialsSecretRef={"name": "kafka"},
    )
    kb = operator(protected)
    broker(kb).password = "right"
    await kb.settle()
    kb.cluster.roll_out_all()
    await kb.look()
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "SecretMissing")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kafka", "namespace": "team"}}
    kb.cluster.put({**secret, "data": encoded(username="me", password="wrong")})
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "CredentialsRejected")
    assert "wrong" not in str(kb.status(KIND, "docs"))
    kb.cluster.put({**secret, "data": encoded(username="me", password="right")})
    await kb.look()
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"][0] == "True"


def encoded(**values: str) -> dict[str, str]:
    """Return the data of a Secret."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


async def test_a_pod_with_other_settings_takes_readiness_away() -> None:
    kb = await ready()
    kb.outside.runtimes.answers["docs-worker-pod-0"] = Known(Loaded("f" * 64, 1))
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "SettingsPending")


async def test_a_paused_child_is_left_as_it_is_and_said() -> None:
    kb = await ready()
    paused = {"metadata": {"annotations": {naming.PAUSED: "true"}}, "spec": {"replicas": 7}}
    kb.cluster.edit("Deployment", "docs-worker", paused)
    kb.cluster.roll_out("docs-worker")
    await kb.settle()
    assert kb.cluster.objects["Deployment", "team", "docs-worker"]["spec"]["replicas"] == 7
    assert kb.judged(KIND, "docs")["SpecHonored"] == ("False", "ChildPaused")
    assert kb.judged(KIND, "docs")["Ready"][0] == "True"


async def test_an_endpoint_elsewhere_that_is_not_allowed_is_named_here_too() -> None:
    cluster = FakeCluster(namespaces=("team", "sales"))
    cluster.put(FIXED)
    elsewhere = worlds.changed(worlds.ENDPOINT, knowledgeBaseRefs=["team/docs"])
    cluster.put({**elsewhere, "metadata": {**elsewhere["metadata"], "namespace": "sales"}})
    kb = Operator(cluster)
    await kb.settle()
    assert kb.judged(KIND, "docs")["EndpointsAllowed"] == ("False", "NamespaceNotAllowed")
    assert "sales/ask" in kb.condition(KIND, "docs", "EndpointsAllowed")["message"]


async def test_a_dedicated_tenant_has_shards_of_its_own_and_is_told() -> None:
    dedicated = worlds.changed(FIXED, partitioning__tenants=[{"name": "acme", "dedicated": True}])
    kb = await ready(dedicated)
    assert kb.status(KIND, "docs")["partitions"] == [
        {"name": "acme/public", "shardKey": "acme/public", "placement": "Dedicated"}
    ]
    made = {key for step in store(kb).steps if isinstance(step, CreateShardKeys) for key in step.keys}
    assert {each.key for each in made} == {FALLBACK_SHARD_KEY, "acme/public"}


async def test_nothing_is_held_that_has_nothing_to_delete_outside() -> None:
    kb = await ready()
    assert "finalizers" not in kb.cluster.objects[KIND, "team", "docs"]["metadata"]


async def test_deleted_with_its_collections_and_topics_in_that_order() -> None:
    kb = await ready(GONE)
    kb.cluster.ask_to_delete(KIND, "docs")
    await kb.look()
    assert names(kb.cluster, "Deployment") == ["docs-embedder"]
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "Deleting")
    assert sorted(store(kb).collections) == [COLLECTION]
    for _ in range(5):
        await kb.look()
    assert (store(kb).collections, store(kb).aliases, broker(kb).topics) == ({}, {}, {})
    assert kb.cluster.objects == {}


async def test_a_store_that_is_away_holds_the_object_and_says_how_to_free_it() -> None:
    kb = await ready(GONE)
    store(kb).silent = True
    kb.cluster.ask_to_delete(KIND, "docs")
    for _ in range(4):
        await kb.look()
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "DeletionBlocked")
    assert kb.judged(KIND, "docs")["Stalled"][0] == "False"
    kb.clock.now += timedelta(minutes=11)
    await kb.look()
    assert kb.judged(KIND, "docs")["Stalled"] == ("True", "DeletionBlocked")
    assert kb.condition(KIND, "docs", "Stalled")["message"].endswith("lectern finalize kb docs -n team")
    store(kb).silent = False
    for _ in range(4):
        await kb.look()
    assert kb.cluster.objects == {}


async def test_retained_state_stays_and_a_new_resource_of_that_name_takes_it_up() -> None:
    kb = await ready()
    kb.cluster.ask_to_delete(KIND, "docs")
    await kb.look()
    assert sorted(store(kb).collections) == [COLLECTION]
    assert sorted(broker(kb).topics) == sorted(TOPICS)
    kb.cluster.put({**FIXED, "metadata": {**FIXED["metadata"], "uid": "uid-again"}})
    await kb.settle()
    assert kb.judged(KIND, "docs")["CollectionReady"][0] == "True"


STRIMZI = worlds.changed(FIXED, messaging__topicManagement="Strimzi", messaging__strimziCluster="events")


async def test_topics_as_strimzis_objects_stay_when_the_resource_goes() -> None:
    kb = operator(STRIMZI)
    await kb.settle()
    assert names(kb.cluster, "KafkaTopic") == sorted(TOPICS)
    assert kb.judged(KIND, "docs")["TopicsReady"] == ("False", "Progressing")
    kb.cluster.ask_to_delete(KIND, "docs")
    before = len(kb.cluster.writes)
    for _ in range(4):
        await kb.look()
    assert ("apply", "KafkaTopic", TOPICS[0]) in kb.cluster.writes[before:]
    assert kb.cluster.objects == {}


async def test_topics_that_are_strimzis_no_more_are_cut_loose_before_their_objects_go() -> None:
    kb = operator(STRIMZI)
    await kb.settle()
    kb.cluster.put(FIXED)
    await kb.look()
    objects = [body for (kind, _, _), body in kb.cluster.objects.items() if kind == "KafkaTopic"]
    assert {each["metadata"]["annotations"]["strimzi.io/managed"] for each in objects} == {"false"}
    await kb.look()
    assert names(kb.cluster, "KafkaTopic") == []


@pytest.mark.parametrize("unserved", ["kafka.strimzi.io/v1"])
async def test_strimzi_that_is_missing_is_named_with_the_next_step(unserved: str) -> None:
    kb = operator(STRIMZI)
    kb.cluster.unserved = {unserved}
    await kb.settle()
    assert kb.judged(KIND, "docs")["TopicsReady"] == ("False", "StrimziNotInstalled")
    assert "topicManagement to Admin" in kb.condition(KIND, "docs", "TopicsReady")["message"]
