"""The embedded log: topics with consumer groups in one SQLite file, for one process.

The composition of the embedded mode opens one; connectors publish to it, workers and the query runtime read it. It
turns calls of the port into jobs of one thread and wakes waiting consumers as soon as a record is durable.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from lectern_runtime.adapters.sqlite_log_file import LogFile, Topic
from lectern_runtime.errors import GroupInUse, LogError
from lectern_runtime.ports import GroupState, OutgoingRecord, Position, Record

P = ParamSpec("P")
R = TypeVar("R")

RETAINED = 100_000  # records of a partition that is not compacted: events, audit and dead letters
_MOST_BYTES_A_POLL = 16 << 20


class SqliteLog:
    """The `Log` of the embedded mode.

    A compacted topic keeps each key's newest record; any other keeps the newest `retained` of each partition.
    Offsets are never given twice. Keys go to partitions by a hash.
    """

    def __init__(self, file: LogFile, thread: ThreadPoolExecutor, *, now: Callable[[], float]) -> None:
        self._file = file
        self._thread = thread
        self._now = now
        self._closed = False
        self._changes: Counter[str] = Counter()  # by topic: publications, and changes of its groups
        self._changed = asyncio.Condition()
        self._members: dict[tuple[str, str], list[SqliteConsumer]] = {}

    @classmethod
    async def open(cls, path: Path, *, retained: int = RETAINED, now: Callable[[], float] = time.time) -> SqliteLog:
        """Open or make the log in the file `path`; `now` gives seconds since 1970 UTC.

        Raises DataDirectoryError when the file is in use, damaged or written by a newer Lectern.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-log")
        try:
            file = await asyncio.get_running_loop().run_in_executor(
                thread, lambda: LogFile.open(path, retained=retained)
            )
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(file, thread, now=now)

    async def close(self) -> None:
        """Let what runs end and close the file; consumers that wait get LogError. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        await self._wake()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._file.close)
        self._thread.shutdown()

    async def ensure_topic(self, topic: str, *, partitions: int, compacted: bool) -> None:
        """Make the topic when it is absent; raises TopicMismatch when it exists otherwise."""
        await self.run(lambda: self._file.ensure_topic(topic, partitions=partitions, compacted=compacted))

    async def topic_id(self, topic: str) -> str:
        """Identity of the topic, made at random when the topic was; raises TopicUnknown."""
        return (await self.run(self._file.topic, topic)).id

    async def publish(self, topic: str, records: Sequence[OutgoingRecord]) -> Sequence[Position]:
        """Append all records or none; returns their positions once they are on the disk."""
        if not records:
            return []
        now_ms = int(self._now() * 1000)
        positions = await self.run(lambda: self._file.publish(self._file.topic(topic), records, now_ms=now_ms))
        self._changes[topic] += 1
        await self._wake()
        return positions

    async def subscribe(self, topic: str, *, group: str | None) -> SqliteConsumer:
        """Join `group` on `topic`, whose partitions its members share; raises TopicUnknown."""
        found = await self.run(self._file.topic, topic)
        if group is None:
            return SqliteConsumer(self, self._file, found, None, await self.run(self._file.ends, found))
        consumer = SqliteConsumer(self, self._file, found, group, {})
        self._members.setdefault((topic, group), []).append(consumer)
        await self._share_out(topic, group)
        return consumer

    async def read_from_start(self, topic: str) -> SqliteConsumer:
        """Read all of `topic` alone and commit nothing; raises TopicUnknown."""
        found = await self.run(self._file.topic, topic)
        ends = await self.run(self._file.ends, found)
        return SqliteConsumer(self, self._file, found, None, dict.fromkeys(ends, 0))

    async def lag(self, topic: str, *, group: str) -> int:
        """Records that stand after what the group committed, in all partitions, read without joining it."""

        def count() -> int:
            found = self._file.topic(topic)
            return self._file.count_from(found, self._file.committed(found, group))

        return await self.run(count)

    async def group_state(self, topic: str, *, group: str, since_ms: int | None = None) -> GroupState:
        """Who of this process reads in the group, and where it stands; raises TopicUnknown."""
        standings = await self.run(lambda: self._file.standings(self._file.topic(topic), group, since_ms))
        members = len(self._members.get((topic, group), []))
        return GroupState(tuple(f"reader {number} of this process" for number in range(1, members + 1)), standings)

    async def set_back(self, topic: str, *, group: str, to: Mapping[int, int]) -> None:
        """Let the group go on at these offsets; raises GroupInUse while this process reads in it."""
        state = await self.group_state(topic, group=group)
        if state.members:
            raise GroupInUse(group, state.members)
        await self.run(lambda: self._file.set_back(self._file.topic(topic), group, dict(to)))

    # ----------------------------------------------------------------------- for the consumers only

    def changes(self, topic: str) -> int:
        """How many times something was published to the topic, or a member joined or left, since the opening."""
        return self._changes[topic]

    async def wait_for_change(self, topic: str, *, since: int, seconds: float) -> None:
        """Return when `changes` is no longer `since`, or when the time is over; now and then for no reason."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                if self._changes[topic] == since and not self._closed:
                    await self._changed.wait()
        except TimeoutError:
            return

    async def leave(self, consumer: SqliteConsumer) -> None:
        """Give the partitions of the consumer to the other members of its group."""
        key = (consumer.topic.name, consumer.group or "")
        members = self._members.get(key, [])
        if consumer in members:
            members.remove(consumer)
            await self._share_out(*key)

    async def run(self, job: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the job in the file's thread; errors of SQLite come out as LogError."""
        if self._closed:
            raise LogError("the log was closed; open it again before further calls")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: job(*args, **kwargs))
        except sqlite3.Error as error:
            raise LogError(f"the log's file failed: {error}; check the disk's space and health") from error

    async def _share_out(self, topic: str, group: str) -> None:
        members = self._members[topic, group]
        for index, member in enumerate(members):
            member.assign(range(index, member.topic.partitions, len(members)))
        self._changes[topic] += 1
        await self._wake()

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class SqliteConsumer:
    """A member of a group (or a lone reader) of one topic; made by `SqliteLog.subscribe`."""

    def __init__(
        self, log: SqliteLog, file: LogFile, topic: Topic, group: str | None, positions: Mapping[int, int]
    ) -> None:
        self.topic = topic
        self.group = group
        self._log = log
        self._file = file
        self._positions: dict[int, int | None] = dict(positions)  # None: where the group's commit stands
        self._paused: frozenset[int] = frozenset()
        self._closed = False
        self._one_poll = asyncio.Lock()

    def pause(self, partitions: Collection[int]) -> None:
        """Give out nothing of these partitions from now on, and of all others again."""
        self._paused = frozenset(partitions)

    def taken_over(self) -> frozenset[int]:
        """None: only this process reads and writes its data directory."""
        return frozenset()

    async def poll(self, *, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        """Next records, in order within each partition, at most `max_records` and 16 MiB (but at least one)."""
        if max_records < 1:
            raise LogError(f"a poll of topic {self.topic.name!r} must ask for at least one record")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        async with self._one_poll:
            while True:
                self._check_open()
                seen = self._log.changes(self.topic.name)
                records = await self._read(max_records)
                remaining = deadline - loop.time()
                if records or remaining <= 0:
                    return records
                await self._log.wait_for_change(self.topic.name, since=seen, seconds=remaining)

    async def commit(self, next_offsets: Mapping[int, int]) -> None:
        """Make the group's next offsets durable, never backwards; a lone reader commits nothing."""
        self._check_open()
        if self.group is not None and next_offsets:
            await self._log.run(self._file.commit, self.topic, self.group, dict(next_offsets))

    async def lag(self) -> int:
        """Records that stand after what the group committed, in all partitions; after what a lone reader read."""

        def count() -> int:
            if self.group is None:
                positions = {partition: offset or 0 for partition, offset in self._positions.items()}
            else:
                positions = self._file.committed(self.topic, self.group)
            return self._file.count_from(self.topic, positions)

        return await self._log.run(count)

    async def close(self) -> None:
        """Leave the group, whose other members take over; nothing is committed."""
        if not self._closed:
            self._closed = True
            await self._log.leave(self)

    def assign(self, partitions: range) -> None:
        """Read these partitions from now on; new ones from the group's commit, kept ones from where they stand."""
        self._positions = {partition: self._positions.get(partition) for partition in partitions}

    def _check_open(self) -> None:
        if self._closed:
            raise LogError(f"this consumer of topic {self.topic.name!r} was closed; subscribe again")

    async def _read(self, max_records: int) -> list[Record]:
        asked = {each: offset for each, offset in self._positions.items() if each not in self._paused}

        def read() -> list[Record]:
            group = self.group
            starts = self._file.committed(self.topic, group) if group and None in asked.values() else {}
            positions = {p: starts[p] if offset is None else offset for p, offset in asked.items()}
            return self._file.read(self.topic, positions, max_records=max_records, max_bytes=_MOST_BYTES_A_POLL)

        found = await self._log.run(read)
        # A partition that was given to another member meanwhile is that member's to read.
        records = [record for record in found if record.position.partition in self._positions]
        for record in records:
            partition, offset = record.position.partition, record.position.offset
            # Behind all others, so that a long backlog of one partition does not starve them.
            self._positions.pop(partition)
            self._positions[partition] = offset + 1
        return records
