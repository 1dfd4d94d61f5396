"""The cached cluster: reads from memory, writes through, and passes the contract of the cluster behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lectern_operator.clients.errors import NotFound, NotServed, Refused
from lectern_operator.facts import Known, Unknown
from lectern_operator.handlers.cache import ChildCache
from lectern_operator.handlers.cached_cluster import CachedCluster
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import WorkQueue
from lectern_operator.handlers.served import Served
from lectern_operator.handlers.watching import WATCHED, View
from lectern_operator_tests import worlds
from lectern_operator_tests.cluster_contract import ClusterContract, Other, config_map
from lectern_operator_tests.fake_cluster import FakeCluster


class Silent(FakeCluster):
    """A cluster that must not be asked for lists."""

    async def owners(self, kind: str, namespace: str | None) -> tuple[dict[str, Any], ...]:
        raise AssertionError(f"{kind} was listed")


@pytest.fixture
def live() -> FakeCluster:
    return Silent(keda=False)


@pytest.fixture
def view() -> View:
    view = View(Inventory(), ChildCache(), WorkQueue())
    for kind in WATCHED:
        view.children.listed(kind)
    return view


@pytest.fixture
async def cluster(live: FakeCluster, view: View) -> CachedCluster:
    served = Served()
    served.take(await live.served_kinds())
    return CachedCluster(live, view, served)


@pytest.fixture
def owner(live: FakeCluster, view: View) -> dict[str, Any]:
    body = live.put(worlds.KNOWLEDGE_BASE)
    view.inventory.seen(body)
    return body


@pytest.fixture
def other(live: FakeCluster) -> Other:
    def merge(kind: str, name: str, patch: Mapping[str, Any]) -> None:
        live.edit(kind, name, patch)

    return merge


class TestCachedCluster(ClusterContract):
    pass


async def test_a_kind_that_is_not_listed_yet_is_asked_for(view: View) -> None:
    live = FakeCluster()
    made = await live.apply(config_map(live.put(worlds.KNOWLEDGE_BASE), a="1"))
    served = Served()
    assert isinstance(served("ConfigMap"), Unknown)
    served.take(await live.served_kinds())
    cluster = CachedCluster(live, View(Inventory(), ChildCache(), WorkQueue()), served)
    assert await cluster.children("ConfigMap", "team", "uid-kb") == (made,)


async def test_a_kind_that_may_not_be_listed_says_so(cluster: CachedCluster, view: View) -> None:
    view.children.refused("Deployment", "cannot list deployments")
    with pytest.raises(Refused, match="cannot list deployments"):
        await cluster.children("Deployment", "team", "uid-kb")


async def test_what_is_served_is_as_the_last_look_at_discovery_said(cluster: CachedCluster, live: FakeCluster) -> None:
    live.keda = True
    assert await cluster.served("ScaledObject") == Known(value=False)
    with pytest.raises(NotServed):
        await cluster.children("ScaledObject", "team", "uid-kb")


@pytest.mark.usefixtures("owner")
async def test_a_knowledge_base_is_read_from_memory_and_a_live_look_is_taken_in(
    cluster: CachedCluster, live: FakeCluster, view: View
) -> None:
    live.edit("KnowledgeBase", "docs", {"spec": {"suspend": True}})
    assert "suspend" not in (await cluster.owner("KnowledgeBase", "team", "docs"))["spec"]
    assert live.gets == []
    assert (await cluster.get("KnowledgeBase", "team", "docs"))["spec"]["suspend"] is True
    assert (await cluster.owner("KnowledgeBase", "team", "docs"))["spec"]["suspend"] is True
    assert len(view.queue) == 1, "a change that no watch has told of is looked at"


async def test_a_knowledge_base_that_no_watch_has_told_of_is_asked_for(
    cluster: CachedCluster, live: FakeCluster
) -> None:
    live.put(worlds.KNOWLEDGE_BASE)
    assert (await cluster.owner("KnowledgeBase", "team", "docs"))["metadata"]["uid"] == "uid-kb"


@pytest.mark.usefixtures("owner")
async def test_a_resource_that_turns_out_to_be_gone_is_forgotten(
    cluster: CachedCluster, live: FakeCluster, view: View
) -> None:
    view.queue.add("uid-kb")
    live.remove("KnowledgeBase", "docs")
    with pytest.raises(NotFound):
        await cluster.get("KnowledgeBase", "team", "docs")
    assert (len(view.inventory), len(view.queue)) == (0, 0)


async def test_writes_are_known_before_their_events_and_what_is_lost_is_not(
    cluster: CachedCluster, owner: dict[str, Any], view: View
) -> None:
    made = await cluster.apply_new(config_map(owner, a="1"))
    assert await cluster.children("ConfigMap", "team", "uid-kb") == (made,)
    view.child("ADDED", "ConfigMap", made)
    assert len(view.queue) == 0, "the echo of our own write wakes nobody"
    await cluster.lost(made)
    assert await cluster.children("ConfigMap", "team", "uid-kb") == ()


async def test_who_names_a_knowledge_base_is_read_from_memory(cluster: CachedCluster, view: View) -> None:
    for number, document in enumerate((worlds.SOURCE, worlds.ENDPOINT)):
        view.inventory.seen({**document, "metadata": {**document["metadata"], "resourceVersion": str(number + 1)}})
    assert [each["kind"] for each in await cluster.naming("team", "docs")] == ["IngestionSource", "RagEndpoint"]
