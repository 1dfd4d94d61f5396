"""The log on Kafka keeps the contract of every log against a real broker, and stands what only a broker can do."""

from __future__ import annotations

import asyncio
import contextlib
import time
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]  # published without types
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions  # type: ignore[import-untyped]  # as above

from e2e.adapter_tests.kafka_world import BOUND, polling, settings, until_refused, until_works
from e2e.operator_tests.kafka_user import KafkaUser
from e2e.testbed.kafka import Kafka
from lectern_runtime.adapters import kafka_client, kafka_consume
from lectern_runtime.adapters.kafka_log import KafkaLog
from lectern_runtime.errors import LogError, TopicMismatch, TopicUnknown
from lectern_runtime.ports import Consumer, Record
from lectern_runtime_tests.contracts.log_contract import (
    LogContract,
    MakeLog,
    RemoveTopic,
    after,
    pairs,
    records,
    take,
)


class TestKafkaLog(LogContract):
    @pytest.fixture
    def make_log(self, kafka: Kafka) -> MakeLog:
        async def make() -> KafkaLog:
            return KafkaLog(settings(kafka.bootstrap))

        return make

    @pytest.fixture
    def remove_topic(self, kafka: Kafka) -> RemoveTopic:
        return KafkaUser(kafka.bootstrap).drop


@pytest.fixture
async def topic(kafka: Kafka) -> str:
    """Return a topic of three partitions, made by somebody else."""
    name = f"lectern.test.kb-{uuid.uuid4().hex[:8]}.events"
    await KafkaUser(kafka.bootstrap).make(name, partitions=3, configs={"min.insync.replicas": "1"})
    return name


@pytest.fixture
async def log(kafka: Kafka) -> AsyncIterator[KafkaLog]:
    opened = KafkaLog(settings(kafka.bootstrap))
    yield opened
    await opened.close()


def numbered(first: int, last: int) -> list[tuple[str, str]]:
    return [(f"k{number}", str(number)) for number in range(first, last)]


# ------------------------------------------------------------------------------------------- topics


async def test_no_call_makes_a_topic(kafka: Kafka, log: KafkaLog) -> None:
    name = f"lectern.test.kb-{uuid.uuid4().hex[:8]}.absent"
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: log.topic_id(name),
        lambda: log.publish(name, records(("a", "1"))),
        lambda: log.subscribe(name, group="g"),
        lambda: log.subscribe(name, group=None),
        lambda: log.lag(name, group="g"),
    ]
    for call in calls:
        with pytest.raises(TopicUnknown):
            await call()
    assert name not in await KafkaUser(kafka.bootstrap).topics()


