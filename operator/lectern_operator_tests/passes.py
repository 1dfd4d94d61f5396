"""Runs passes of the operator over a fake cluster, always twice: the second must write nothing."""

from __future__ import annotations

from contextlib import suppress
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

Write = tuple[str, str, str]


class Clock:
    """A clock that a test moves by itself."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now


async def nobody(*_: object) -> None:
    """Take an Event and tell nobody: the cluster of these tests keeps no Events."""


class Operator:
    """The operator without watches: what exists is looked at when the test says so."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.clock = Clock()
        self._inventory = Inventory()
        world = World(cluster, worlds.IMAGES, self.clock)
        self._boundary = Boundary(self._inventory, world, Telemetry(), nobody)

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
                self._inventory.seen(body)
                with suppress(Retry):
                    await self._boundary.pass_over(body["metadata"]["uid"])
        return self.cluster.writes[before:]

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
