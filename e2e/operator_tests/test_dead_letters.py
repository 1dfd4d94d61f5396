"""What a source says of its documents: the operator as a process, a real API server, Qdrant's engine in the double."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from e2e.operator_tests.objects import Objects, Outside
from e2e.operator_tests.running import RunningOperator, conditions, eventually, quiet
from e2e.operator_tests.test_events import notes
from e2e.operator_tests.test_vector_store import document
from e2e.testbed.fake_node import FakeNode
from lectern_contract import names
from lectern_contract.collection import FALLBACK_SHARD_KEY
from lectern_contract.payload import DocumentState, Field
from lectern_operator_tests import worlds

pytestmark = pytest.mark.usefixtures("claims", "operator")
SECONDS = 40.0
FIXED = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=1, workers__maxReplicas=1)


@pytest.fixture
def qdrant(outside: Outside) -> Iterator[QdrantClient]:
    """What a worker would write with."""
    client = QdrantClient(url=outside.store_url, timeout=30, check_compatibility=False)
    yield client
    client.close()


def told(objects: Objects) -> tuple[Any, Any]:
    """What the status says of documents and of dead letters."""
    status = objects.get("IngestionSource", "guides").get("status", {})
    letters = status.get("deadLetter")
    return status.get("documents"), letters and (letters["count"], letters["lastReason"], "since" in letters)


def test_documents_that_fail_are_told_by_their_source_within_a_look_and_are_one_event(
    objects: Objects, qdrant: QdrantClient, operator: RunningOperator, fake_node: FakeNode
) -> None:
    objects.create(FIXED)
    objects.create(worlds.changed(worlds.SOURCE, suspend=True))
    eventually(
        lambda: told(objects) == ({"indexed": 0, "failed": 0}, (0, "", False)), SECONDS, lambda: str(told(objects))
    )
    collection = names.collection(objects.namespace, "docs", 1)
    failed = document("acme", "public", failure="Encrypted: it asks for a password")
    points = [*document("acme", "public"), *document("acme", "public", source="other"), *failed]
    qdrant.upsert(collection, points, shard_key_selector=FALLBACK_SHARD_KEY, wait=True)
    eventually(
        lambda: told(objects) == ({"indexed": 1, "failed": 1}, (1, "Encrypted", True)),
        SECONDS,
        lambda: str(told(objects)),
    )
    found = conditions(objects.get("IngestionSource", "guides"))
    assert found["DocumentsIndexed"] == ("False", "DeadLettersOpen")
    warned = "Warning DeadLettersOpen: DocumentsIndexed is False"
    eventually(lambda: sum(each.startswith(warned) for each in notes(objects, "guides")) == 1, SECONDS)
    quiet(operator)
    qdrant.set_payload(
        collection,
        {Field.STATE: DocumentState.INDEXED.value, "reason": ""},
        points=models.PointIdsList(points=[failed[0].id]).points,
        shard_key_selector=FALLBACK_SHARD_KEY,
        wait=True,
    )
    eventually(
        lambda: told(objects) == ({"indexed": 2, "failed": 0}, (0, "", False)), SECONDS, lambda: str(told(objects))
    )
    mended = "Normal NoDeadLetters: DocumentsIndexed is True"
    eventually(lambda: sum(each.startswith(mended) for each in notes(objects, "guides")) == 1, SECONDS)
    assert sum(each.startswith(warned) for each in notes(objects, "guides")) == 1
