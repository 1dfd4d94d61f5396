"""The embedded log keeps the contract of every log, survives a kill at any time, and stays small."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lectern_contract.errors import DataDirectoryError
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.adapters.sqlite_log_file import LogFile, Topic
from lectern_runtime.errors import LogError, TopicMismatch
from lectern_runtime.ports import OutgoingRecord, Position
from lectern_runtime_tests.contracts.log_contract import LogContract, MakeLog, RemoveTopic, after, pairs, records, take
from lectern_runtime_tests.contracts.rewind_contract import MakeRewindableLog, RewindContract

TOPIC = "lectern.test.kb.documents"

PUBLISHER = """
import asyncio, itertools, json, sys
from pathlib import Path
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.ports import OutgoingRecord, Position

async def main():
    log = await SqliteLog.open(Path(sys.argv[1]))
    await log.ensure_topic(sys.argv[2], partitions=2, compacted=False)
    for number in itertools.count():
        batch = [OutgoingRecord(f"k{n}", f"{number}.{n}".encode()) for n in range(1 + number % 4)]
        positions = await log.publish(sys.argv[2], batch)
        for record, position in zip(batch, positions):
            print(json.dumps([position.partition, position.offset, record.value.decode()]), flush=True)

asyncio.run(main())
"""


class TestSqliteLog(LogContract):
    @pytest.fixture
    def make_log(self, quick_path: Path) -> MakeLog:
        return lambda: SqliteLog.open(quick_path / "log.sqlite3")

    @pytest.fixture
    def remove_topic(self, quick_path: Path) -> RemoveTopic:
        async def remove(_: str) -> None:
            (quick_path / "log.sqlite3").unlink()

        return remove


class TestSqliteRewind(RewindContract):
    @pytest.fixture
    def make_log(self, quick_path: Path) -> MakeRewindableLog:
        return lambda: SqliteLog.open(quick_path / "log.sqlite3")


@pytest.fixture
async def log(quick_path: Path) -> AsyncIterator[SqliteLog]:
    opened = await SqliteLog.open(quick_path / "log.sqlite3")
    await opened.ensure_topic(TOPIC, partitions=1, compacted=False)
    yield opened
    await opened.close()


def publish_until_killed(path: Path, seconds: float) -> list[tuple[int, int, str]]:
    """Publish from another process, kill it, and return what it said was acknowledged."""
    command = [sys.executable, "-c", PUBLISHER, str(path), TOPIC]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()  # it is at work
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout]
    return [tuple(json.loads(line)) for line in lines if line.endswith("]\n")]


@pytest.mark.slow
async def test_what_was_acknowledged_outlives_a_kill_at_any_time(quick_path: Path) -> None:
    path = quick_path / "log.sqlite3"
    chance = random.Random(7)
    acknowledged: dict[tuple[int, int], str] = {}
    for _ in range(20):
        for partition, offset, value in publish_until_killed(path, chance.uniform(0.0, 0.15)):
            assert (partition, offset) not in acknowledged, "an offset was given twice"
            acknowledged[partition, offset] = value
    log = await SqliteLog.open(path)
    consumer = await log.subscribe(TOPIC, group="g")
    stored: dict[tuple[int, int], str] = {}
    while polled := await consumer.poll(max_records=1000, timeout_seconds=0.0):
        stored |= {(each.position.partition, each.position.offset): each.value.decode() for each in polled}
    await log.close()
    assert len(acknowledged) > 100
    assert acknowledged.items() <= stored.items()


async def test_the_newest_records_of_a_topic_are_retained(quick_path: Path) -> None:
    log = await SqliteLog.open(quick_path / "log.sqlite3", retained=5)
    await log.ensure_topic(TOPIC, partitions=1, compacted=False)
    for number in range(12):
        await log.publish(TOPIC, records(("a", str(number))))
    consumer = await log.subscribe(TOPIC, group="g")
    assert await consumer.lag() == 5
    assert pairs(await take(consumer, 5)) == sorted(("a", str(number)) for number in range(7, 12))
    await log.close()


async def test_a_compacted_topic_holds_one_record_of_each_key(quick_path: Path, log: SqliteLog) -> None:
    await log.ensure_topic("compacted", partitions=2, compacted=True)
    for number in range(20):
        await log.publish("compacted", records(*((f"k{key}", str(number)) for key in range(10))))
    consumer = await log.subscribe("compacted", group="g")
    assert await consumer.lag() == 10
    assert pairs(await take(consumer, 10)) == sorted((f"k{key}", "19") for key in range(10))


async def test_a_waiting_consumer_is_woken_at_once(log: SqliteLog) -> None:
    consumer = await log.subscribe(TOPIC, group="g")
    delays = []
    for number in range(20):
        waiting = asyncio.create_task(consumer.poll(max_records=1, timeout_seconds=5.0))
        await asyncio.sleep(0.002)
        await log.publish(TOPIC, records(("a", str(number))))
        published = time.perf_counter()
        assert len(await waiting) == 1
        delays.append(time.perf_counter() - published)
    assert sorted(delays)[10] < 0.005


async def test_members_that_join_and_leave_share_out_the_partitions(log: SqliteLog) -> None:
    await log.ensure_topic("wide", partitions=4, compacted=False)
    first = await log.subscribe("wide", group="g")
    await log.publish("wide", records(*((f"k{number}", "1") for number in range(16))))
    await first.commit(after(await take(first, 16)))
    second = await log.subscribe("wide", group="g")
    await log.publish("wide", records(*((f"k{number}", "2") for number in range(16))))
    shares = [list(await each.poll(max_records=100, timeout_seconds=1.0)) for each in (first, second)]
    partitions = [{each.position.partition for each in share} for share in shares]
    assert all(partitions)
    assert partitions[0].isdisjoint(partitions[1])
    assert sum(map(len, shares)) == 16
    await first.commit(after(shares[0]))
    await second.close()
    assert pairs(await take(first, len(shares[1]))) == pairs(shares[1])


def test_partitions_of_keys_are_even_and_never_change() -> None:
    topic = Topic(1, "t", "id", partitions=4, compacted=False)
    counts = Counter(topic.partition_of(f"key-{number}") for number in range(1000))
    assert set(counts) == {0, 1, 2, 3}
    assert min(counts.values()) > 200
    assert [topic.partition_of(key) for key in ("", "a", "ключ")] == [0, 3, 0]


async def test_a_long_backlog_of_one_partition_does_not_starve_another(log: SqliteLog) -> None:
    await log.ensure_topic("two", partitions=2, compacted=False)
    two = Topic(1, "two", "id", partitions=2, compacted=False)
    busy, quiet = (next(key for key in "abcdefgh" if two.partition_of(key) == wanted) for wanted in (0, 1))
    for _ in range(5):
        await log.publish("two", records((busy, "x")))
    assert list(await log.publish("two", records((quiet, "y")))) == [Position(1, 0)]
    consumer = await log.subscribe("two", group="g")
    seen = [each.value for _ in range(2) for each in await consumer.poll(max_records=2, timeout_seconds=0.0)]
    assert b"y" in seen


async def test_a_disk_that_fills_up_amid_a_batch_leaves_nothing_of_it(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = LogFile._append

    def fill_up(file: LogFile, topic: Topic, position: Position, record: OutgoingRecord, now_ms: int) -> None:
        if record.key == "c":
            raise sqlite3.OperationalError("database or disk is full")
        append(file, topic, position, record, now_ms)

    with monkeypatch.context() as patch:
        patch.setattr(LogFile, "_append", fill_up)
        with pytest.raises(LogError, match="disk is full"):
            await log.publish(TOPIC, records(("a", "1"), ("b", "2"), ("c", "3")))
    assert list(await log.publish(TOPIC, records(("d", "4")))) == [Position(0, 0)]
    consumer = await log.subscribe(TOPIC, group="g")
    assert pairs(await take(consumer, 1)) == [("d", "4")]


async def test_a_poll_is_bounded_by_bytes(log: SqliteLog) -> None:
    await log.ensure_topic("large", partitions=1, compacted=True)
    for number in range(20):
        await log.publish("large", [OutgoingRecord(f"k{number}", bytes(1 << 20))])
    consumer = await log.subscribe("large", group="g")
    assert len(await consumer.poll(max_records=100, timeout_seconds=0.0)) == 16


async def test_a_commit_beyond_the_end_is_refused(log: SqliteLog) -> None:
    consumer = await log.subscribe(TOPIC, group="g")
    with pytest.raises(LogError, match="ends at 0"):
        await consumer.commit({0: 1})
    with pytest.raises(LogError, match="partition 5"):
        await consumer.commit({5: 0})


async def test_impossible_asks_are_refused(log: SqliteLog) -> None:
    with pytest.raises(TopicMismatch, match="1 to 1000"):
        await log.ensure_topic("none", partitions=0, compacted=False)
    consumer = await log.subscribe(TOPIC, group="g")
    with pytest.raises(LogError, match="at least one"):
        await consumer.poll(max_records=0, timeout_seconds=0.0)
    await consumer.close()
    await consumer.close()
    with pytest.raises(LogError, match="subscribe again"):
        await consumer.poll(max_records=1, timeout_seconds=0.0)


async def test_closing_the_log_ends_a_poll_that_waits(log: SqliteLog) -> None:
    consumer = await log.subscribe(TOPIC, group="g")
    waiting = asyncio.create_task(consumer.poll(max_records=1, timeout_seconds=30.0))
    await asyncio.sleep(0.01)
    await log.close()
    await log.close()
    with pytest.raises(LogError, match="closed"):
        await asyncio.wait_for(waiting, 2.0)


async def test_a_second_opening_is_refused(quick_path: Path, log: SqliteLog) -> None:
    with pytest.raises(DataDirectoryError, match="in use"):
        await SqliteLog.open(quick_path / "log.sqlite3")
    assert await log.topic_id(TOPIC)


async def test_a_file_that_is_no_database_is_refused_and_kept(quick_path: Path) -> None:
    path = quick_path / "log.sqlite3"
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(DataDirectoryError, match="cannot be opened"):
        await SqliteLog.open(path)
    assert path.read_bytes() == b"no database at all" * 1000


async def test_a_file_of_a_newer_lectern_is_refused_and_kept(quick_path: Path, log: SqliteLog) -> None:
    await log.close()
    path = quick_path / "log.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(DataDirectoryError, match="newer version"):
        await SqliteLog.open(path)
