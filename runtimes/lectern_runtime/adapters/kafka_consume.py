"""Reads one topic of Kafka, as a member of a consumer group or alone from the end on.

aiokafka reads ahead at most one answer for each partition and asks for no more before that is taken, so memory is
bounded by `BUFFER_BYTES` while a slow reader makes the log wait. Heartbeats go on whatever the reader does.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

# aiokafka is published without types.
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition  # type: ignore[import-untyped]

from lectern_runtime.adapters import kafka_client
from lectern_runtime.adapters.kafka_access import FAILURES
from lectern_runtime.adapters.kafka_cluster import KafkaCluster
from lectern_runtime.errors import LogError, TopicMismatch, TopicUnknown
from lectern_runtime.ports import Position, Record

JOIN_SECONDS = 45.0
COMMIT_SECONDS = 15.0
REVOKE_SECONDS = 3.0
"""How long the others wait for what a member is working on: beyond that it is done twice, which changes nothing."""
BUFFER_BYTES = 32 << 20
"""What is read ahead at most, where no single batch is larger than its partition's share."""
LEAST_PARTITION_BYTES = 32 << 10
MOST_PARTITION_BYTES = 1 << 20
GROUP_OPTIONS: Mapping[str, Any] = {
    "enable_auto_commit": False,
    "session_timeout_ms": 10_000,
    # A member hears of a rebalance with its next heartbeat: this is how long the others stand still.
    "heartbeat_interval_ms": 1_000,
    "rebalance_timeout_ms": 30_000,
    # Long work is no reason to leave; a reader that takes nothing for this long is stuck.
    "max_poll_interval_ms": 3_600_000,
}


