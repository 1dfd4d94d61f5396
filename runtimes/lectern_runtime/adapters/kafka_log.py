"""The log on a Kafka cluster: topics that the operator made, an idempotent producer, consumer groups.

Composition opens one in each program whose settings name a cluster. Nothing is connected before the first call, so a
cluster that is away is a `LogError` of that call, and the next call tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeVar

from lectern_contract.errors import ConfigurationError
from lectern_contract.settings import KafkaLog as KafkaSettings
from lectern_runtime.adapters import kafka_rewind
from lectern_runtime.adapters.kafka_access import Access
from lectern_runtime.adapters.kafka_client import silence_loggers
from lectern_runtime.adapters.kafka_cluster import KafkaCluster
from lectern_runtime.adapters.kafka_consume import GroupConsumer, LoneReader
from lectern_runtime.adapters.kafka_publish import KafkaPublisher
from lectern_runtime.errors import LogError
from lectern_runtime.ports import GroupState, OutgoingRecord, Position

C = TypeVar("C", GroupConsumer, LoneReader)


class KafkaLog:
    """The `Log` of a cluster. Keys go to partitions as Kafka's own clients send them.

    Lag counts offsets: of a compacted topic it may count records that are gone, never too few. The time of a record is
    the publisher's unless the topic says otherwise.
    """

    def __init__(self, settings: KafkaSettings, *, member: str | None = None) -> None:
        """Make no connection yet; must be called in a running event loop.

        `member` is a name that this process alone has, and has again after a restart: groups then know it as a static
        member.
        """
        self._member = member
        silence_loggers()
        self._cluster = KafkaCluster(Access(settings))
        self._publisher = KafkaPublisher(self._cluster)
        self._consumers: list[GroupConsumer | LoneReader] = []
        self._closed = False

    async def close(self) -> None:
        """Leave the groups and close the connections, whatever the cluster does. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*(each.close() for each in self._consumers))
        await self._publisher.close()
        await self._cluster.close()

    async def ensure_topic(self, topic: str, *, partitions: int, compacted: bool) -> None:
        """Make the topic when it is absent, with up to three copies; raises TopicMismatch when it is another one."""
        self._check_open()
        await self._cluster.make_topic(topic, partitions=partitions, compacted=compacted)

    async def topic_id(self, topic: str) -> str:
        """Identity that the cluster gave the topic; raises TopicUnknown."""
        self._check_open()
        found = (await self._cluster.topic(topic)).id
        if found is None:
            raise ConfigurationError(
                f"spec.messaging: {self._cluster.access.servers} tells no topic ids; use Kafka 3.1 or newer"
            )
        return found

    async def publish(self, topic: str, records: Sequence[OutgoingRecord]) -> Sequence[Position]:
        """Append the records and return their positions once all copies in step have them; see `KafkaPublisher`."""
        self._check_open()
        return await self._publisher.publish(topic, records) if records else []

    async def subscribe(self, topic: str, *, group: str | None) -> GroupConsumer | LoneReader:
        """Join `group`, or read alone from the end on; raises TopicUnknown."""
        self._check_open()
        found = await self._cluster.topic(topic)
        if group is None:
            return await self._started(LoneReader(self._cluster, topic, found.id, await self._cluster.ends(topic)))
        return await self._started(
            GroupConsumer(self._cluster, topic, found.id, len(found.leaders), group, self._member)
        )

    async def read_from_start(self, topic: str) -> LoneReader:
        """Read all of `topic` alone and commit nothing; raises TopicUnknown."""
        self._check_open()
        found = await self._cluster.topic(topic)
        return await self._started(LoneReader(self._cluster, topic, found.id, dict.fromkeys(found.leaders, 0)))

    async def _started(self, consumer: C) -> C:
        await consumer.running()
        self._consumers = [each for each in self._consumers if not each.closed]
        self._consumers.append(consumer)
        return consumer

    async def lag(self, topic: str, *, group: str) -> int:
        """Offsets between what the group committed and the end, in all partitions, read without joining it."""
        self._check_open()
        return await self._cluster.lag(topic, group)

    async def group_state(self, topic: str, *, group: str, since_ms: int | None = None) -> GroupState:
        """Who reads in the group and where it stands; raises TopicUnknown."""
        self._check_open()
        return await kafka_rewind.group_state(self._cluster, topic, group, since_ms)

    async def set_back(self, topic: str, *, group: str, to: Mapping[int, int]) -> None:
        """Let the group go on at these offsets; the cluster itself refuses it while the group has members."""
        self._check_open()
        await kafka_rewind.set_back(self._cluster, topic, group, to)

    def _check_open(self) -> None:
        if self._closed:
            raise LogError("the log was closed; open it again before further calls")
