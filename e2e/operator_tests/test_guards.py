"""What the operator leaves alone and what it takes back, on the real API server."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import RunningOperator, conditions, eventually
from lectern_contract import labels, names
from lectern_operator_tests import worlds

pytestmark = pytest.mark.usefixtures("claims", "operator", "fake_node")
SECONDS = 20.0
FIXED = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=1, workers__maxReplicas=1)


def made(objects: Objects) -> dict[str, Any]:
    """Create a knowledge base and an endpoint, and return the endpoint's Service."""
    objects.create(FIXED)
    objects.create(worlds.ENDPOINT)
    eventually(lambda: "ask-query" in _names(objects, "Service"), SECONDS)
    eventually(lambda: "QueryReady" in conditions(objects.get("RagEndpoint", "ask")), SECONDS)
    return objects.get("Service", "ask-query")


def _names(objects: Objects, kind: str) -> list[str]:
    return [each["metadata"]["name"] for each in objects.list(kind)]


def _selector(objects: Objects) -> dict[str, str]:
    selector: dict[str, str] = objects.get("Service", "ask-query")["spec"]["selector"]
    return selector


def test_a_child_that_lost_label_and_owner_is_taken_back_as_the_same_object(objects: Objects) -> None:
    before = made(objects)
    objects.merge("Service", "ask-query", {"metadata": {"ownerReferences": None}})

    def owned() -> bool:
        return bool(objects.get("Service", "ask-query")["metadata"].get("ownerReferences"))

    eventually(owned, SECONDS)
    objects.merge("Service", "ask-query", {"metadata": {"labels": {labels.OWNER_UID: None}}})
    eventually(lambda: labels.OWNER_UID in objects.get("Service", "ask-query")["metadata"]["labels"], SECONDS)
    assert objects.get("Service", "ask-query")["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_paused_child_is_left_alone_until_the_pause_ends(objects: Objects, operator: RunningOperator) -> None:
    made(objects)
    paused = {"metadata": {"annotations": {names.PAUSED: "true"}}, "spec": {"selector": {"theirs": "1"}}}
    objects.merge("Service", "ask-query", paused)
    passes = operator.passes()
    objects.merge("RagEndpoint", "ask", {"metadata": {"annotations": {"look": "again"}}})
    eventually(lambda: operator.passes() > passes + 1, SECONDS)
    assert _selector(objects)["theirs"] == "1"
    objects.merge("Service", "ask-query", {"metadata": {"annotations": {names.PAUSED: None}}})
    eventually(lambda: "theirs" not in _selector(objects), SECONDS)


def test_an_object_with_our_labels_that_we_did_not_make_stays_as_it_is(objects: Objects) -> None:
    service = made(objects)
    copied = {"name": "copy", "labels": service["metadata"]["labels"]}
    body = {"metadata": copied, "data": {"theirs": "1"}}
    path = f"/api/v1/namespaces/{objects.namespace}/configmaps"
    objects.plane.request("POST", path, body)
    objects.merge("RagEndpoint", "ask", {"spec": {"retrieval": {"topK": 7}}})
    eventually(lambda: objects.get("RagEndpoint", "ask")["status"]["observedGeneration"] == 2, SECONDS)
    eventually(
        lambda: len([name for name in _names(objects, "ConfigMap") if name.startswith("ask-query")]) == 1, SECONDS
    )
    assert objects.get("ConfigMap", "copy")["data"] == {"theirs": "1"}
