"""What a person sees of transitions in `kubectl describe`."""

from __future__ import annotations

import pytest

from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import RunningOperator, conditions, eventually
from lectern_operator_tests import worlds

pytestmark = pytest.mark.usefixtures("operator")


def notes(objects: Objects, name: str) -> list[str]:
    path = f"/apis/events.k8s.io/v1/namespaces/{objects.namespace}/events"
    items = objects.plane.request("GET", path)["items"]
    return [f"{each['type']} {each['reason']}: {each['note']}" for each in items if each["regarding"]["name"] == name]


def test_a_transition_is_one_event_that_describe_shows(objects: Objects, operator: RunningOperator) -> None:
    objects.create(worlds.changed(worlds.SOURCE, suspend=True))  # its knowledge base does not exist
    eventually(lambda: conditions(objects.get("IngestionSource", "guides")), 10)
    objects.create(worlds.KNOWLEDGE_BASE)
    eventually(lambda: any("KnowledgeBaseFound is True" in each for each in notes(objects, "guides")), 10)
    described = objects.plane.kubectl("describe", "-n", objects.namespace, "isrc", "guides").stdout
    assert "KnowledgeBaseExists" in described
    before = notes(objects, "guides")
    objects.merge("IngestionSource", "guides", {"metadata": {"labels": {"touched": "yes"}}})
    passes = operator.passes()
    eventually(lambda: operator.passes() > passes, 10)
    assert notes(objects, "guides") == before
