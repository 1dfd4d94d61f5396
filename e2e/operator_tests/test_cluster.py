"""The client passes the contract that the fake cluster of the transition tests passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from e2e.operator_tests.objects import Objects
from e2e.testbed.control_plane import ControlPlane
from lectern_contract.errors import DependencyError
from lectern_operator.clients import kube
from lectern_operator.clients.errors import Refused
from lectern_operator_tests import worlds
from lectern_operator_tests.cluster_contract import ClusterContract, Other


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[kube.Kube]:
    async with kube.connect(await kube.load(control_plane.kubeconfig)) as client:
        yield client


@pytest.fixture
def owner(objects: Objects) -> dict[str, Any]:
    created = objects.create(worlds.KNOWLEDGE_BASE)
    return {key: value for key, value in created.items() if key != "status"}


@pytest.fixture
def other(objects: Objects) -> Other:
    def merge(kind: str, name: str, patch: Mapping[str, Any]) -> None:
        objects.merge(kind, name, dict(patch))

    return merge


class TestKube(ClusterContract):
    pass


async def test_lists_are_read_page_by_page(
    cluster: kube.Kube, objects: Objects, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube, "PAGE", 2)
    for number in range(5):
        document = {**worlds.KNOWLEDGE_BASE, "metadata": {"name": f"kb-{number}"}}
        objects.create(document)
    found = await cluster.owners("KnowledgeBase", namespace)
    assert [each["metadata"]["name"] for each in found] == [f"kb-{number}" for number in range(5)]


async def test_without_rights_the_answer_says_which(control_plane: ControlPlane, namespace: str) -> None:
    nobody = control_plane.service_account(namespace, "default")
    async with kube.connect(await kube.load(nobody)) as client:
        with pytest.raises(Refused, match='cannot list resource "configmaps"'):
            await client.children("ConfigMap", namespace, "uid")


async def test_a_server_that_does_not_answer_is_a_dependency_that_failed(control_plane: ControlPlane) -> None:
    configuration = await kube.load(control_plane.kubeconfig)
    configuration.host = "https://127.0.0.1:1"
    async with kube.connect(configuration) as client:
        with pytest.raises(DependencyError, match="gave no answer"):
            await client.get("ConfigMap", "default", "x")
