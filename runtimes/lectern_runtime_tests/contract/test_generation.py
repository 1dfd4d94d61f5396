"""The index identity: it moves with everything that changes vectors or chunks, and with nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from lectern_contract.generation import index_identity
from lectern_runtime_tests.contract.test_settings import knowledge_base

EMBEDDING = {"model": "m", "dimensions": 8}
BASE = index_identity(knowledge_base().spec)


@pytest.mark.parametrize(
    "spec",
    [
        {"embedding": {**EMBEDDING, "model": "other"}},
        {"embedding": {**EMBEDDING, "revision": "abc"}},
        {"embedding": {**EMBEDDING, "dimensions": 9}},
        {"embedding": {**EMBEDDING, "documentPrefix": "passage: "}},
        {"embedding": {**EMBEDDING, "queryPrefix": "query: "}},
        {"embedding": {**EMBEDDING, "maxInputTokens": 300}},
        {"sparse": {"enabled": False}},
        {"sparse": {"language": "de"}},
        {"chunking": {"strategy": "Fixed"}},
        {"chunking": {"size": 100}},
        {"chunking": {"overlap": 0}},
        {"partitioning": {"shardBy": "Tenant"}},
    ],
)
def test_what_changes_vectors_changes_the_identity(spec: dict[str, Any]) -> None:
    assert index_identity(knowledge_base(**spec).spec) != BASE


@pytest.mark.parametrize(
    "spec",
    [
        {"workers": {"maxReplicas": 6}},
        {"parsing": {"timeoutSeconds": 5}},
        {"partitioning": {"accessLevels": ["public", "internal"]}},
        {"generations": {"retain": 3}},
        {"suspend": True},
        {"embedding": {**EMBEDDING, "server": {"external": {"url": "http://tei"}}}},
    ],
)
def test_what_does_not_change_vectors_keeps_the_identity(spec: dict[str, Any]) -> None:
    assert index_identity(knowledge_base(**spec).spec) == BASE
