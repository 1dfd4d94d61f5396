"""Resync and watchdog: what no event tells is found out, and a silent watch ends the process."""

from __future__ import annotations

import asyncio

import pytest

from lectern_contract.errors import DependencyError
from lectern_operator.handlers import resync
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import WorkQueue
from lectern_operator.handlers.resync import WatchSilent
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import FakeCluster, Manifest


async def watch(inventory: Inventory, queue: WorkQueue, cluster: FakeCluster, *, seconds: float) -> None:
    """Run the watchdog at a fast pace for a short time."""
    async with asyncio.timeout(seconds):
        await resync.watchdog(inventory, queue, cluster, [None], every_seconds=0.01, patience_seconds=0.05)


async def test_a_missed_event_is_mended() -> None:
    inventory, queue, cluster = Inventory(), WorkQueue(), FakeCluster()
    inventory.seen(cluster.put({**worlds.SOURCE, "metadata": {**worlds.SOURCE["metadata"], "uid": "lost"}}))
    cluster.objects.clear()
    cluster.put(worlds.KNOWLEDGE_BASE)
    with pytest.raises(TimeoutError):
        await watch(inventory, queue, cluster, seconds=0.2)
    assert inventory.uids() == ("uid-kb",)
    assert len(queue) == 1


async def test_what_is_made_while_the_watchdog_looks_is_not_forgotten() -> None:
    inventory, queue, cluster = Inventory(), WorkQueue(), FakeCluster()
    cluster.put(worlds.KNOWLEDGE_BASE)
    looking = asyncio.create_task(watch(inventory, queue, cluster, seconds=0.3))
    await asyncio.sleep(0.015)  # in the grace after the first list
    inventory.seen(cluster.put(worlds.SOURCE))
    with pytest.raises(TimeoutError):
        await looking
    assert set(inventory.uids()) == {"uid-kb", "uid-isrc"}


async def test_a_watch_that_tells_nothing_ends_the_process() -> None:
    inventory, queue, cluster = Inventory(), WorkQueue(), FakeCluster()
    cluster.put(worlds.KNOWLEDGE_BASE)

    async def change() -> None:
        number = 0
        while True:
            number += 1
            cluster.edit("KnowledgeBase", "docs", {"metadata": {"annotations": {"n": str(number)}}})
            await asyncio.sleep(0.001)

    changing = asyncio.create_task(change())
    with pytest.raises(WatchSilent, match="KnowledgeBase/docs"):
        await watch(inventory, queue, cluster, seconds=5)
    changing.cancel()


async def test_a_server_that_does_not_answer_is_no_silent_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()

    async def down(kind: str, namespace: str | None) -> tuple[Manifest, ...]:
        raise DependencyError("down", dependency="kubernetes")

    monkeypatch.setattr(cluster, "owners", down)
    with pytest.raises(TimeoutError):
        await watch(Inventory(), WorkQueue(), cluster, seconds=0.2)


async def test_everything_is_looked_at_again_from_time_to_time() -> None:
    inventory, queue, cluster = Inventory(), WorkQueue(), FakeCluster()
    inventory.seen(cluster.put(worlds.KNOWLEDGE_BASE))
    inventory.seen(cluster.put(worlds.ENDPOINT))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await resync.resync(inventory, queue, every_seconds=0.02, chance=lambda: 0.5)
    assert len(queue) == 2
