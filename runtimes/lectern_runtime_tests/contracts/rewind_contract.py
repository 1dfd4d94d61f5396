"""What every `RewindableLog` promises beside the contract of a log: how a group stands, and that it can be set back.

A test module derives from the suite and gives it `make_log`, which opens the same storage at every call.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from lectern_runtime.errors import GroupInUse, TopicUnknown
from lectern_runtime.ports import GroupState, RewindableLog, Standing
from lectern_runtime_tests.contracts.log_contract import PATIENCE, after, pairs, records, take

MakeRewindableLog = Callable[[], Awaitable[RewindableLog]]


def state(committed: int | None, *, end: int = 3, since: int | None = None) -> GroupState:
    """How a group without members stands on a topic of one partition."""
    return GroupState((), {0: Standing(beginning=0, end=end, committed=committed, since=since)})


class RewindContract:
    @pytest.fixture
    def topic(self) -> str:
        return f"lectern.test.kb-{uuid.uuid4().hex[:8]}.documents"

    @pytest.fixture
    def group(self) -> str:
        return f"lectern.test.kb-{uuid.uuid4().hex[:8]}.g1"

    @pytest.fixture
    async def log(self, make_log: MakeRewindableLog, topic: str, group: str) -> AsyncIterator[RewindableLog]:
        """A log with a topic of one partition and three records, which the group has read and committed."""
        log = await make_log()
        await log.ensure_topic(topic, partitions=1, compacted=False)
        await log.publish(topic, records(("a", "1"), ("b", "2"), ("c", "3")))
        consumer = await log.subscribe(topic, group=group)
        await consumer.commit(after(await take(consumer, 3)))
        await consumer.close()
        yield log
        await log.close()

    async def test_a_group_that_committed_nothing_stands_nowhere(
        self, log: RewindableLog, topic: str, group: str
    ) -> None:
        assert await log.group_state(topic, group=f"{group}-other") == state(None)

    async def test_a_group_that_is_set_back_reads_again_from_there(
        self, log: RewindableLog, topic: str, group: str, make_log: MakeRewindableLog
    ) -> None:
        assert await log.group_state(topic, group=group) == state(3)
        await log.set_back(topic, group=group, to={0: 1})
        await log.close()
        again = await make_log()
        try:
            assert await again.group_state(topic, group=group) == state(1)
            consumer = await again.subscribe(topic, group=group)
            assert pairs(await take(consumer, 2)) == [("b", "2"), ("c", "3")]
            await consumer.close()
        finally:
            await again.close()

    async def test_no_group_is_set_forward(self, log: RewindableLog, topic: str, group: str) -> None:
        await log.set_back(topic, group=group, to={0: 1})
        await log.set_back(topic, group=group, to={0: 2})
        await log.set_back(topic, group=f"{group}-other", to={0: 2})
        assert await log.group_state(topic, group=group) == state(1)
        assert await log.group_state(topic, group=f"{group}-other") == state(None)

    async def test_a_group_with_members_is_left_as_it_is_until_they_are_gone(
        self, log: RewindableLog, topic: str, group: str
    ) -> None:
        members = [await log.subscribe(topic, group=group) for _ in range(2)]
        found = await log.group_state(topic, group=group)
        assert (len(found.members), found.partitions) == (2, state(3).partitions)
        with pytest.raises(GroupInUse) as refused:
            await log.set_back(topic, group=group, to={0: 0})
        assert refused.value.members == found.members
        assert f"{group!r} has 2 members" in str(refused.value)
        for member in members:
            await member.close()
        async with asyncio.timeout(PATIENCE):  # a cluster may miss a farewell, and waits for the member's session
            while (await log.group_state(topic, group=group)).members:
                await asyncio.sleep(0.1)
        assert await log.group_state(topic, group=group) == state(3)
        await log.set_back(topic, group=group, to={0: 0})
        assert await log.group_state(topic, group=group) == state(0)

    async def test_the_records_of_a_moment_and_later_are_known(
        self, log: RewindableLog, topic: str, group: str
    ) -> None:
        await asyncio.sleep(0.02)  # so that the clock, which counts milliseconds, has gone on
        await log.publish(topic, records(("d", "4"), ("e", "5")))
        reader = await log.read_from_start(topic)
        found = await take(reader, 5)
        await reader.close()
        assert found[2].time_ms < found[3].time_ms
        for since_ms, since in (
            (0, 0),
            (found[0].time_ms, 0),
            (found[2].time_ms + 1, 3),
            (found[3].time_ms, 3),
            (found[4].time_ms + 1, 5),
        ):
            assert await log.group_state(topic, group=group, since_ms=since_ms) == state(3, end=5, since=since)

    async def test_an_unknown_topic_is_a_clear_error(self, log: RewindableLog, topic: str, group: str) -> None:
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: log.group_state(f"{topic}.unknown", group=group),
            lambda: log.set_back(f"{topic}.unknown", group=group, to={0: 0}),
        ]
        for call in calls:
            with pytest.raises(TopicUnknown, match="unknown"):
                await call()
