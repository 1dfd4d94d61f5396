"""Reads of a pass: all at once, to their end, and the first error is the one that is told."""

from __future__ import annotations

import asyncio

import pytest

from lectern_operator.clients.errors import NotServed
from lectern_operator.facts import Known
from lectern_operator.reconcilers import children
from lectern_operator.reconcilers.world import World
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import FakeCluster


async def test_an_error_of_one_read_leaves_no_other_behind() -> None:
    ended: list[str] = []

    async def read(name: str, seconds: float, *, fails: bool) -> str:
        await asyncio.sleep(seconds)
        ended.append(name)
        if fails:
            raise NotServed(name)
        return name

    with pytest.raises(NotServed, match="quick"):
        await children.together(read("quick", 0, fails=True), read("slow", 0.02, fails=True))
    assert ended == ["quick", "slow"]
    assert await children.together(read("a", 0.01, fails=False), read("b", 0, fails=False)) == ["a", "b"]


async def test_a_kind_that_is_not_served_is_a_fact() -> None:
    world = World(FakeCluster(keda=False), worlds.IMAGES)
    found = await children.listed_if_served(worlds.knowledge_base(), world, "ScaledObject", "TriggerAuthentication")
    assert found == ({}, Known(value=False))
