"""An operator that sees the past, as after a restart behind a lagging API server, harms nothing that lives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from lectern_contract import resources
from lectern_operator.clients import kinds
from lectern_operator.handlers.boundary import Boundary
from lectern_operator.handlers.cache import ChildCache
from lectern_operator.handlers.cached_cluster import CachedCluster
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import Retry, WorkQueue
from lectern_operator.handlers.served import Served
from lectern_operator.handlers.telemetry import Telemetry
from lectern_operator.handlers.watching import WATCHED, View
from lectern_operator.reconcilers.world import World
from lectern_operator_tests import passes, worlds
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.passes import Operator


async def settled(operator: Operator) -> None:
    """Let everything roll out and every Job end."""
    for _ in range(4):
        await operator.look()
        operator.cluster.roll_out_all()
        for (kind, _, name), body in list(operator.cluster.objects.items()):
            if kind == "Job" and not body.get("status", {}).get("conditions"):
                operator.cluster.finish(name)
    await operator.settle()


def see(view: View, cluster: FakeCluster) -> None:
    """Let the view know what there is."""
    for (kind, _, _), body in cluster.objects.items():
        if kind in resources.KINDS:
            view.inventory.seen(copy.deepcopy(body))
        elif kind in kinds.CHILDREN:
            view.children.seen(kind, copy.deepcopy(body))


class Behind:
    """An operator whose view of a settled cluster ends here, while another one goes on."""

    def __init__(self, now: Operator) -> None:
        self.now = now
        self.view = View(Inventory(), ChildCache(), WorkQueue())
        for kind in WATCHED:
            self.view.children.listed(kind)
        see(self.view, now.cluster)
        served = Served()
        served.take(frozenset(kinds.ALL))
        cluster = CachedCluster(now.cluster, self.view, served)
        world = World(cluster, worlds.IMAGES, now.outside.outside(), now.clock)
        self._boundary = Boundary(self.view.inventory, world, Telemetry(), passes.nobody, self.view.poke)

    async def look(self) -> list[passes.Write]:
        """Make one pass over everything that is known and return its writes."""
        before = len(self.now.cluster.writes)
        for uid in self.view.inventory.uids():
            with suppress(Retry):
                await self._boundary.pass_over(uid)
        return self.now.cluster.writes[before:]


def but_for_status(cluster: FakeCluster) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return what there is; a status may tell of the past for as long as the view does."""
    found = copy.deepcopy(cluster.objects)
    for (kind, _, _), body in found.items():
        if kind in resources.KINDS:
            del body["status"], body["metadata"]["resourceVersion"]
    return found


def reworded(cluster: FakeCluster) -> None:
    cluster.edit("KnowledgeBase", "docs", {"spec": {"chunking": {"size": 100}}})
    cluster.edit("RagEndpoint", "ask", {"spec": {"retrieval": {"topK": 7}}})


def scaled(cluster: FakeCluster) -> None:
    cluster.edit("KnowledgeBase", "docs", {"spec": {"workers": {"minReplicas": 2, "maxReplicas": 2}}})
    cluster.edit("RagEndpoint", "ask", {"spec": {"replicas": 3}})


def made_anew(cluster: FakeCluster) -> None:
    for document in (worlds.KNOWLEDGE_BASE, worlds.SOURCE, worlds.ENDPOINT):
        cluster.remove(document["kind"], document["metadata"]["name"])
        cluster.put({**document, "metadata": {**document["metadata"], "uid": f"{document['metadata']['uid']}-anew"}})


def nothing(cluster: FakeCluster) -> None:
    """Leave everything as it is."""


@pytest.mark.parametrize("change", [reworded, scaled, made_anew, nothing])
async def test_a_view_of_the_past_deletes_and_makes_nothing(change: Callable[[FakeCluster], None]) -> None:
    now = Operator(FakeCluster())
    for document in (worlds.KNOWLEDGE_BASE, worlds.SOURCE, worlds.ENDPOINT):
        now.cluster.put(document)
    await settled(now)
    behind = Behind(now)
    change(now.cluster)
    await settled(now)
    before = but_for_status(now.cluster)

    written = [write for _ in range(3) for write in await behind.look()]

    assert but_for_status(now.cluster) == before, f"wrote {written}"
    see(behind.view, now.cluster)
    await behind.look()
    assert await behind.look() == [], "once it sees the present, nothing is left to do"
    assert but_for_status(now.cluster) == before
