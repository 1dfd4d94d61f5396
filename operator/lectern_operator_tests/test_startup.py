"""The first look: everything is known before the first pass, or it is said why not."""

from __future__ import annotations

import pytest

from lectern_contract.errors import DependencyError
from lectern_operator.clients.errors import NotServed, Outdated, Refused
from lectern_operator.facts import Known
from lectern_operator.handlers import startup
from lectern_operator.handlers.cache import ChildCache
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import Priority, WorkQueue
from lectern_operator.handlers.served import Served
from lectern_operator.handlers.startup import CannotStart
from lectern_operator.handlers.watching import View
from lectern_operator_tests import worlds
from lectern_operator_tests.cluster_contract import config_map
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.fake_reads import FakeReads


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "PAUSE_SECONDS", 0.001)


async def started(reads: FakeReads) -> tuple[View, Served]:
    """Take the first look."""
    view, served = View(Inventory(), ChildCache(), WorkQueue()), Served()
    await startup.first_look(reads, view, served, [None])
    return view, served


async def populated() -> FakeReads:
    """Return a cluster with a knowledge base and a child."""
    cluster = FakeCluster(keda=False)
    kb = cluster.put(worlds.KNOWLEDGE_BASE)
    await cluster.apply(config_map(kb, a="1"))
    return FakeReads(cluster)


async def test_everything_is_known_and_waits_behind_what_is_new() -> None:
    view, served = await started(await populated())
    assert view.inventory.uids() == ("uid-kb",)
    assert [each["data"] for each in view.children.children("ConfigMap", "team", "uid-kb")] == [{"a": "1"}]
    assert view.children.complete("Deployment")
    assert not view.children.complete("ScaledObject")
    assert served("ScaledObject") == Known(value=False)
    assert min(view.queue._waiting.values()) > Priority.CHANGED


async def test_a_server_that_does_not_answer_yet_is_asked_again() -> None:
    reads = await populated()
    down = DependencyError("down", dependency="kubernetes")
    reads.failing = {"discovery": [down, down], "KnowledgeBase": [down], "ConfigMap": [Outdated("410")]}
    view, _ = await started(reads)
    assert (len(view.inventory), len(view.children)) == (1, 1)


async def test_an_optional_kind_that_goes_during_the_start_holds_up_nothing() -> None:
    reads = await populated()
    reads.cluster.keda = True
    reads.failing = {"ScaledObject": [NotServed("gone")]}
    view, _ = await started(reads)
    assert not view.children.complete("ScaledObject")


async def test_kinds_of_ours_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "PATIENCE_SECONDS", 0.0)
    reads = FakeReads(FakeCluster())
    reads.cluster.unserved = {"lectern.dev/v1alpha1"}
    with pytest.raises(CannotStart, match=r"IngestionSource, KnowledgeBase, RagEndpoint .* install Lectern's CRDs"):
        await started(reads)


async def test_a_right_that_is_missing_ends_the_start_for_ours_and_is_noted_for_children() -> None:
    reads = await populated()
    reads.failing = {"Ingress": [Refused("cannot list ingresses", status=403)]}
    view, _ = await started(reads)
    assert view.children.unreadable("Ingress") == "cannot list ingresses"
    reads.failing = {"RagEndpoint": [Refused("cannot list ragendpoints", status=403)]}
    with pytest.raises(CannotStart, match="cannot list ragendpoints; grant the operator its rights"):
        await started(reads)
