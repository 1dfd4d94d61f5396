"""The fake cluster does what the operator relies on, and refuses states that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lectern_operator_tests import worlds
from lectern_operator_tests.cluster_contract import ClusterContract, Other
from lectern_operator_tests.fake_cluster import FakeCluster, Impossible


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(keda=False)


@pytest.fixture
def owner(cluster: FakeCluster) -> dict[str, Any]:
    return cluster.put(worlds.KNOWLEDGE_BASE)


@pytest.fixture
def other(cluster: FakeCluster) -> Other:
    def merge(kind: str, name: str, patch: Mapping[str, Any]) -> None:
        cluster.edit(kind, name, patch)

    return merge


class TestFakeCluster(ClusterContract):
    pass


async def test_a_deployment_cannot_have_more_pods_than_it_wants(cluster: FakeCluster) -> None:
    cluster.put(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "d", "namespace": "team"},
            "spec": {"replicas": 1, "template": {"metadata": {"labels": {}}, "spec": {"containers": []}}},
        }
    )
    with pytest.raises(Impossible):
        cluster.roll_out("d", available=2)


async def test_what_an_object_owns_goes_with_it(cluster: FakeCluster, owner: dict[str, Any]) -> None:
    reference = {"ownerReferences": [{"uid": owner["metadata"]["uid"]}]}
    cluster.put({"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "team", **reference}})
    cluster.remove("KnowledgeBase", "docs")
    assert cluster.objects == {}
