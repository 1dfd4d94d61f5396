"""Our own list and watch: goes on where it ended, lists anew when it must, and loses no delete."""

from __future__ import annotations

from typing import Any

import pytest

from lectern_contract.errors import DependencyError
from lectern_operator.clients.errors import NotServed, Outdated, Refused
from lectern_operator.clients.kube import Page
from lectern_operator.handlers import following
from lectern_operator.handlers.cache import ChildCache
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import WorkQueue
from lectern_operator.handlers.watching import View
from lectern_operator_tests import worlds
from lectern_operator_tests.cluster_contract import config_map
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.fake_reads import FakeReads

KIND = "ConfigMap"
DOWN = DependencyError("down", dependency="kubernetes")


class World:
    """A cluster with a knowledge base, its lists and watches, and a view of it."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.reads = FakeReads(self.cluster)
        self.view = View(Inventory(), ChildCache(), WorkQueue())
        self.kb = self.cluster.put(worlds.KNOWLEDGE_BASE)
        self.view.inventory.seen(self.kb)
        self.pauses: list[float] = []
        self.unreadable: list[str | None] = []

    async def child(self, name: str, **data: str) -> dict[str, Any]:
        """Make a child."""
        return await self.cluster.apply(config_map(self.kb, name, **data))

    async def follow(self, since: str = "") -> None:
        """Follow until the watches end."""
        self.reads.watches.append([NotServed("the end")])

        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)
            self.unreadable.append(self.view.children.unreadable(KIND))

        await following.follow(KIND, "team", self.reads, self.view, chance=lambda: 0.5, since=since, sleep=sleep)

    def known(self) -> list[str]:
        """Return the names of the children that are known."""
        return [each["metadata"]["name"] for each in self.view.children.children(KIND, "team", "uid-kb")]


@pytest.fixture
def world() -> World:
    return World()


async def test_what_is_listed_and_told_is_known_and_wakes_the_owner(world: World) -> None:
    await world.child("a")
    told = {**config_map(world.kb, "b")}
    told["metadata"] |= {"uid": "b", "resourceVersion": "900"}
    world.reads.watches = [[("ADDED", told), ("BOOKMARK", {"metadata": {"resourceVersion": "950"}})]]
    await world.follow()
    assert world.known() == ["a", "b"]
    assert world.view.children.complete(KIND)
    assert world.reads.since[1:] == ["950"], "a watch goes on after the last bookmark"
    assert len(world.view.queue) == 1


async def test_a_watch_goes_on_from_the_version_that_is_given(world: World) -> None:
    await world.follow(since="7")
    assert (world.reads.since, world.reads.lists) == (["7"], [])


async def test_a_version_that_is_forgotten_means_a_list_and_what_it_lacks_is_gone(world: World) -> None:
    await world.child("a")
    await world.child("b")
    await following.read_all(KIND, "team", world.reads, world.view)
    world.cluster.remove(KIND, "a")
    world.reads.watches = [[Outdated("410")]]
    await world.follow(since="3")
    assert world.known() == ["b"]
    assert world.reads.lists == [KIND, KIND]


async def test_what_was_made_after_the_list_stays(world: World) -> None:
    made = await world.child("new")
    world.view.children.seen(KIND, made)
    world.cluster.remove(KIND, "new")

    class Behind(FakeReads):
        """Lists of the past."""

        async def pages(self, kind: str, namespace: str | None, *, heads: bool = False) -> Any:
            yield Page((), "1")

    await following.read_all(KIND, "team", Behind(world.cluster), world.view)
    assert world.known() == ["new"]


async def test_failures_are_followed_by_growing_pauses_and_now_and_then_by_a_list(world: World) -> None:
    asked = DependencyError("429", dependency="kubernetes", retry_after_seconds=20.0)
    world.reads.watches = [[DOWN], [DOWN], [asked], [DOWN]]
    await world.follow(since="5")
    assert world.pauses == [1.0, 2.0, 20.0, 8.0]
    assert world.reads.since[:3] == ["5"] * 3
    assert world.reads.lists == [KIND], "the third failure in a row"


async def test_a_watch_that_tells_something_ends_the_row_of_failures(world: World) -> None:
    mark = ("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    world.reads.watches = [[DOWN], [mark, DOWN], [DOWN]]
    await world.follow(since="5")
    assert world.pauses == [1.0, 1.0, 2.0]
    assert world.reads.since == ["5", "5", "9", "9"]


async def test_a_list_that_is_refused_is_said_and_tried_again(world: World) -> None:
    world.reads.failing = {KIND: [Refused("cannot list", status=403)]}
    await world.follow()
    assert (world.unreadable, world.pauses) == (["cannot list"], [following.REFUSED_SECONDS])
    assert world.view.children.complete(KIND)


async def test_a_server_that_asks_for_time_gets_all_of_it_whatever_chance_says(world: World) -> None:
    asked = DependencyError("429", dependency="kubernetes", retry_after_seconds=20.0)
    world.reads.watches += [[asked], [NotServed("the end")]]
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    await following.follow(KIND, "team", world.reads, world.view, chance=lambda: 0.0, since="1", sleep=sleep)
    assert pauses == [20.0]
