"""A knowledge base of as many partitions as a collection takes, and of more, on the real API server and the store."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from qdrant_client import QdrantClient

from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import RunningOperator, conditions, eventually, quiet
from lectern_contract import names
from lectern_contract.collection import FALLBACK_SHARD_KEY, MAX_SHARD_KEYS
from lectern_operator.policies.partitions import MAX_TOLD
from lectern_operator_tests import worlds

pytestmark = pytest.mark.usefixtures("claims", "fake_node")
SOON = 10.0
"""Within what a reason has to be told."""
READY_SECONDS = 240.0
STATUS_BYTES = 256 * 1024
KIND = "KnowledgeBase"
LEVEL = "l" * 63
FIXED = worlds.changed(
    worlds.KNOWLEDGE_BASE,
    workers__minReplicas=1,
    workers__maxReplicas=1,
    deletionPolicy="Delete",
    partitioning={
        "accessLevels": [LEVEL],
        "tenants": [{"name": f"{number:04d}{'t' * 59}", "dedicated": True} for number in range(MAX_SHARD_KEYS)],
    },
)
"""Tenants and levels at the limit of their length too."""


def judged(objects: Objects, kind: str = KIND, name: str = "docs") -> tuple[str, str]:
    """Return status and reason of Ready."""
    return conditions(objects.get(kind, name)).get("Ready", ("", ""))


def keys(objects: Objects) -> set[str]:
    """Return the shard keys that the store has for the knowledge base."""
    assert objects.outside is not None
    client = QdrantClient(url=objects.outside.store_url, timeout=30, check_compatibility=False)
    try:
        cluster = client.collection_cluster_info(names.collection(objects.namespace, "docs", 1))
    finally:
        client.close()
    return {str(shard.shard_key) for shard in cluster.local_shards}


def bounded(status: dict[str, Any]) -> int:
    """Return the bytes of a status, as the API server keeps it."""
    return len(json.dumps(status, separators=(",", ":")).encode())


def test_a_thousand_partitions_are_made_told_within_bounds_and_left_in_peace(
    objects: Objects, operator: RunningOperator
) -> None:
    began = time.monotonic()
    objects.create(FIXED)
    objects.create(worlds.changed(worlds.ENDPOINT, auth__anonymous={"tenant": "0007", "accessLevels": [LEVEL]}))
    eventually(
        lambda: judged(objects)[0] == judged(objects, "RagEndpoint", "ask")[0] == "True",
        READY_SECONDS,
        lambda: conditions(objects.get(KIND, "docs")),
    )
    seconds = time.monotonic() - began
    status = objects.get(KIND, "docs")["status"]
    print(f"1,000 partitions: Ready after {seconds:.1f} s, a status of {bounded(status):,} bytes")
    assert keys(objects) == {f"{each['name']}/{LEVEL}" for each in _tenants()} | {FALLBACK_SHARD_KEY}
    assert bounded(status) <= STATUS_BYTES
    assert (len(status["partitions"]), status["partitionCount"]) == (MAX_TOLD, MAX_SHARD_KEYS)
    quiet(operator)
    before, writes, passes = objects.versions(), operator.writes(), operator.passes()
    objects.merge(KIND, "docs", {"metadata": {"annotations": {"look": "again"}}})
    eventually(lambda: operator.passes() > passes, SOON)
    quiet(operator)
    again = {name for name, version in objects.versions().items() if before.get(name) != version}
    assert (again, operator.writes()) == ({f"{KIND}/docs"}, writes), "a look writes although nothing was changed"
    _more_than_a_collection_takes(objects)


def _more_than_a_collection_takes(objects: Objects) -> None:
    """Ask for twice as many keys: told soon, nothing is touched, and taken back it is Ready again."""
    there, running = keys(objects), _workloads(objects)
    partitioning = FIXED["spec"]["partitioning"]
    objects.merge(KIND, "docs", {"spec": {"partitioning": {"accessLevels": [LEVEL, "more"]}}})
    eventually(lambda: judged(objects) == ("False", "InvalidSpec"), SOON, lambda: objects.get(KIND, "docs")["status"])
    (said,) = [each for each in objects.get(KIND, "docs")["status"]["conditions"] if each["type"] == "Ready"]
    assert "spec.partitioning asks for 2000 shard keys, a collection takes 1000" in said["message"]
    assert "dedicate fewer tenants, or set shardBy to Tenant" in said["message"]
    assert conditions(objects.get(KIND, "docs"))["Stalled"] == ("True", "InvalidSpec")
    assert (keys(objects), _workloads(objects)) == (there, running), "what runs was touched"
    objects.merge(KIND, "docs", {"spec": {"partitioning": partitioning}})
    eventually(lambda: judged(objects)[0] == "True", SOON, lambda: objects.get(KIND, "docs")["status"])


def _workloads(objects: Objects) -> dict[str, tuple[str, int]]:
    """Return UID and generation of the Deployments of the knowledge base."""
    found = [each["metadata"] for each in objects.list("Deployment") if each["metadata"]["name"].startswith("docs-")]
    return {each["name"]: (each["uid"], each["generation"]) for each in found}


def _tenants() -> list[dict[str, Any]]:
    tenants: list[dict[str, Any]] = FIXED["spec"]["partitioning"]["tenants"]
    return tenants