async def test_a_topic_that_is_deleted_under_its_users_is_not_made_by_them(
    kafka: Kafka, log: KafkaLog, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(kafka_client.OPTIONS, "metadata_max_age_ms", 500)
    consumer, reader = await log.subscribe(topic, group="g"), await log.subscribe(topic, group=None)
    await log.publish(topic, records(("a", "1")))
    await KafkaUser(kafka.bootstrap).drop(topic)
    for each in (consumer, reader):
        assert topic in await until_refused(polling(each, []))
    with pytest.raises(LogError, match=topic):
        await log.publish(topic, records(("a", "2")))
    assert topic not in await KafkaUser(kafka.bootstrap).topics()


async def test_a_topic_made_anew_under_a_member_ends_its_reading(
    kafka: Kafka, log: KafkaLog, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(kafka_client.OPTIONS, "metadata_max_age_ms", 500)
    user = KafkaUser(kafka.bootstrap)
    consumer = await log.subscribe(topic, group="g")
    await log.publish(topic, records(("a", "1")))
    await take(consumer, 1)
    await user.drop(topic)
    await user.make(topic, partitions=3, configs={"min.insync.replicas": "1"})
    with pytest.raises(TopicMismatch, match="made anew"):
        await until_works(lambda: _never(consumer))


async def _never(consumer: Consumer) -> None:
    """Poll and find the log not available, so that only another error ends it."""
    await consumer.poll(max_records=1, timeout_seconds=0.1)
    raise LogError("go on")


async def test_a_lone_reader_reads_partitions_that_are_added(
    kafka: Kafka, log: KafkaLog, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(kafka_client.OPTIONS, "metadata_max_age_ms", 500)
    await log.publish(topic, records(("old", "1")))
    reader = await log.subscribe(topic, group=None)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_partitions({topic: NewPartitions(12)})
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for partition in range(12):
            await producer.send_and_wait(topic, b"%d" % partition, key=b"k", partition=partition)
    assert pairs(await take(reader, 12)) == sorted(("k", str(partition)) for partition in range(12))


# ------------------------------------------------------------------------------------------- groups


async def test_what_a_member_was_given_is_not_given_again_when_others_join_and_leave(log: KafkaLog, topic: str) -> None:
    staying = await log.subscribe(topic, group="g")
    await log.publish(topic, records(*numbered(0, 60)))
    given = await take(staying, 60)
    joining = await log.subscribe(topic, group="g")
    taken_over = await _drained(joining)
    kept = await _drained(staying)
    assert kept == []  # of the partitions that stayed
    assert {each.position.partition for each in taken_over} < {each.position.partition for each in given}
    await staying.commit(after(given))  # passes over what is not its own any more
    lost = {each.position.partition for each in taken_over}
    assert await log.lag(topic, group="g") == len([each for each in given if each.position.partition in lost])
    await joining.commit(after(taken_over))
    assert await log.lag(topic, group="g") == 0


async def _drained(consumer: Consumer) -> list[Record]:
    """Everything that comes until nothing came for two seconds."""
    found: list[Record] = []
    quiet = time.monotonic()
    while time.monotonic() - quiet < 2.0:
        if polled := await consumer.poll(max_records=100, timeout_seconds=0.2):
            found += polled
            quiet = time.monotonic()
    return found


async def test_a_commit_of_a_partition_that_came_back_does_not_go_behind_the_others_commit(
    log: KafkaLog, topic: str
) -> None:
    first = await log.subscribe(topic, group="g")
    await log.publish(topic, records(*numbered(0, 60)))
    given = await take(first, 60)
    await first.commit(dict.fromkeys(after(given), 1))
    second = await log.subscribe(topic, group="g")
    others = await _drained(second)
    await second.commit(after(others))
    await second.close()
    before = await log.lag(topic, group="g")
    assert 0 < before < 57
    await _drained(first)  # everything is its own again
    await first.commit(dict.fromkeys(after(others), 2))
    assert await log.lag(topic, group="g") == before
    await first.commit(after(given))
    assert await log.lag(topic, group="g") == 0


async def test_a_member_that_does_not_poll_keeps_its_partitions(log: KafkaLog, topic: str) -> None:
    busy = await log.subscribe(topic, group="g")
    await log.publish(topic, records(*numbered(0, 9)))
    given = await busy.poll(max_records=100, timeout_seconds=5.0)
    # longer than a session: only heartbeats keep it
    await asyncio.sleep(kafka_consume.GROUP_OPTIONS["session_timeout_ms"] / 1000 + 1.0)
    await busy.commit(after(given))
    assert await busy.lag() == 9 - len(given)


async def test_a_reader_that_takes_nothing_makes_the_log_wait(
    log: KafkaLog, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_consume, "BUFFER_BYTES", 1 << 20)
    for _ in range(60):
        await log.publish(topic, records(*((f"k{number}", "x" * 100_000) for number in range(6))))
    consumer = await log.subscribe(topic, group="g")
    tracemalloc.start()
    try:
        assert len(await consumer.poll(max_records=1, timeout_seconds=5.0)) == 1
        await asyncio.sleep(1.5)  # time enough to read all of it ahead
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 5 << 20  # of 36 MB
    assert len(await _drained(consumer)) == 359


# --------------------------------------------------------------------------------------- membership


def shares(consumer: Consumer) -> set[int]:
    """Partitions that a member has now."""
    joined = consumer._consumer  # type: ignore[attr-defined]  # the port does not tell
    return {each.partition for each in joined.assignment()} if joined is not None else set()


async def settled(expected: int, *members: Consumer, seconds: float) -> None:
    """Poll all members until each has partitions, `expected` of them together."""
    async with asyncio.timeout(seconds):
        while True:
            for member in members:
                with contextlib.suppress(LogError):
                    await member.poll(max_records=1, timeout_seconds=0.05)
            found = [shares(member) for member in members]
            if all(found) and sum(map(len, found)) == expected == len(set().union(*found)):
                return


async def test_what_a_member_works_on_is_committed_before_another_gets_its_partitions(
    log: KafkaLog, topic: str
) -> None:
    await log.publish(topic, records(*numbered(0, 60)))
    first = await log.subscribe(topic, group="g")
    taken = await take(first, 60)
    joining = asyncio.create_task(log.subscribe(topic, group="g"))
    await asyncio.sleep(1.5)  # the group is shared out anew while the first still works on what it has
    await first.commit(after(taken))
    second = await joining
    await settled(3, first, second, seconds=BOUND)
    assert await second.poll(max_records=100, timeout_seconds=2) == []


async def test_a_member_that_comes_back_under_its_name_finds_its_partitions_and_moves_no_others(
    kafka: Kafka, topic: str
) -> None:
    logs = [KafkaLog(settings(kafka.bootstrap), member=name) for name in ("a", "b", "b")]
    try:
        a, b = [await each.subscribe(topic, group="g") for each in logs[:2]]
        await settled(3, a, b, seconds=BOUND)
        before = shares(a), shares(b)
        told: list[object] = []
        assert isinstance(a, kafka_consume.GroupConsumer)
        a.assigned = told.append  # type: ignore[method-assign,assignment]  # it would be told of another share
        began = time.monotonic()
        again = await logs[2].subscribe(topic, group="g")  # as after a SIGKILL: nobody said good-bye
        await again.poll(max_records=1, timeout_seconds=0.5)
        await a.poll(max_records=1, timeout_seconds=2)
        assert (shares(a), shares(again)) == before
        assert told == []
        assert time.monotonic() - began < 8, "the session of the dead one was not waited for"
    finally:
        await asyncio.gather(*(each.close() for each in logs))


async def test_a_named_member_that_closes_leaves_at_once(kafka: Kafka, topic: str) -> None:
    logs = [KafkaLog(settings(kafka.bootstrap), member=name) for name in ("a", "b")]
    try:
        a, b = [await each.subscribe(topic, group="g") for each in logs]
        await settled(3, a, b, seconds=BOUND)
        await b.close()
        await settled(3, a, seconds=8)  # less than the ten seconds of a session
    finally:
        await asyncio.gather(*(each.close() for each in logs))
