"""Generations of one process: what is filled, what answers, what is dropped, and that no number is used twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lectern_cli import generations
from lectern_cli.generations import Generation
from lectern_cli_tests import laptop
from lectern_contract import names, wiring
from lectern_contract.names import Topic
from lectern_contract.resources import KnowledgeBase, parse
from lectern_runtime import topics
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.ports import Log, OutgoingRecord, VectorStore

TOPIC = names.topic("default", "docs", Topic.DOCUMENTS)
ALIAS = names.alias("default", "docs")
World = tuple[VectorStore, Log]


def base(size: int = 120, retain: int = 1) -> KnowledgeBase:
    found = parse(laptop.body("KnowledgeBase", chunking={"size": size, "overlap": 10}, generations={"retain": retain}))
    assert isinstance(found, KnowledgeBase)
    return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A store, and a log with three documents in it."""
    store, log = await EdgeStore.open(tmp_path / "store"), await SqliteLog.open(tmp_path / "log.sqlite3")
    settings = wiring.worker_settings(base(), generation=1).log
    await topics.ensure(log, settings, namespace="default", knowledge_base="docs")
    await log.publish(TOPIC, [OutgoingRecord(f"document-{number}", b"{}") for number in range(3)])
    yield store, log
    await store.close()
    await log.close()


async def choose(world: World, kb: KnowledgeBase) -> Generation:
    return await generations.choose(kb, store=world[0], log=world[1])


async def work(world: World, number: int) -> None:
    """What a worker of a generation leaves behind: its group has committed something."""
    consumer = await world[1].subscribe(TOPIC, group=names.consumer_group("default", "docs", number))
    await consumer.commit({0: 2})
    await consumer.close()


async def numbers(world: World) -> list[int]:
    return [n for n in range(1, 9) if await world[0].describe(names.collection("default", "docs", n)) is not None]


async def test_the_first_generation_answers_from_the_start(world: World) -> None:
    chosen = await choose(world, base())

    assert (chosen.number, chosen.answering, chosen.active) == (1, 1, True)
    assert await world[0].resolve_alias(ALIAS) == chosen.collection


async def test_an_equal_spec_goes_on_with_the_same_generation(world: World) -> None:
    first = await choose(world, base())
    await work(world, 1)

    assert await choose(world, base(retain=3)) == first


async def test_another_identity_is_built_beside_and_takes_over_when_it_is_activated(world: World) -> None:
    first = await choose(world, base())
    await work(world, 1)

    second = await choose(world, base(size=60))
    while_building = await world[0].resolve_alias(ALIAS)
    active = await generations.activate(base(size=60), world[0], second)

    assert (second.number, second.answering, second.active) == (2, 1, False)
    assert while_building == first.collection
    assert (active.answering, active.active) == (2, True)
    assert await world[0].resolve_alias(ALIAS) == second.collection
    assert await numbers(world) == [1, 2]


async def test_a_build_that_was_cut_short_is_gone_on_with(world: World) -> None:
    await choose(world, base())
    second = await choose(world, base(size=60))
    await work(world, 2)

    assert await choose(world, base(size=60)) == second


async def test_a_build_that_was_given_up_is_dropped_and_its_number_is_not_used_again(world: World) -> None:
    await choose(world, base())
    await choose(world, base(size=60))
    await work(world, 2)

    third = await choose(world, base(size=80))
    await work(world, 3)
    back = await choose(world, base())
    fourth = await choose(world, base(size=60))

    assert third.number == 3
    assert (back.number, back.active) == (1, True)
    assert (fourth.number, fourth.answering) == (4, 1)
    assert await numbers(world) == [1, 4]


async def test_a_store_that_was_lost_is_filled_from_the_beginning(world: World) -> None:
    await choose(world, base())
    await work(world, 1)
    await world[0].drop_collection(names.collection("default", "docs", 1))

    again = await choose(world, base())

    assert (again.number, again.active) == (2, True)
    assert await world[1].lag(TOPIC, group=names.consumer_group("default", "docs", again.number)) == 3


async def test_the_newest_earlier_generations_are_retained(world: World) -> None:
    for size in (60, 70, 80):
        kb = base(size=size, retain=9)
        generation = await choose(world, kb)
        await work(world, generation.number)
        await generations.activate(kb, world[0], generation)
    last = await choose(world, base(size=90, retain=9))

    left = {}
    for retain in (9, 2, 1, 0):
        await generations.activate(base(size=90, retain=retain), world[0], last)
        left[retain] = await numbers(world)

    assert left == {9: [1, 2, 3, 4], 2: [2, 3, 4], 1: [3, 4], 0: [4]}
