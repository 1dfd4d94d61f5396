"""Specs that the schema lets through and that cannot work: a reason with the next step soon, and what runs stays."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import RunningOperator, conditions, eventually, quiet
from lectern_contract import labels
from lectern_operator_tests import worlds

pytestmark = pytest.mark.usefixtures("claims", "operator")
SECONDS = 60.0
SOON = 10.0
"""Within what a reason has to be told."""
FIXED = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=1, workers__maxReplicas=1)
NOBODY = "http://127.0.0.1:9"
WRONG_URLS = ("http://127.0.0.1:99999", "http://[", "http://%zz", "http://nowhere.invalid", "http://a:b:c", "https://~")
WRONG_BROKERS = ("127.0.0.1:99999", "127.0.0.1:0", "nowhere.invalid:9092", "-.-:1")


def told(objects: Objects, kind: str, name: str, aspect: str) -> dict[str, str]:
    """Return a condition of a resource, empty while there is none."""
    found = objects.get(kind, name).get("status", {}).get("conditions", ())
    return next((each for each in found if each["type"] == aspect), {})


def has_reason(
    objects: Objects, aspect: str, reason: str, *said: str, kind: str = "KnowledgeBase", name: str = "docs"
) -> None:
    """Wait until a condition has the reason and its message these words."""

    def holds() -> bool:
        found = told(objects, kind, name, aspect)
        return found.get("reason") == reason and all(words in found["message"] for words in said)

    eventually(holds, SOON, lambda: told(objects, kind, name, aspect))


def given(objects: Objects, **spec: Any) -> None:
    """Create the knowledge base with store and broker of the tests, then these fields."""
    assert objects.outside is not None
    Objects(objects.plane, objects.namespace).create(worlds.changed(objects.outside.given_to(FIXED), **spec))


@pytest.mark.parametrize("url", WRONG_URLS)
def test_an_address_of_a_store_that_leads_nowhere_is_named_with_its_field(objects: Objects, url: str) -> None:
    given(objects, vectorStore__url=url)
    has_reason(objects, "CollectionReady", "VectorStoreUnreachable", url)


@pytest.mark.parametrize("url", WRONG_URLS)
def test_an_address_of_an_embedding_server_that_leads_nowhere_is_named(objects: Objects, url: str) -> None:
    given(objects, embedding__server={"external": {"url": url}})
    has_reason(objects, "EmbeddingReady", "EmbedderUnreachable", url)


@pytest.mark.parametrize("address", WRONG_BROKERS)
def test_an_address_of_a_broker_that_leads_nowhere_is_named(objects: Objects, address: str) -> None:
    given(objects, messaging__bootstrapServers=address)
    has_reason(objects, "TopicsReady", "BrokerUnreachable", address)


def test_more_copies_than_there_are_brokers_are_told_in_the_brokers_words(objects: Objects) -> None:
    given(objects, messaging__replicationFactor=3)
    has_reason(objects, "TopicsReady", "TopicNotReady", "spec.messaging.replicationFactor")


@pytest.mark.usefixtures("fake_node")
def test_more_copies_than_the_store_has_nodes_are_told(objects: Objects) -> None:
    given(objects, vectorStore__replicationFactor=2)
    eventually(lambda: told(objects, "KnowledgeBase", "docs", "EmbeddingReady").get("status") == "True", SECONDS)
    has_reason(objects, "CollectionReady", "CollectionChanged", "spec.vectorStore.replicationFactor")


REFUSED: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    (
        "KnowledgeBase",
        {"workers": {"resources": {"requests": {"cpu": "3"}, "limits": {"cpu": "2"}}}},
        "docs-worker",
        "must be less than or equal to cpu limit",
    ),
    (
        "KnowledgeBase",
        {"workers": {"resources": {"requests": {"Häuser": "1"}}}},
        "docs-worker",
        "Häuser",
    ),
    (
        "KnowledgeBase",
        {"embedding": {"server": {"managed": {"nodeSelector": {"Straße": "家"}}}}},
        "docs-embedder",
        "Straße",
    ),
    (
        "KnowledgeBase",
        {"embedding": {"server": {"managed": {"tolerations": [{"key": "a b", "operator": "Exists"}]}}}},
        "docs-embedder",
        "a b",
    ),
    (
        "KnowledgeBase",
        {"embedding": {"server": {"managed": {"modelCache": {"size": "0"}}}}},
        "docs-embedder",
        "must be greater than zero",
    ),
    ("RagEndpoint", {"resources": {"limits": {"memory": "0.001m"}}}, "ask-query", "memory"),
)


@pytest.mark.usefixtures("fake_node")
def test_what_the_api_server_refuses_is_told_in_its_words_and_what_runs_stays(
    objects: Objects, operator: RunningOperator
) -> None:
    objects.create(FIXED)
    objects.create(worlds.ENDPOINT)
    for kind, name in (("KnowledgeBase", "docs"), ("RagEndpoint", "ask")):
        await_ready(objects, kind, name)
    for kind, spec, child, words in REFUSED:
        name = "docs" if kind == "KnowledgeBase" else "ask"
        quiet(operator)
        before, running = objects.get(kind, name)["spec"], generations(objects)
        objects.merge(kind, name, {"spec": spec})
        has_reason(objects, "Ready", "ApplyRefused", child, words, kind=kind, name=name)
        assert conditions(objects.get(kind, name))["Stalled"] == ("True", "ApplyRefused")
        assert generations(objects)[child] == running[child], f"{child} was changed by {spec}"
        replaced(objects, kind, name, before)
        await_ready(objects, kind, name)


@pytest.mark.usefixtures("fake_node")
def test_an_image_that_no_pod_can_have_is_told_and_the_pod_before_it_stays(objects: Objects) -> None:
    objects.create(FIXED)
    await_ready(objects, "KnowledgeBase", "docs")
    (before,) = objects.list("Pod", f"{labels.ROLE}=embedder")
    objects.merge("KnowledgeBase", "docs", {"spec": {"embedding": {"server": {"managed": {"image": " ours "}}}}})
    has_reason(objects, "Ready", "DeploymentFailed", "docs-embedder", "must not have leading or trailing whitespace")
    (after,) = objects.list("Pod", f"{labels.ROLE}=embedder")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "deletionTimestamp" not in after["metadata"]


def await_ready(objects: Objects, kind: str, name: str) -> None:
    """Wait until a resource is Ready, and says so of its newest spec."""

    def holds() -> bool:
        body = objects.get(kind, name)
        seen = body.get("status", {}).get("observedGeneration") == body["metadata"]["generation"]
        return seen and conditions(body).get("Ready", ("",))[0] == "True"

    def otherwise() -> object:
        pods = [(each["metadata"]["name"], each.get("status")) for each in objects.list("Pod")]
        return told(objects, kind, name, "Ready"), pods

    eventually(holds, SECONDS, otherwise)


def generations(objects: Objects) -> dict[str, tuple[str, int]]:
    """Return UID and generation of every Deployment."""
    found = [each["metadata"] for each in objects.list("Deployment")]
    return {each["name"]: (each["uid"], each["generation"]) for each in found}


def replaced(objects: Objects, kind: str, name: str, spec: dict[str, Any]) -> None:
    """Put a whole spec in the place of what there is."""
    objects.plane.request("PUT", objects.path(kind, name), {**objects.get(kind, name), "spec": spec})
