"""The worker and the order of messages: redelivered, out of order or all again, the newest version stays."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from lectern_contract.messages import Deleted
from lectern_runtime.ports import Record
from lectern_runtime_tests.embed.worker_world import LONG, Wrapped
from lectern_runtime_tests.pipeline import (
    DELETED,
    INDEXED,
    Pipeline,
    reference,
)


class Delivering:
    """A log that delivers given records of the documents topic, one a poll, in an order of the test's own."""

    def __init__(self, log: Any, records: Sequence[Record]) -> None:
        self._log, self._waiting = log, list(records)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def subscribe(self, topic: str, *, group: str | None) -> Any:
        consumer = await self._log.subscribe(topic, group=group)
        return Wrapped(consumer, poll=self._poll, commit=self._commit, lag=self._lag)

    async def _poll(self, *, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        await asyncio.sleep(0 if self._waiting else timeout_seconds)
        return [self._waiting.pop(0) for _ in self._waiting[:1]]

    async def _commit(self, _offsets: Mapping[int, int]) -> None:
        """Out of order, a commit means nothing."""

    async def _lag(self) -> int:
        return len(self._waiting)


async def test_every_order_of_delivery_ends_with_the_newest_version(pipe: Pipeline) -> None:
    orders = list(itertools.permutations(range(4)))
    delivered: list[Record] = []
    for number, order in enumerate(orders):
        uri = f"{number}.md"
        first, second = await pipe.put(uri, f"v1 {LONG}"), await pipe.put(uri, "v2 short")
        versions = await pipe.publish(
            first, second, Deleted(document=reference(uri)), await pipe.put(uri, "v3 final words")
        )
        delivered.extend(versions[place] for place in order)
    await pipe.index(log=Delivering(pipe.log, delivered))
    assert await pipe.content() == {f"public:{number}.md": ("v3 final words",) for number in range(len(orders))}
    assert {each.state for each in (await pipe.records()).values()} == {INDEXED}


async def test_every_order_of_delivery_ends_with_a_deletion_that_came_last(pipe: Pipeline) -> None:
    orders = list(itertools.permutations(range(3)))
    delivered: list[Record] = []
    for number, order in enumerate(orders):
        uri = f"{number}.md"
        versions = await pipe.publish(
            await pipe.put(uri, f"v1 {LONG}"), await pipe.put(uri, "v2 short"), Deleted(document=reference(uri))
        )
        delivered.extend(versions[place] for place in order)
    await pipe.index(log=Delivering(pipe.log, delivered))
    assert await pipe.content() == {}
    assert {each.state for each in (await pipe.records()).values()} == {DELETED}


async def test_the_whole_topic_again_changes_nothing_and_embeds_nothing(pipe: Pipeline) -> None:
    for number in range(5):
        await pipe.publish(await pipe.put(f"{number}.md", f"# {number}\n\n{LONG}"))
    await pipe.publish(Deleted(document=reference("3.md")), await pipe.put("bad.md", b"\x00\x01" * 50))
    await pipe.index()
    points, records, embedded = await pipe.points(), await pipe.records(), len(pipe.embedder.embedded)
    letters = await pipe.dead_letters()
    again = Wrapped(pipe.log, subscribe=lambda topic, *, group: pipe.log.subscribe(topic, group=f"{group}-again"))
    await pipe.index(log=again)
    assert (await pipe.points(), await pipe.records(), len(pipe.embedder.embedded)) == (points, records, embedded)
    assert await pipe.dead_letters() == letters
    assert (await pipe.events())[-1] == ("bad.md", "failed")  # a redelivery repeats at most the event
