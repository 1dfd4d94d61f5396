"""The number of workers passes between the operator and KEDA, and no worker is lost on the way."""

from __future__ import annotations

from typing import Any

from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.passes import Operator

SEVERAL = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=3)
NAME = ("Deployment", "team", "docs-worker")


async def settled(document: dict[str, Any], *, keda: bool) -> Operator:
    """Return an operator that has made everything of `document`."""
    cluster = FakeCluster(keda=keda)
    cluster.put(document)
    found = Operator(cluster)
    await found.settle()
    return found


def replicas(of: Operator) -> int:
    """Return how many workers are wanted."""
    wanted: int = of.cluster.objects[NAME]["spec"]["replicas"]
    return wanted


async def test_keda_that_is_installed_later_finds_all_workers_that_ran() -> None:
    kb = await settled(SEVERAL, keda=False)
    assert replicas(kb) == 3
    kb.cluster.keda = True
    writes = await kb.settle()
    held, applied = (
        writes.index(("hold", "Deployment", "docs-worker")),
        writes.index(("apply", "Deployment", "docs-worker")),
    )
    assert held < applied < writes.index(("apply", "ScaledObject", "docs-worker"))
    assert replicas(kb) == 3


async def test_workers_that_keda_has_scaled_are_not_held_again() -> None:
    kb = await settled(SEVERAL, keda=False)
    kb.cluster.keda = True
    await kb.settle()
    kb.cluster.edit("Deployment", "docs-worker", {"spec": {"replicas": 4}})
    kb.cluster.put(worlds.changed(SEVERAL, workers__maxAttempts=7))
    assert ("hold", "Deployment", "docs-worker") not in await kb.settle()
    assert replicas(kb) == 4


async def test_a_fixed_number_that_becomes_a_range_stays_until_keda_decides() -> None:
    kb = await settled(worlds.changed(SEVERAL, workers__maxReplicas=3), keda=True)
    kb.cluster.put(SEVERAL)
    await kb.settle()
    assert replicas(kb) == 3


async def test_a_range_that_becomes_a_fixed_number_is_that_number() -> None:
    kb = await settled(SEVERAL, keda=True)
    kb.cluster.edit("Deployment", "docs-worker", {"spec": {"replicas": 4}})
    kb.cluster.put(worlds.changed(SEVERAL, workers__maxReplicas=3))
    await kb.settle()
    assert replicas(kb) == 3


async def test_a_knowledge_base_that_goes_on_after_a_suspension_has_no_number_to_keep() -> None:
    kb = await settled(worlds.changed(SEVERAL, suspend=True), keda=True)
    assert replicas(kb) == 0
    kb.cluster.put(SEVERAL)
    assert ("hold", "Deployment", "docs-worker") not in await kb.settle()
