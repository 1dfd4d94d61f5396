"""Somebody else at a real Kafka: makes, changes and deletes topics, writes and commits, with aiokafka's own clients.

None of it goes through the operator's client, so that one checks the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

# aiokafka is published without type information.
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # type: ignore[import-untyped]
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]

SECONDS = 20.0
POLL_SECONDS = 0.02
_SET_ON_THE_TOPIC = 1


class KafkaUser:
    """A user with all rights at the broker `bootstrap`."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    async def make(self, name: str, *, partitions: int, configs: Mapping[str, str] | None = None) -> None:
        """Make a topic with one copy."""
        async with asyncio.timeout(SECONDS), _Admin(self.bootstrap) as admin:
            answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(configs or {}))])
            assert [code for _, code, *_ in answer.topic_errors] == [0], answer
            while name not in await admin.list_topics():
                await asyncio.sleep(POLL_SECONDS)

    async def drop(self, name: str) -> None:
        """Delete a topic and wait until it is gone."""
        async with asyncio.timeout(SECONDS), _Admin(self.bootstrap) as admin:
            answer = await admin.delete_topics([name])
            assert answer.topic_error_codes == [(name, 0)], answer
            while name in await admin.list_topics():
                await asyncio.sleep(POLL_SECONDS)

    async def set(self, name: str, configs: Mapping[str, str]) -> None:
        """Change settings of a topic and leave the others alone."""
        async with asyncio.timeout(SECONDS), _Admin(self.bootstrap) as admin:
            merged = {**await _settings(admin, name, only_set=True), **configs}
            (answer,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=merged)])
            assert [code for code, *_ in answer.resources] == [0], answer
            while not configs.items() <= (await _settings(admin, name)).items():
                await asyncio.sleep(POLL_SECONDS)

    async def setting(self, name: str, key: str) -> str:
        """Return one setting of a topic."""
        async with asyncio.timeout(SECONDS), _Admin(self.bootstrap) as admin:
            return (await _settings(admin, name))[key]

    async def topics(self) -> frozenset[str]:
        """Return the names of all topics."""
        async with asyncio.timeout(SECONDS), _Admin(self.bootstrap) as admin:
            return frozenset(await admin.list_topics())

    async def describe(self, name: str) -> None:
        """Ask for a topic as aiokafka does it: the broker makes one that is not there."""
        async with asyncio.timeout(SECONDS), _Admin(self.bootstrap) as admin:
            while not [each for each in await admin.describe_topics([name]) if each["error_code"] == 0]:
                await asyncio.sleep(POLL_SECONDS)

    async def write(self, name: str, messages: int | list[bytes]) -> None:
        """Append messages to partition 0, acknowledged by every copy that has to be in step."""
        values = [b"%d" % n for n in range(messages)] if isinstance(messages, int) else messages
        async with (
            asyncio.timeout(SECONDS),
            AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all") as producer,
        ):
            for value in values:
                await producer.send_and_wait(name, value, key=value, partition=0)

    async def read(self, name: str, count: int) -> list[bytes]:
        """Return the first `count` messages of partition 0."""
        partition = TopicPartition(name, 0)
        async with (
            asyncio.timeout(SECONDS),
            AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest") as consumer,
        ):
            consumer.assign([partition])
            return [(await consumer.getone(partition)).value for _ in range(count)]

    async def commit(self, group: str, name: str, offset: int) -> None:
        """Let a consumer group commit in partition 0."""
        partition = TopicPartition(name, 0)
        async with (
            asyncio.timeout(SECONDS),
            AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False) as consumer,
        ):
            consumer.assign([partition])
            await consumer.commit({partition: offset})


class _Admin:
    """aiokafka's admin client as a context."""

    def __init__(self, bootstrap: str) -> None:
        self._client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)

    async def __aenter__(self) -> AIOKafkaAdminClient:
        await self._client.start()
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


async def _settings(admin: AIOKafkaAdminClient, name: str, *, only_set: bool = False) -> dict[str, str]:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    ((_, _, _, _, entries),) = answer.resources
    return {key: value for key, value, _, source, *_ in entries if not only_set or source == _SET_ON_THE_TOPIC}