class _Reader(ABC):
    """What both readers do: polls with bounds, errors in sentences, and a new start after a failure."""

    def __init__(self, cluster: KafkaCluster, topic: str, topic_id: str | None, partitions: int) -> None:
        self._cluster = cluster
        self._topic = topic
        self._topic_id = topic_id
        self._share = max(LEAST_PARTITION_BYTES, min(MOST_PARTITION_BYTES, BUFFER_BYTES // partitions))
        self._positions: dict[int, int] = {}  # of our partitions: what follows the last record that was given out
        self._consumer: Any = None
        self._client: kafka_client.QuietClient | None = None
        self._paused: frozenset[int] = frozenset()
        self._taken_over: frozenset[int] = frozenset()
        self._closed = False
        self._starting = asyncio.Lock()
        self._one_poll = asyncio.Lock()

    async def running(self) -> Any:
        """Return aiokafka's consumer, connected (and joined) if it is not; raises LogError within `JOIN_SECONDS`."""
        async with self._starting:
            self._check_open()
            if self._consumer is None:
                await self._start()
            return self._consumer

    async def _start(self) -> None:
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                await self._connect()
            self._check_open()
        except FAILURES as error:
            said = self._said(error)
            await self._drop()
            raise LogError(f"topic {self._topic!r} cannot be read: {said}") from error
        except BaseException:
            await self._drop()
            raise

    async def poll(self, *, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        """Next records, in order within each partition; raises LogError when no broker answers."""
        if max_records < 1:
            raise LogError(f"a poll of topic {self._topic!r} must ask for at least one record")
        async with self._one_poll:
            consumer = await self.running()
            self._check_topic()
            records = await self._polled(consumer, max_records, timeout_seconds)
            if not records and self._client is not None and self._client.failing is not None:
                raise LogError(f"topic {self._topic!r} cannot be read: {self._client.failing[1]}")
            return records

    def pause(self, partitions: Collection[int]) -> None:
        """Give out nothing of these partitions from now on, and of all others again; what was fetched stays bounded."""
        self._paused = frozenset(partitions)

    def taken_over(self) -> frozenset[int]:
        """Partitions that came to this member since the last call."""
        taken, self._taken_over = self._taken_over, frozenset()
        return taken

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    async def close(self) -> None:
        """Leave, without a commit."""
        if not self._closed:
            self._closed = True
            await self._drop()

    @abstractmethod
    async def _connect(self) -> None: ...

    async def _polled(self, consumer: Any, max_records: int, timeout_seconds: float) -> list[Record]:
        found: Mapping[Any, Sequence[Any]] = {}
        try:
            # While a group is sharing out its partitions aiokafka waits without an end.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds + 0.05):
                    wanted = self._wanted(consumer)
                    if self._paused and not wanted:
                        await asyncio.sleep(timeout_seconds)
                    else:
                        found = await consumer.getmany(
                            *wanted, timeout_ms=int(timeout_seconds * 1000), max_records=max_records
                        )
        except FAILURES as error:
            said = self._said(error)
            await self._drop()
            raise LogError(f"topic {self._topic!r} cannot be read: {said}") from error
        records = [_record(each) for part in found.values() for each in part]
        for each in records:
            self._positions[each.position.partition] = each.position.offset + 1
        return records

    def _wanted(self, consumer: Any) -> list[Any]:
        """Our partitions that are not paused; none, which means all to aiokafka, while nothing is paused."""
        if not self._paused:
            return []
        return [each for each in consumer.assignment() if each.partition not in self._paused]

    def _new_consumer(self, **options: Any) -> Any:
        consumer = AIOKafkaConsumer(
            **{**self._cluster.access.options(), **kafka_client.OPTIONS, **options},
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=self._share,
            fetch_max_bytes=BUFFER_BYTES // 4,
        )
        self._consumer = consumer
        self._client = kafka_client.tame(consumer._client, self._cluster.access)
        return consumer

    async def _drop(self) -> None:
        consumer, client = self._consumer, self._client
        self._consumer = self._client = None
        if consumer is not None and client is not None:
            await kafka_client.stopped(consumer, client)

    def _check_open(self) -> None:
        if self._closed:
            raise LogError(f"this consumer of topic {self._topic!r} was closed; subscribe again")

    def _check_topic(self) -> None:
        """Raise when the topic that was subscribed is no longer there: positions of the old one mean nothing."""
        seen = self._client.topics.get(self._topic) if self._client is not None else None
        if seen is None or self._topic_id is None:
            return
        if seen.id is None:
            raise TopicUnknown(self._topic)
        if seen.id != self._topic_id:
            raise TopicMismatch(
                f"the topic {self._topic!r} was deleted and made anew while it was read; start this program again"
            )

    def _said(self, error: BaseException) -> str:
        failing = self._client.failing if self._client is not None else None
        return failing[1] if failing is not None else self._cluster.access.explained(error)


class GroupConsumer(_Reader):
    """A member of a group; made and started by the log.

    With a `member` name it is a static one (KIP-345): a process that dies and comes back under that name within the
    session's time finds its partitions as it left them, and the others never stood still. A clean `close` leaves.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        topic: str,
        topic_id: str | None,
        partitions: int,
        group: str,
        member: str | None = None,
    ) -> None:
        super().__init__(cluster, topic, topic_id, partitions)
        self.group = group
        self._member = member
        self._committed: dict[int, int] = {}
        self._moved = asyncio.Event()

    async def commit(self, next_offsets: Mapping[int, int]) -> None:
        """Make the offsets durable, never backwards; those of partitions that others read by now are passed over.

        Raises LogError when the group is just being shared out anew, or no broker answers: ask again.
        """
        consumer = await self.running()
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                forward = await self._forward(consumer, next_offsets)
                if forward:
                    await consumer.commit({TopicPartition(self._topic, each): to for each, to in forward.items()})
                    self._committed.update(forward)
                    self._moved.set()
        except FAILURES as error:
            raise LogError(f"group {self.group!r} cannot commit: {self._said(error)}") from error

    async def lag(self) -> int:
        """Offsets behind the group's commits, in all partitions of the topic."""
        self._check_open()
        return await self._cluster.lag(self._topic, self.group)

    async def revoked(self, partitions: Iterable[Any]) -> None:
        """Let what was given out of these partitions be committed before another member gets them, for a while."""
        numbers = [each.partition for each in partitions]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REVOKE_SECONDS):
                while any(self._positions.get(each, 0) > self._committed.get(each, 0) for each in numbers):
                    self._moved.clear()
                    await self._moved.wait()

    def assigned(self, partitions: Iterable[Any]) -> None:
        """Go on where we stood in the partitions that stay ours: what was given out is not given out again."""
        self._committed.clear()
        ours = {each.partition: each for each in partitions}
        self._positions = {each: offset for each, offset in self._positions.items() if each in ours}
        self._taken_over = (self._taken_over | ours.keys()) - self._positions.keys()
        for each, offset in self._positions.items():
            self._consumer.seek(ours[each], offset)

    async def _connect(self) -> None:
        consumer = self._new_consumer(group_id=self.group, group_instance_id=self._member, **GROUP_OPTIONS)
        consumer.subscribe([self._topic], listener=_Listener(self))
        await consumer.start()

    async def _drop(self) -> None:
        if self._closed and self._consumer is not None:
            # aiokafka lets a static member go without a word, and the others would wait for its session to end.
            self._consumer._coordinator._group_instance_id = None
        await super()._drop()

    async def _forward(self, consumer: Any, next_offsets: Mapping[int, int]) -> dict[int, int]:
        """Return those of the offsets that lie behind what is committed, in partitions that are ours."""
        ours = {each.partition for each in consumer.assignment()}
        forward: dict[int, int] = {}
        for partition, offset in next_offsets.items():
            if partition not in ours:
                continue
            if partition not in self._committed:
                known = await consumer.committed(TopicPartition(self._topic, partition))
                self._committed[partition] = known or 0
            if offset > self._committed[partition]:
                forward[partition] = offset
        return forward


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells a member what the group does with its partitions."""

    def __init__(self, member: GroupConsumer) -> None:
        self._member = member

    async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        await self._member.revoked(revoked)

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        self._member.assigned(assigned)


class LoneReader(_Reader):
    """Reads all partitions from `positions` on and commits nothing; made and started by the log."""

    def __init__(self, cluster: KafkaCluster, topic: str, topic_id: str | None, positions: Mapping[int, int]) -> None:
        super().__init__(cluster, topic, topic_id, len(positions))
        self._positions = dict(positions)

    async def commit(self, next_offsets: Mapping[int, int]) -> None:
        """Do nothing: a reader alone has no place to commit to."""
        self._check_open()

    async def lag(self) -> int:
        """Offsets behind what was read, or passed over: a compacted topic has gaps, one with transactions marks."""
        self._check_open()
        ends = await self._cluster.ends(self._topic)
        consumer = await self.running()
        waiting = 0
        for each, end in ends.items():
            place = TopicPartition(self._topic, each)
            passed = await self._passed(consumer, place) if place in consumer.assignment() else 0
            waiting += max(0, end - max(passed, self._positions.get(each, 0)))
        return waiting

    async def _passed(self, consumer: Any, place: Any) -> int:
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                return int(await consumer.position(place))
        except FAILURES as error:
            raise LogError(f"topic {self._topic!r} cannot be read: {self._said(error)}") from error

    def _check_topic(self) -> None:
        super()._check_topic()
        seen = self._client.topics.get(self._topic) if self._client is not None else None
        added = set(seen.leaders) - set(self._positions) if seen is not None else set()
        if added:
            self._positions.update(dict.fromkeys(added, 0))
            self._assign()

    async def _connect(self) -> None:
        await self._new_consumer(group_id=None).start()
        self._assign()

    def _assign(self) -> None:
        places = {TopicPartition(self._topic, each): offset for each, offset in self._positions.items()}
        self._consumer.assign(list(places))
        for place, offset in places.items():
            self._consumer.seek(place, offset)


def _record(each: Any) -> Record:
    key = (each.key or b"").decode(errors="replace")
    return Record(Position(each.partition, each.offset), key, each.value or b"", each.timestamp)
