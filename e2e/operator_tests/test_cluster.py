"""The client passes the contract that the fake cluster of the transition tests passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from e2e.operator_tests.objects import Objects
from e2e.testbed.control_plane import ControlPlane
from lectern_contract.errors import DependencyError
from lectern_operator.clients import kube
from lectern_operator.clients.errors import Refused
from lectern_operator.handlers import startup
from lectern_operator.handlers.cache import ChildCache
from lectern_operator.handlers.cached_cluster import CachedCluster
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import WorkQueue
from lectern_operator.handlers.served import Served
from lectern_operator.handlers.watching import View
from lectern_operator_tests import worlds
from lectern_operator_tests.cluster_contract import ClusterContract, Other, config_map


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


class TestCachedCluster(ClusterContract):
    @pytest.fixture
    async def cluster(self, cluster: kube.Kube, owner: dict[str, Any], namespace: str) -> CachedCluster:
        view, served = View(Inventory(), ChildCache(), WorkQueue()), Served()
        await startup.first_look(cluster, view, served, [namespace])
        assert view.inventory.uids() == (owner["metadata"]["uid"],)
        return CachedCluster(cluster, view, served)


async def test_lists_and_watches_tell_of_what_may_be_ours(
    cluster: kube.Kube, owner: dict[str, Any], namespace: str
) -> None:
    made = await cluster.apply(config_map(owner, "first", a="1"))
    pages = [page async for page in cluster.pages("ConfigMap", namespace)]
    heads = [page async for page in cluster.pages("ConfigMap", namespace, heads=True)]
    assert [each["metadata"]["name"] for page in pages for each in page.items] == ["first"], "kube-root-ca.crt is not"
    (head,) = [each for page in heads for each in page.items]
    assert head["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert "data" not in head

    async def told() -> tuple[str, dict[str, Any]]:
        async for event_type, body in cluster.watch("ConfigMap", namespace, pages[-1].version):
            if event_type != "BOOKMARK":
                return event_type, body
        raise AssertionError("the watch ended")

    telling = asyncio.create_task(told())
    after = await cluster.apply(config_map(owner, "second", a="2"))
    async with asyncio.timeout(5):
        event_type, body = await telling
    assert (event_type, body["kind"], body["metadata"]["uid"]) == ("ADDED", "ConfigMap", after["metadata"]["uid"])


async def test_a_list_of_nothing_has_a_version(cluster: kube.Kube, namespace: str) -> None:
    for heads in (False, True):
        (page,) = [page async for page in cluster.pages("Job", namespace, heads=heads)]
        assert page.items == ()
        assert int(page.version) > 0


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
