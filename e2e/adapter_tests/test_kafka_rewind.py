"""Groups of a real Kafka are sent back: the contract of every log, and what only a broker can do to it.

What the command did is looked at with aiokafka's own clients, so that one checks the other.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]  # no types
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]  # as above
from aiokafka.admin.records_to_delete import RecordsToDelete  # type: ignore[import-untyped]  # as above
from aiokafka.errors import CommitFailedError  # type: ignore[import-untyped]  # as above

from e2e.adapter_tests.kafka_world import settings
from e2e.operator_tests.kafka_user import KafkaUser
from e2e.testbed.kafka import OWNER, STRANGER, Kafka
from lectern_contract.errors import ConfigurationError
from lectern_contract.settings import canonical
from lectern_runtime.adapters.kafka_log import KafkaLog
from lectern_runtime.errors import LogError
from lectern_runtime.maintain import __main__ as program
from lectern_runtime.maintain.rewind import Rewind, Target, act
from lectern_runtime_tests.contracts.log_contract import after, take
from lectern_runtime_tests.contracts.rewind_contract import MakeRewindableLog, RewindContract
from lectern_runtime_tests.pipeline import worker_settings

NOON_MS = 1_767_268_800_000
"""2026-01-01T12:00:00Z; the messages of each partition are a minute apart from then on."""
MINUTE_MS = 60_000
PARTITIONS, MESSAGES = 3, 10
PATIENCE = 30.0
COMPACTION_SECONDS = 90.0


class TestKafkaRewind(RewindContract):
    @pytest.fixture
    def make_log(self, kafka: Kafka) -> MakeRewindableLog:
        async def make() -> KafkaLog:
            return KafkaLog(settings(kafka.bootstrap))

        return make


@dataclass
class Group:
    """The workers' group of a knowledge base of its own, whose messages have times that the tests know."""

    bootstrap: str
    name: str
    log: KafkaLog

    @property
    def topic(self) -> str:
        """The documents."""
        return f"lectern.test.{self.name}.documents"

    @property
    def id(self) -> str:
        """Its consumer group."""
        return f"lectern.test.{self.name}.g1"

    @property
    def rewind(self) -> Rewind:
        """What sends it back."""
        return Rewind(self.log, namespace="test", knowledge_base=self.name, generation=1)

    async def write(self) -> None:
        """Write `MESSAGES` a minute apart into each partition."""
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            for partition in range(PARTITIONS):
                for number in range(MESSAGES):
                    moment = NOON_MS + number * MINUTE_MS
                    value = b"%d" % number
                    await producer.send_and_wait(
                        self.topic, value, key=b"k%d" % (number % 3), partition=partition, timestamp_ms=moment
                    )

    async def commit(self, *offsets: int) -> None:
        """Commit an offset of each partition as Kafka's own tools do, which look at nothing."""
        places = {TopicPartition(self.topic, number): offset for number, offset in enumerate(offsets)}
        async with AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=self.id, enable_auto_commit=False
        ) as consumer:
            consumer.assign(list(places))
            await consumer.commit(places)

    async def committed(self) -> list[int]:
        """The offset of each partition that the broker tells others."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(self.id)
        finally:
            await admin.close()
        return [found[TopicPartition(self.topic, number)].offset for number in range(PARTITIONS)]

    async def told(self, target: Target, *partitions: int, dry_run: bool = False) -> str:
        """Rewind and return what was said."""
        said: list[str] = []
        await act(self.rewind, target, partitions, dry_run=dry_run, agree=lambda _: True, say=said.append)
        return "".join(said)

    def lines(self, *lines: str) -> str:
        """The whole of what is said, its first line made up for."""
        head = f"group {self.id} on topic {self.topic}"
        return "".join(f"{line}\n" for line in (head, *lines))


@pytest.fixture
async def group(kafka: Kafka) -> AsyncIterator[Group]:
    log = KafkaLog(settings(kafka.bootstrap))
    found = Group(kafka.bootstrap, f"kb-{uuid.uuid4().hex[:8]}", log)
    configs = {"min.insync.replicas": "1", "cleanup.policy": "compact"}
    await KafkaUser(kafka.bootstrap).make(found.topic, partitions=PARTITIONS, configs=configs)
    await found.write()
    yield found
    await log.close()


# --------------------------------------------------------------------------------------------- moves


async def test_a_group_goes_back_to_a_moment_where_that_lies_behind_it(group: Group) -> None:
    await group.commit(10, 4, 7)
    moment = Target(since=(NOON_MS + 5 * MINUTE_MS - 30_000) / 1000)  # between the fifth message and the sixth
    planned = (
        "partition 0: committed 10, new 5, at most 5 messages again",
        "partition 1: committed 4, stays: offset 5 lies ahead, and nothing is skipped",
        "partition 2: committed 7, new 5, at most 2 messages again",
    )
    summary = "2 of 3 partitions, at most 7 messages again"
    assert await group.told(moment, dry_run=True) == group.lines(*planned, f"dry run, nothing was written: {summary}")
    assert await group.committed() == [10, 4, 7]
    assert await group.told(moment) == group.lines(*planned, f"rewound: {summary}")
    assert await group.committed() == [5, 4, 5]
    consumer = await group.log.subscribe(group.topic, group=group.id)
    found = await take(consumer, 5 + 6 + 5)
    await consumer.commit(after(found))
    assert await consumer.lag() == 0
    await consumer.close()


async def test_a_moment_after_all_messages_moves_nothing(group: Group) -> None:
    await group.commit(10, 4, 10)
    assert await group.told(Target(since=NOON_MS / 1000 + 86_400)) == group.lines(
        "partition 0: committed 10, stays: it is there already",
        "partition 1: committed 4, stays: offset 10 lies ahead, and nothing is skipped",
        "partition 2: committed 10, stays: it is there already",
        "nothing to rewind",
    )
    assert await group.committed() == [10, 4, 10]


async def test_the_beginning_is_where_the_log_begins_and_not_where_it_once_did(group: Group, kafka: Kafka) -> None:
    await group.commit(10, 4, 10)
    await KafkaUser(kafka.bootstrap).set(group.topic, {"cleanup.policy": "compact,delete"})
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    places = {TopicPartition(group.topic, 1): RecordsToDelete(6), TopicPartition(group.topic, 2): RecordsToDelete(6)}
    await admin.delete_records(places)
    await admin.close()
    assert await group.told(Target()) == group.lines(
        "partition 0: committed 10, new 0, at most 10 messages again",
        "partition 1: committed 4, stays: it is read from the beginning anyway",
        "partition 2: committed 10, new 6, at most 4 messages again",
        "rewound: 2 of 3 partitions, at most 14 messages again",
    )
    assert await group.committed() == [0, 4, 6]
    consumer = await group.log.subscribe(group.topic, group=group.id)
    assert len(await take(consumer, 10 + 4 + 4)) == 18
    await consumer.close()


async def test_only_the_partitions_that_are_named_go_back(group: Group) -> None:
    await group.commit(10, 10, 10)
    assert await group.told(Target(by=3), 0, 2) == group.lines(
        "partition 0: committed 10, new 7, at most 3 messages again",
        "partition 2: committed 10, new 7, at most 3 messages again",
        "rewound: 2 of 2 partitions, at most 6 messages again",
    )
    assert await group.committed() == [7, 10, 7]


async def test_a_commit_of_an_earlier_life_of_the_topic_goes_to_the_beginning(group: Group) -> None:
    await group.commit(500, 10, 10)
    said = await group.told(Target(since=NOON_MS / 1000 + 86_400))
    assert "partition 0: committed 500 (the log ends at 10, so that this is of an earlier life of the topic)" in said
    assert await group.committed() == [0, 10, 10]


async def test_the_program_of_a_pod_does_it_by_its_settings_file(
    group: Group, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await group.commit(10, 10, 10)
    file = tmp_path / "settings.json"
    loaded = worker_settings(namespace="test", knowledge_base=group.name, log=settings(group.bootstrap))
    file.write_text(canonical(loaded))
    options = ["rewind", "--settings", str(file), "--to-time", "2026-01-01T12:08:00Z", "--partition=1", "--yes"]
    assert await asyncio.to_thread(program.main, options) == 0
    assert capsys.readouterr().out == group.lines(
        "partition 1: committed 10, new 8, at most 2 messages again",
        "rewound: 1 of 1 partitions, at most 2 messages again",
    )
    assert await group.committed() == [10, 8, 10]
    worker = await group.log.subscribe(group.topic, group=group.id)
    # 2 would tell the operator that a worker refuses its settings
    assert await asyncio.to_thread(program.main, ["rewind", "--settings", str(file), "--to-start", "--yes"]) == 1
    assert f"group {group.id} cannot be sent back: 1 member reads in it" in capsys.readouterr().err
    await worker.close()


@pytest.mark.slow
async def test_a_place_that_compaction_has_emptied_is_read_on_from(group: Group, kafka: Kafka) -> None:
    await group.commit(10, 10, 10)
    compact = {"segment.ms": "1", "min.cleanable.dirty.ratio": "0.0", "max.compaction.lag.ms": "1"}
    await KafkaUser(kafka.bootstrap).set(group.topic, compact)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for partition in range(PARTITIONS):  # which begins a segment, and so closes the one before
            await producer.send_and_wait(group.topic, b"last", key=b"last", partition=partition)
    async with asyncio.timeout(COMPACTION_SECONDS):
        while len(await _left(group)) > (3 + 1) * PARTITIONS:  # three keys, and the last one
            await asyncio.sleep(1)
    assert (await group.told(Target(by=8))).splitlines()[-1] == (
        "rewound: 3 of 3 partitions, at most 24 messages again"
    )
    assert await group.committed() == [2, 2, 2]
    consumer = await group.log.subscribe(group.topic, group=group.id)
    found = await take(consumer, (3 + 1) * PARTITIONS)
    assert {each.value for each in found} == {b"7", b"8", b"9", b"last"}
    await consumer.close()


async def _left(group: Group) -> list[bytes]:
    reader = await group.log.read_from_start(group.topic)
    found: list[bytes] = []
    while await reader.lag():
        found += [each.value for each in await reader.poll(max_records=500, timeout_seconds=0.2)]
    await reader.close()
    return found


# ------------------------------------------------------------------------------------------ refusals


async def test_a_worker_that_starts_while_a_person_thinks_is_not_moved_under_its_feet(
    group: Group, kafka: Kafka
) -> None:
    await group.commit(10, 10, 10)
    plan = await group.rewind.plan(Target())
    workers = KafkaLog(settings(kafka.bootstrap), member="guides-worker-7d9-x2x")
    worker = await workers.subscribe(group.topic, group=group.id)
    with pytest.raises(ConfigurationError) as refused:
        await group.rewind.carry_out(plan)
    said = str(refused.value)
    assert said.startswith(f"group {group.id} cannot be sent back: 1 member reads in it (guides-worker-7d9-x2x-")
    assert f"Set spec.suspend of KnowledgeBase/{group.name} to true, wait until none of its workers runs" in said
    with pytest.raises(CommitFailedError):  # which is what keeps the gap between looking and writing shut
        await group.commit(0, 0, 0)
    assert await group.committed() == [10, 10, 10]
    await worker.close()
    await workers.close()
    async with asyncio.timeout(PATIENCE):  # a farewell may be missed, and the session is waited for
        while (await group.rewind.plan(Target())).members:
            await asyncio.sleep(0.1)
    await group.rewind.carry_out(plan)
    assert await group.committed() == [0, 0, 0]


async def test_a_user_without_rights_is_told_so_and_changes_nothing(group: Group, kafka: Kafka, tmp_path: Path) -> None:
    await group.commit(10, 10, 10)
    at = kafka.at("SASL_PLAINTEXT")
    said = {}
    for user in (STRANGER, OWNER):
        login = tmp_path / user, tmp_path / f"{user}-password"
        login[0].write_text(user)
        login[1].write_text(kafka.passwords[user])
        protected = settings(at, protocol="SASL_PLAINTEXT", mechanism="PLAIN", login=login)
        log = KafkaLog(protected)
        rewind = Rewind(log, namespace="test", knowledge_base=group.name, generation=1)
        try:
            await rewind.carry_out(await rewind.plan(Target()))
        except LogError as error:
            said[user] = str(error)
            assert await group.committed() == [10, 10, 10]
        finally:
            await log.close()
    assert said == {
        STRANGER: f"{at} lets us in but gives no right to what is asked (TOPIC_AUTHORIZATION_FAILED): "
        "check its access rules"
    }
    assert await group.committed() == [0, 0, 0]
