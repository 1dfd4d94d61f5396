"""Runs passes of the operator over a fake cluster, always twice: the second must write nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from lectern_contract import resources
from lectern_operator.handlers.boundary import Boundary
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import Retry
from lectern_operator.handlers.telemetry import Telemetry
from lectern_operator.reconcilers.world import World
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.fake_outside import FakeOutside

Write = tuple[str, str, str]


class Clock:
    """A clock that a test moves by itself."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now


async def nobody(*_: object) -> int:
    """Take an Event and tell nobody: the cluster of these tests keeps no Events."""
    return 0


def no_poke(_: str) -> None:
    """Make no pass over what a pass concerns."""


def world(cluster: FakeCluster) -> World:
    """Return the world of a pass over `cluster`, with doubles of everything outside."""
    return World(cluster, worlds.IMAGES, FakeOutside(cluster).outside())


class Operator:
    """The operator without watches: what exists is looked at when the test says so."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.clock = Clock()
        self._inventory = Inventory()
        self.outside = FakeOutside(cluster)
        world = World(cluster, worlds.IMAGES, self.outside.outside(), self.clock)
        self._poked: list[str] = []
        self._boundary = Boundary(self._inventory, world, Telemetry(), nobody, self._poked.append)

    async def settle(self) -> list[Write]:
        """Make one pass over everything and return its writes; a second pass, a minute later, must write nothing."""
        first = await self.look()
        self.clock.now += timedelta(minutes=1)
        second = await self.look()
        assert second == [], f"the second pass writes: {second}"
        return first

    async def look(self) -> list[Write]:
        """Make one pass over everything and return its writes."""
        before = len(self.cluster.writes)
        for (kind, _, _), body in sorted(self.cluster.objects.items()):
            if kind in resources.KINDS:
                await self._pass_over(kind, body)
        while self._poked:
            poked = self._inventory.get(self._poked.pop(0))
            if poked is not None:
                await self._pass_over(poked["kind"], poked)
        return self.cluster.writes[before:]

    async def _pass_over(self, kind: str, body: dict[str, Any]) -> None:
        """Make a pass, and another one when the first says that it has changed the resource itself."""
        metadata = body["metadata"]
        for _ in range(2):
            found = self.cluster.objects.get((kind, metadata["namespace"], metadata["name"]))
            if found is None:
                return
            self._inventory.seen(found)
            before = found["metadata"]["resourceVersion"]
            try:
                await self._boundary.pass_over(metadata["uid"])
            except Retry:
                again = self.cluster.objects.get((kind, metadata["namespace"], metadata["name"]))
                if again is not None and again["metadata"]["resourceVersion"] != before:
                    continue
            return

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """Return the status of a resource."""
        status: dict[str, Any] = self.cluster.objects[kind, "team", name]["status"]
        return status

    def condition(self, kind: str, name: str, aspect: str) -> dict[str, Any]:
        """Return one condition of a resource."""
        (found,) = [each for each in self.status(kind, name)["conditions"] if each["type"] == aspect]
        return dict(found)

    def judged(self, kind: str, name: str) -> dict[str, tuple[str, str]]:
        """Return status and reason of every condition of a resource."""
        return {each["type"]: (each["status"], each["reason"]) for each in self.status(kind, name)["conditions"]}


def children(cluster: FakeCluster) -> list[str]:
    """Return what there is beside our own kinds and pods, as kind/name; digests are cut off."""
    return sorted(
        f"{kind}/{name}" for kind, _, name in cluster.objects if kind not in resources.KINDS and kind != "Pod"
    )


def names(cluster: FakeCluster, kind: str) -> list[str]:
    """Return the names of all objects of a kind."""
    return sorted(name for of_kind, _, name in cluster.objects if of_kind == kind)
