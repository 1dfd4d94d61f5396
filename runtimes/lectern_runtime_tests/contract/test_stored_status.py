"""Objects of the API server whose status another release wrote: read without an error, and without losing the rest."""

from __future__ import annotations

from typing import Any

import pytest

from lectern_contract import resources
from lectern_contract.errors import ResourceInvalid
from lectern_contract.resources.status import Condition, KnowledgeBaseStatus, readable
from lectern_runtime_tests.contract.wrong_documents import BASES, document

CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "AllComponentsReady",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
    "observedGeneration": 3,
}
KEPT: dict[str, Any] = {"activeGeneration": 7, "partitionCount": 2, "observedGeneration": 3}


def without(given: dict[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != field}


@pytest.mark.parametrize(
    "other",
    [
        {"conditions": [CONDITION, without(CONDITION, "observedGeneration")]},
        {"conditions": [{**CONDITION, "status": "Maybe"}]},
        {"components": [{"name": "docs-worker", "ready": "yes, two of two"}]},
        {"components": "two", "partitions": 4, "endpoints": [{"address": "http://docs"}]},
        {"phase": "Ready", "servers": {"embedder": "Running"}},
        {"documents": None, "conditions": None},
    ],
)
def test_what_cannot_be_read_counts_as_not_said_and_the_rest_stays(other: dict[str, Any]) -> None:
    found = readable(KnowledgeBaseStatus, {**KEPT, **other})
    assert found == KnowledgeBaseStatus(active_generation=7, partition_count=2, observed_generation=3)


def test_what_can_be_read_is_read_whole() -> None:
    found = readable(KnowledgeBaseStatus, {**KEPT, "conditions": [{**CONDITION, "severity": "Low"}]})
    assert found.conditions == (Condition.model_validate(CONDITION),)


@pytest.mark.parametrize("kind", BASES)
def test_an_object_of_each_kind_is_read_with_a_status_of_another_release(kind: str) -> None:
    plain = document(kind, {})
    stored = resources.parse_stored({**plain, "status": {"conditions": [{"type": "Ready"}], "observedGeneration": 4}})
    assert stored.status.observed_generation == 4
    assert stored.status.conditions == ()
    assert stored.spec == resources.parse(plain).spec


@pytest.mark.parametrize("status", [{}, None])
def test_an_object_without_a_status_is_as_a_new_one(status: dict[str, Any] | None) -> None:
    plain = document("KnowledgeBase", {})
    assert resources.parse_stored({**plain, "status": status}) == resources.parse(plain)


def test_a_fault_of_the_spec_is_refused_as_ever() -> None:
    wrong = document("KnowledgeBase", {"spec.unknown": 1})
    with pytest.raises(ResourceInvalid, match=r"spec\.unknown: unknown field"):
        resources.parse_stored({**wrong, "status": {"conditions": 1}})
