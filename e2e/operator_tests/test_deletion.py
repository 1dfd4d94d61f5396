"""A KnowledgeBase that is deleted with what it has outside, on the real API server, a real broker and the store."""

from __future__ import annotations

import json
import urllib.request

import pytest

from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import RunningOperator, conditions, eventually, quiet
from lectern_contract import names
from lectern_operator_tests import worlds

pytestmark = pytest.mark.usefixtures("claims", "fake_node")
SECONDS = 30.0
GONE = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=1, workers__maxReplicas=1, deletionPolicy="Delete")


def collections(objects: Objects) -> list[str]:
    """Return the collections of the test's namespace."""
    assert objects.outside is not None
    with urllib.request.urlopen(f"{objects.outside.store_url}/collections", timeout=5) as answer:
        found = json.loads(answer.read())["result"]["collections"]
    return [each["name"] for each in found if each["name"].startswith(f"{objects.namespace}.")]


def exists(objects: Objects) -> bool:
    return any(each["metadata"]["name"] == "docs" for each in objects.list("KnowledgeBase"))


def test_it_is_held_comes_to_rest_and_takes_its_collections_along(objects: Objects, operator: RunningOperator) -> None:
    objects.create(GONE)
    eventually(
        lambda: conditions(objects.get("KnowledgeBase", "docs")).get("Ready", ("",))[0] == "True",
        SECONDS,
        lambda: conditions(objects.get("KnowledgeBase", "docs")),
    )
    assert objects.get("KnowledgeBase", "docs")["metadata"]["finalizers"] == [names.FINALIZER]
    assert collections(objects) == [names.collection(objects.namespace, "docs", 1)]
    quiet(operator, 2)
    before = objects.versions()
    quiet(operator, 2)
    assert objects.versions() == before, "it is written again and again"
    objects.delete("KnowledgeBase", "docs")
    eventually(lambda: not exists(objects), SECONDS, lambda: objects.get("KnowledgeBase", "docs").get("status"))
    assert collections(objects) == []
