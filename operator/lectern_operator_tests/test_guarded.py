"""A pass writes nothing from a spec that is not the newest, and looks for that only when it writes."""

from __future__ import annotations

from typing import Any

import pytest

from lectern_operator.clients.errors import NotFound, Outdated
from lectern_operator.reconcilers import guarded
from lectern_operator.reconcilers.world import World
from lectern_operator_tests import passes, worlds
from lectern_operator_tests.cluster_contract import config_map
from lectern_operator_tests.fake_cluster import FakeCluster


def begun() -> tuple[FakeCluster, World, dict[str, Any]]:
    """Return a cluster, and a pass that has just begun."""
    cluster = FakeCluster()
    body = cluster.put(worlds.KNOWLEDGE_BASE)
    return cluster, guarded.within(passes.world(cluster), body), body


async def test_the_owner_is_looked_at_once_before_the_first_write() -> None:
    cluster, world, body = begun()
    await world.cluster.children("ConfigMap", "team", "uid-kb")
    assert cluster.gets == []
    made = await world.cluster.apply_new(config_map(body, a="1"))
    await world.cluster.apply(config_map(body, a="2"))
    await world.cluster.delete(made)
    assert cluster.gets == [("KnowledgeBase", "docs")]
    assert cluster.writes == [("apply", "ConfigMap", "notes")] * 2 + [("delete", "ConfigMap", "notes")]


@pytest.mark.parametrize(
    "change", [{"spec": {"suspend": True}}, {"metadata": {"uid": "new"}}, {"metadata": {"deletionTimestamp": "now"}}]
)
async def test_nothing_is_written_from_what_an_owner_said_before(change: dict[str, Any]) -> None:
    cluster, world, body = begun()
    cluster.edit("KnowledgeBase", "docs", change)
    for write in (world.cluster.apply, world.cluster.apply_new, world.cluster.delete):
        with pytest.raises(Outdated, match="nothing is written"):
            await write({**config_map(body), "metadata": {**config_map(body)["metadata"], "uid": "c"}})
    with pytest.raises(Outdated):
        await guarded.confirm(world)
    assert cluster.writes == []


async def test_an_annotation_or_a_status_of_the_owner_stops_no_write() -> None:
    cluster, world, body = begun()
    cluster.edit("KnowledgeBase", "docs", {"metadata": {"annotations": {"a": "b"}}, "status": {}})
    await world.cluster.apply(config_map(body))
    assert cluster.writes == [("apply", "ConfigMap", "notes")]


async def test_an_owner_that_is_gone_gets_no_children() -> None:
    cluster, world, body = begun()
    cluster.remove("KnowledgeBase", "docs")
    with pytest.raises(NotFound):
        await world.cluster.apply(config_map(body))
    assert cluster.writes == []


async def test_nothing_is_written_from_what_another_resource_said_before() -> None:
    cluster = FakeCluster()
    cluster.put(worlds.KNOWLEDGE_BASE)
    body = cluster.put(worlds.ENDPOINT)
    world = guarded.within(passes.world(cluster), body)
    await world.cluster.owner("KnowledgeBase", "team", "docs")
    cluster.edit("KnowledgeBase", "docs", {"spec": {"suspend": True}})
    for _ in range(2):
        with pytest.raises(Outdated, match="KnowledgeBase docs was changed"):
            await world.cluster.apply(config_map(body))
    assert cluster.writes == []


async def test_all_that_was_read_is_looked_at_once_before_the_first_write() -> None:
    cluster = FakeCluster()
    cluster.put(worlds.KNOWLEDGE_BASE)
    body = cluster.put(worlds.ENDPOINT)
    world = guarded.within(passes.world(cluster), body)
    await world.cluster.owner("KnowledgeBase", "team", "docs")
    await world.cluster.apply(config_map(body, a="1"))
    await world.cluster.apply(config_map(body, a="2"))
    assert sorted(cluster.gets) == [("KnowledgeBase", "docs"), ("RagEndpoint", "ask")]
