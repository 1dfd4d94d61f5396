"""Resync and watchdog: what no event tells is found out, and a silent watch ends the process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lectern_contract.errors import DependencyError
from lectern_operator.handlers import resync
from lectern_operator.handlers.cache import ChildCache
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import WorkQueue
from lectern_operator.handlers.resync import WatchSilent
from lectern_operator.handlers.watching import WATCHED, View
from lectern_operator_tests import worlds
from lectern_operator_tests.cluster_contract import config_map
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.fake_reads import FakeReads


def empty() -> tuple[View, FakeCluster]:
    """Return a view that knows nothing, with all children listed, of a cluster without anything."""
    view = View(Inventory(), ChildCache(), WorkQueue())
    for kind in WATCHED:
        view.children.listed(kind)
    return view, FakeCluster()


async def watch(view: View, reads: FakeReads, *, seconds: float) -> None:
    """Run the watchdog at a fast pace for a short time."""
    async with asyncio.timeout(seconds):
        await resync.watchdog(view, reads, [None], every_seconds=0.005, patience_seconds=0.05)


async def test_a_missed_event_is_mended() -> None:
    view, cluster = empty()
    view.inventory.seen(cluster.put({**worlds.SOURCE, "metadata": {**worlds.SOURCE["metadata"], "uid": "lost"}}))
    cluster.objects.clear()
    cluster.put(worlds.KNOWLEDGE_BASE)
    with pytest.raises(TimeoutError):
        await watch(view, FakeReads(cluster), seconds=0.2)
    assert view.inventory.uids() == ("uid-kb",)
    assert len(view.queue) == 1


async def test_a_child_that_no_event_told_of_wakes_its_owner() -> None:
    view, cluster = empty()
    kb = cluster.put(worlds.KNOWLEDGE_BASE)
    view.inventory.seen(kb)
    stale = await cluster.apply(config_map(kb, "gone", a="1"))
    view.children.seen("ConfigMap", stale)
    cluster.remove("ConfigMap", "gone")
    await cluster.apply(config_map(kb, "new", a="1"))
    with pytest.raises(TimeoutError):
        await watch(view, FakeReads(cluster), seconds=0.3)
    assert [each["metadata"]["name"] for each in view.children.children("ConfigMap", "team", "uid-kb")] == ["new"]
    assert len(view.queue) == 1


async def test_what_is_made_while_the_watchdog_looks_is_not_forgotten() -> None:
    view, cluster = empty()
    cluster.put(worlds.KNOWLEDGE_BASE)
    looking = asyncio.create_task(watch(view, FakeReads(cluster), seconds=0.3))
    await asyncio.sleep(0.007)  # in the grace after the first list
    view.inventory.seen(cluster.put(worlds.SOURCE))
    with pytest.raises(TimeoutError):
        await looking
    assert set(view.inventory.uids()) == {"uid-kb", "uid-isrc"}


async def test_a_copied_label_is_no_missed_event() -> None:
    view, cluster = empty()
    kb = cluster.put(worlds.KNOWLEDGE_BASE)
    view.inventory.seen(kb)
    copy = config_map(kb, "copy")
    del copy["metadata"]["ownerReferences"]
    cluster.put(copy)
    reads = FakeReads(cluster)
    with pytest.raises(TimeoutError):
        await watch(view, reads, seconds=0.3)
    assert len(view.children) == len(view.queue) == 0


async def test_a_watch_that_tells_nothing_ends_the_process() -> None:
    view, cluster = empty()
    cluster.put(worlds.KNOWLEDGE_BASE)

    async def change() -> None:
        number = 0
        while True:
            number += 1
            cluster.edit("KnowledgeBase", "docs", {"metadata": {"annotations": {"n": str(number)}}})
            await asyncio.sleep(0.001)

    changing = asyncio.create_task(change())
    with pytest.raises(WatchSilent, match="KnowledgeBase/docs"):
        await watch(view, FakeReads(cluster), seconds=5)
    changing.cancel()


async def test_a_server_that_does_not_answer_is_no_silent_watch() -> None:
    view, cluster = empty()
    cluster.put(worlds.KNOWLEDGE_BASE)
    reads = FakeReads(cluster)
    down = DependencyError("down", dependency="kubernetes")
    reads.failing = {kind: [down] * 1000 for kind in ("KnowledgeBase", "IngestionSource", "RagEndpoint", *WATCHED)}
    with pytest.raises(TimeoutError):
        await watch(view, reads, seconds=0.2)


async def test_children_that_cannot_be_listed_are_not_compared() -> None:
    view, cluster = empty()
    reads = FakeReads(cluster)
    for kind in WATCHED:
        view.children.refused(kind, "no right")
    with pytest.raises(TimeoutError):
        await watch(view, reads, seconds=0.1)
    assert set(reads.lists) == {"KnowledgeBase", "IngestionSource", "RagEndpoint"}


async def test_everything_is_looked_at_again_from_time_to_time() -> None:
    view, cluster = empty()
    kb = cluster.put(worlds.KNOWLEDGE_BASE)
    view.inventory.seen(kb)
    view.inventory.seen(cluster.put(worlds.ENDPOINT))
    secret: dict[str, Any] = {**config_map(kb), "kind": "Secret"}
    view.children.seen("Secret", cluster.put(secret))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await resync.resync(view, every_seconds=0.02, chance=lambda: 0.5)
    assert len(view.queue) == 2
    assert view.children.children("Secret", "team", "uid-kb") == (), "what is not watched is read anew"


def test_everything_is_compared_twice_within_a_resync_period() -> None:
    assert [resync.look_seconds(each, most=70.0) for each in (600, 80, 1)] == [70.0, 10.0, 1.0]
    assert resync.look_seconds(600, most=70.0) * 2 * resync.SHARES <= 600
