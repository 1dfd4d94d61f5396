"""What every `Log` promises: order, durability, consumer groups, compaction.

A test module derives from the suite and gives it `make_log`, which opens the same storage at every call, and
`remove_topic`, which removes a topic (or all of them) while the log is closed.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from lectern_contract.errors import ConfigurationError
from lectern_runtime.errors import LogError, TopicUnknown
from lectern_runtime.ports import Consumer, Log, OutgoingRecord, Position, Record

MakeLog = Callable[[], Awaitable[Log]]
RemoveTopic = Callable[[str], Awaitable[None]]
PATIENCE = 20.0
PARTITIONS = 3


def records(*pairs: tuple[str, str]) -> list[OutgoingRecord]:
    return [OutgoingRecord(key, value.encode()) for key, value in pairs]


async def take(consumer: Consumer, count: int) -> list[Record]:
    """Exactly `count` records, and none more."""
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            found += await consumer.poll(max_records=count - len(found), timeout_seconds=1.0)
    found += await consumer.poll(max_records=100, timeout_seconds=0.05)
    assert len(found) == count, found
    return found


def after(found: Sequence[Record]) -> dict[int, int]:
    """What a member that handled these records commits."""
    return {each.position.partition: each.position.offset + 1 for each in found}


def pairs(found: Sequence[Record]) -> list[tuple[str, str]]:
    return sorted((each.key, each.value.decode()) for each in found)


class LogContract:
    @pytest.fixture
    def topic(self) -> str:
        return f"lectern.test.kb-{uuid.uuid4().hex[:8]}.events"

    @pytest.fixture
    async def log(self, make_log: MakeLog, topic: str) -> AsyncIterator[Log]:
        log = await make_log()
        await log.ensure_topic(topic, partitions=PARTITIONS, compacted=False)
        yield log
        await log.close()

    # ------------------------------------------------------------------------------------- topics

    async def test_ensuring_a_topic_again_keeps_its_id_and_records(self, log: Log, topic: str) -> None:
        before = await log.topic_id(topic)
        await log.publish(topic, records(("a", "1")))
        await log.ensure_topic(topic, partitions=PARTITIONS, compacted=False)
        assert await log.topic_id(topic) == before
        consumer = await log.subscribe(topic, group="g")
        assert pairs(await take(consumer, 1)) == [("a", "1")]
        await consumer.close()

    async def test_another_number_of_partitions_is_refused(self, log: Log, topic: str) -> None:
        with pytest.raises(ConfigurationError, match=topic):
            await log.ensure_topic(topic, partitions=PARTITIONS + 1, compacted=False)

    async def test_a_topic_made_anew_has_another_id(
        self, log: Log, topic: str, make_log: MakeLog, remove_topic: RemoveTopic
    ) -> None:
        before = await log.topic_id(topic)
        await log.close()
        await remove_topic(topic)
        again = await make_log()
        try:
            await again.ensure_topic(topic, partitions=PARTITIONS, compacted=False)
            assert await again.topic_id(topic) != before
        finally:
            await again.close()

    async def test_topics_have_different_ids(self, log: Log, topic: str) -> None:
        await log.ensure_topic(f"{topic}.other", partitions=1, compacted=True)
        assert await log.topic_id(topic) != await log.topic_id(f"{topic}.other")

    async def test_an_unknown_topic_is_a_clear_error(self, log: Log, topic: str) -> None:
        unknown = f"{topic}.unknown"
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: log.topic_id(unknown),
            lambda: log.publish(unknown, records(("a", "1"))),
            lambda: log.subscribe(unknown, group="g"),
            lambda: log.subscribe(unknown, group=None),
            lambda: log.read_from_start(unknown),
        ]
        for call in calls:
            with pytest.raises(TopicUnknown, match="unknown"):
                await call()

    # ------------------------------------------------------------------------- publish and consume

    async def test_records_come_with_their_positions_keys_and_values(self, log: Log, topic: str) -> None:
        published = records(("a", "1"), ("b", ""), ("ключ", "x" * 10_000), ("a", "2"))
        positions = await log.publish(topic, published)
        assert len(set(positions)) == len(positions) == 4
        consumer = await log.subscribe(topic, group="g")
        found = await take(consumer, 4)
        assert {(each.position, each.key, each.value) for each in found} == {
            (position, record.key, record.value) for position, record in zip(positions, published, strict=True)
        }
        assert all(each.time_ms > 1_600_000_000_000 for each in found)
        await consumer.close()

    async def test_publishing_nothing_is_nothing(self, log: Log, topic: str) -> None:
        assert list(await log.publish(topic, [])) == []

    async def test_a_reader_from_the_start_reads_all_alone_and_again(self, log: Log, topic: str) -> None:
        await log.publish(topic, records(("a", "1"), ("b", "2"), ("c", "3")))
        group = await log.subscribe(topic, group="g")
        for _ in range(2):
            reader = await log.read_from_start(topic)
            assert await reader.lag() == 3
            assert sorted(pairs(await take(reader, 3))) == [("a", "1"), ("b", "2"), ("c", "3")]
            assert await reader.lag() == 0
            await reader.close()
        await log.publish(topic, records(("a", "4")))
        assert await log.lag(topic, group="g") == 4
        await group.close()

    async def test_equal_keys_share_a_partition_and_keep_their_order(self, log: Log, topic: str) -> None:
        for number in range(10):
            await log.publish(topic, records(*((f"key-{key}", str(number)) for key in range(8))))
        consumer = await log.subscribe(topic, group="g")
        found = await take(consumer, 80)
        for key in range(8):
            mine = [each for each in found if each.key == f"key-{key}"]
            assert [each.value.decode() for each in mine] == [str(number) for number in range(10)]
            assert len({each.position.partition for each in mine}) == 1
        for partition in range(PARTITIONS):
            offsets = [each.position.offset for each in found if each.position.partition == partition]
            assert offsets == sorted(set(offsets))
        assert {each.position.partition for each in found} == set(range(PARTITIONS))
        await consumer.close()

    async def test_positions_count_up_from_zero_in_each_partition(self, log: Log, topic: str) -> None:
        positions = [position for _ in range(3) for position in await log.publish(topic, records(("a", "x")))]
        partition = positions[0].partition
        assert positions == [Position(partition, offset) for offset in range(3)]

    async def test_a_batch_is_published_whole_or_not_at_all(self, log: Log, topic: str) -> None:
        too_large = OutgoingRecord("c", b"x" * (2 << 20))
        with pytest.raises(LogError):
            await log.publish(topic, [*records(("a", "1"), ("b", "2")), too_large])
        await log.publish(topic, records(("d", "4")))
        consumer = await log.subscribe(topic, group="g")
        assert pairs(await take(consumer, 1)) == [("d", "4")]
        await consumer.close()

    async def test_concurrent_publishers_lose_nothing(self, log: Log, topic: str) -> None:
        batches = [records(*((f"k{batch}", str(number)) for number in range(5))) for batch in range(20)]
        positions = await asyncio.gather(*(log.publish(topic, batch) for batch in batches))
        assert len({position for batch in positions for position in batch}) == 100
        consumer = await log.subscribe(topic, group="g")
        found = await take(consumer, 100)
        for batch in range(20):
            assert [each.value for each in found if each.key == f"k{batch}"] == [b"0", b"1", b"2", b"3", b"4"]
        await consumer.close()

    async def test_a_poll_gives_at_most_what_was_asked_for(self, log: Log, topic: str) -> None:
        await log.publish(topic, records(*(("a", str(number)) for number in range(10))))
        consumer = await log.subscribe(topic, group="g")
        found: list[Record] = []
        async with asyncio.timeout(PATIENCE):
            while len(found) < 10:
                polled = await consumer.poll(max_records=3, timeout_seconds=1.0)
                assert len(polled) <= 3
                found += polled
        assert [each.value.decode() for each in found] == [str(number) for number in range(10)]
        await consumer.close()

    async def test_a_poll_without_records_ends_when_its_time_is_over(self, log: Log, topic: str) -> None:
        consumer = await log.subscribe(topic, group="g")
        async with asyncio.timeout(PATIENCE):
            assert list(await consumer.poll(max_records=1, timeout_seconds=0.0)) == []
            assert list(await consumer.poll(max_records=1, timeout_seconds=0.1)) == []
        await consumer.close()

    async def test_a_waiting_poll_gets_what_is_published_meanwhile(self, log: Log, topic: str) -> None:
        consumer = await log.subscribe(topic, group="g")
        waiting = asyncio.create_task(take(consumer, 1))
        await asyncio.sleep(0.1)
        await log.publish(topic, records(("a", "1")))
        assert pairs(await waiting) == [("a", "1")]
        await consumer.close()

    async def test_paused_partitions_give_nothing_until_they_go_on_where_they_stood(self, log: Log, topic: str) -> None:
        published = await log.publish(topic, records(*((f"k{number}", "x") for number in range(30))))
        paused = {0, 1}
        consumer = await log.subscribe(topic, group="g")
        consumer.pause(paused)
        others = await take(consumer, sum(each.partition not in paused for each in published))
        consumer.pause(range(PARTITIONS))
        assert list(await consumer.poll(max_records=9, timeout_seconds=0.05)) == []
        consumer.pause(())
        rest = await take(consumer, 30 - len(others))
        assert {each.position.partition for each in others} == {2}
        assert {each.position for each in (*others, *rest)} == set(published)
        await consumer.close()

    # ------------------------------------------------------------------------------------- groups

    async def test_without_a_commit_everything_comes_again_after_a_restart(
        self, log: Log, topic: str, make_log: MakeLog
    ) -> None:
        await log.publish(topic, records(("a", "1"), ("b", "2")))
        consumer = await log.subscribe(topic, group="g")
        first = await take(consumer, 2)
        await consumer.close()
        await log.close()
        again = await make_log()
        try:
            consumer = await again.subscribe(topic, group="g")
            assert pairs(await take(consumer, 2)) == pairs(first)
            await consumer.close()
        finally:
            await again.close()

    async def test_reading_goes_on_at_the_commit_after_a_restart(self, log: Log, topic: str, make_log: MakeLog) -> None:
        await log.publish(topic, records(("a", "1"), ("a", "2"), ("a", "3")))
        consumer = await log.subscribe(topic, group="g")
        found = await take(consumer, 3)
        await consumer.commit(after(found[:1]))
        await consumer.close()
        await log.close()
        again = await make_log()
        try:
            consumer = await again.subscribe(topic, group="g")
            assert pairs(await take(consumer, 2)) == [("a", "2"), ("a", "3")]
            await consumer.close()
        finally:
            await again.close()

    async def test_a_commit_never_moves_backwards(self, log: Log, topic: str) -> None:
        await log.publish(topic, records(("a", "1"), ("a", "2"), ("a", "3")))
        consumer = await log.subscribe(topic, group="g")
        found = await take(consumer, 3)
        await consumer.commit(after(found[:2]))
        await consumer.commit(after(found[:1]))
        assert await consumer.lag() == 1
        await consumer.close()
        consumer = await log.subscribe(topic, group="g")
        assert pairs(await take(consumer, 1)) == [("a", "3")]
        await consumer.close()

    async def test_groups_read_independently(self, log: Log, topic: str) -> None:
        await log.publish(topic, records(("a", "1")))
        for group in ("g1", "g2"):
            consumer = await log.subscribe(topic, group=group)
            found = await take(consumer, 1)
            await consumer.commit(after(found))
            await consumer.close()

    async def test_lag_is_what_lies_between_commit_and_end(self, log: Log, topic: str) -> None:
        consumer = await log.subscribe(topic, group="g")
        assert await consumer.lag() == 0
        await log.publish(topic, records(*((f"k{number}", "x") for number in range(9))))
        assert await consumer.lag() == 9
        found = await take(consumer, 9)
        assert await consumer.lag() == 9
        await consumer.commit(after(found[:4]))
        assert await consumer.lag() == 9 - sum(after(found[:4]).values())
        await consumer.commit(after(found))
        assert await consumer.lag() == 0
        await consumer.close()

    async def test_the_members_of_a_group_share_the_records(self, log: Log, topic: str) -> None:
        consumers = [await log.subscribe(topic, group="g") for _ in range(2)]
        await log.publish(topic, records(*((f"k{number}", "x") for number in range(30))))
        found: list[Record] = []
        async with asyncio.timeout(PATIENCE):
            while len({each.position for each in found}) < 30:
                polled = await asyncio.gather(*(c.poll(max_records=10, timeout_seconds=0.2) for c in consumers))
                found += [each for part in polled for each in part]
        assert pairs(found) == sorted((f"k{number}", "x") for number in range(30))
        for consumer in consumers:
            await consumer.close()

    async def test_when_a_member_leaves_the_other_takes_over_what_it_did_not_commit(self, log: Log, topic: str) -> None:
        leaving, staying = [await log.subscribe(topic, group="g") for _ in range(2)]
        await log.publish(topic, records(*((f"k{number}", "x") for number in range(30))))
        handled: set[Position] = set()
        async with asyncio.timeout(PATIENCE):
            while not (polled := await leaving.poll(max_records=5, timeout_seconds=0.2)):
                await staying.poll(max_records=1, timeout_seconds=0.0)
        await leaving.commit(after(polled[:1]))
        await leaving.close()
        handled.add(polled[0].position)
        await staying.close()
        third = await log.subscribe(topic, group="g")
        async with asyncio.timeout(PATIENCE):
            while len(handled) < 30:
                handled |= {each.position for each in await third.poll(max_records=50, timeout_seconds=0.5)}
        await third.close()

    async def test_a_lone_reader_reads_from_the_end_on_and_commits_nothing(self, log: Log, topic: str) -> None:
        await log.publish(topic, records(("a", "old")))
        consumer = await log.subscribe(topic, group=None)
        assert list(await consumer.poll(max_records=10, timeout_seconds=0.2)) == []
        await log.publish(topic, records(("a", "new"), ("b", "new")))
        found = await take(consumer, 2)
        assert pairs(found) == [("a", "new"), ("b", "new")]
        await consumer.commit(after(found))
        await consumer.close()
        again = await log.subscribe(topic, group=None)
        assert list(await again.poll(max_records=10, timeout_seconds=0.2)) == []
        assert await again.lag() == 0
        await again.close()

    async def test_every_lone_reader_gets_every_record(self, log: Log, topic: str) -> None:
        readers = [await log.subscribe(topic, group=None) for _ in range(2)]
        await log.publish(topic, records(("a", "1"), ("b", "2")))
        for reader in readers:
            assert pairs(await take(reader, 2)) == [("a", "1"), ("b", "2")]
            await reader.close()

    # --------------------------------------------------------------------------------- compaction

    async def test_a_compacted_topic_gives_the_newest_of_each_key_last(
        self, log: Log, topic: str, make_log: MakeLog
    ) -> None:
        compacted = f"{topic}.compacted"
        await log.ensure_topic(compacted, partitions=PARTITIONS, compacted=True)
        for number in range(5):
            await log.publish(compacted, records(*((f"k{key}", str(number)) for key in range(6))))
        await log.close()
        again = await make_log()
        try:
            consumer = await again.subscribe(compacted, group="g")
            newest: dict[str, str] = {}
            async with asyncio.timeout(PATIENCE):
                while newest != {f"k{key}": "4" for key in range(6)}:
                    for each in await consumer.poll(max_records=100, timeout_seconds=0.5):
                        assert int(newest.get(each.key, "-1")) < int(each.value)
                        newest[each.key] = each.value.decode()
            await consumer.close()
        finally:
            await again.close()

    async def test_offsets_are_not_given_twice_after_compaction_and_restart(
        self, log: Log, topic: str, make_log: MakeLog
    ) -> None:
        compacted = f"{topic}.compacted"
        await log.ensure_topic(compacted, partitions=1, compacted=True)
        (last,) = [await log.publish(compacted, records(("a", value))) for value in "123"][-1]
        await log.close()
        again = await make_log()
        try:
            assert list(await again.publish(compacted, records(("a", "4")))) == [Position(0, last.offset + 1)]
            consumer = await again.subscribe(compacted, group="g")
            async with asyncio.timeout(PATIENCE):
                while not (found := await consumer.poll(max_records=100, timeout_seconds=0.5)):
                    pass
            assert (found[-1].value, found[-1].position) == (b"4", Position(0, last.offset + 1))
            await consumer.commit(after(found))
            assert await consumer.lag() == 0
            await consumer.close()
        finally:
            await again.close()
