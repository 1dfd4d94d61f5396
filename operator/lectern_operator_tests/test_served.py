"""Optional kinds come and go without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from lectern_contract.errors import DependencyError
from lectern_operator.facts import Known
from lectern_operator.handlers import served
from lectern_operator.handlers.cache import ChildCache
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import WorkQueue
from lectern_operator.handlers.served import Followers, Served
from lectern_operator.handlers.watching import WATCHED, View
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.fake_reads import FakeReads


class Endless(FakeReads):
    """Watches tell nothing, without an end."""

    async def watch(self, kind: str, namespace: str | None, since: str):  # type: ignore[no-untyped-def]  # as its parent
        self.since.append(kind)
        await asyncio.Event().wait()
        yield


class Installation:
    """A cluster in which KEDA is installed or not, and an operator that looks at it."""

    def __init__(self, *, keda: bool) -> None:
        self.cluster = FakeCluster(keda=keda)
        self.cluster.unserved = {"gateway.networking.k8s.io/v1", "kafka.strimzi.io/v1", "monitoring.coreos.com/v1"}
        self.reads = Endless(self.cluster)
        self.view = View(Inventory(), ChildCache(), WorkQueue())
        self.served = Served()
        self.view.inventory.seen(self.cluster.put(worlds.KNOWLEDGE_BASE))

    async def until(self, *acts: Callable[[], bool]) -> None:
        """Look at discovery fast until each condition has held, one after the other."""
        self.served.take(await self.cluster.served_kinds())
        followers = Followers(self.reads, self.view, [None], lambda: 0.5)
        looking = asyncio.create_task(served.keep(self.reads, self.served, followers, self.view, every_seconds=0.001))
        try:
            async with asyncio.timeout(5):
                for act in acts:
                    while not act():
                        await asyncio.sleep(0.001)
        finally:
            looking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await looking


async def test_what_is_served_at_the_start_is_followed_from_the_first_list_on() -> None:
    keda = Installation(keda=True)
    keda.view.listed_at = {(kind, None): "7" for kind in WATCHED}
    expected = {kind for kind in await keda.cluster.served_kinds() if kind in WATCHED}
    assert {"Pod", "ScaledObject", "TriggerAuthentication"} < expected
    await keda.until(lambda: sorted(keda.reads.since) == sorted(expected))
    assert not keda.view.children.complete("Pod"), "it was listed again"
    assert len(keda.view.queue) == 0


async def test_a_kind_that_appears_is_followed_and_everybody_looks_again() -> None:
    keda = Installation(keda=False)

    def install() -> bool:
        keda.cluster.keda = True
        return True

    await keda.until(install, lambda: keda.view.children.complete("ScaledObject"))
    assert keda.served("ScaledObject") == Known(value=True)
    assert len(keda.view.queue) == 1


async def test_a_kind_that_goes_is_forgotten_and_may_come_back() -> None:
    keda = Installation(keda=True)

    def install(yes: bool) -> Callable[[], bool]:
        def act() -> bool:
            keda.cluster.keda = yes
            return True

        return act

    def known() -> bool:
        return keda.view.children.complete("ScaledObject")

    await keda.until(known, install(False), lambda: not known(), install(True), known)
    assert keda.reads.since.count("ScaledObject") == 2


async def test_a_server_that_does_not_answer_takes_no_kind_away() -> None:
    keda = Installation(keda=True)
    keda.reads.failing["discovery"] = [DependencyError("down", dependency="kubernetes")] * 3
    await keda.until(lambda: not keda.reads.failing["discovery"], lambda: keda.view.children.complete("ScaledObject"))
    assert keda.served("ScaledObject") == Known(value=True)
    assert len(keda.view.queue) == 0
