"""Questions to one Kafka cluster about topics and groups, and the making of a topic; every call is bounded in time.

The parts of the Kafka log share one of these. It connects when it is first asked and again when it has to.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

# aiokafka is published without types.
from aiokafka.errors import (  # type: ignore[import-untyped]
    InvalidTopicError,
    KafkaError,
    NoError,
    StaleMetadata,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest  # type: ignore[import-untyped]
from aiokafka.protocol.commit import OffsetFetchRequest  # type: ignore[import-untyped]
from aiokafka.protocol.offset import OffsetRequest  # type: ignore[import-untyped]

from lectern_contract.topics import IN_SYNC, MAX_BATCH_BYTES, in_sync
from lectern_runtime.adapters import kafka_client
from lectern_runtime.adapters.kafka_access import FAILURES, Access
from lectern_runtime.adapters.kafka_protocol import Described
from lectern_runtime.errors import LogError, TopicMismatch, TopicUnknown

T = TypeVar("T")
ASK_SECONDS = 15.0
RETRY_SECONDS = 0.1
MOST_COPIES = 3
_TOPIC = 2
GROUP = 0
LATEST, EARLIEST = -1, -2
_UNKNOWN = {UnknownTopicOrPartitionError.errno, InvalidTopicError.errno}


class KafkaCluster:
    """One cluster as the log asks it."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._client: kafka_client.QuietClient | None = None
        self._connecting = asyncio.Lock()

    async def topic(self, name: str) -> Described:
        """Return the topic; raises TopicUnknown."""
        return await self.asked(lambda client: self.found(client, name))

    async def make_topic(self, name: str, *, partitions: int, compacted: bool) -> None:
        """Make the topic when it is absent; raises TopicMismatch when it is there and another one."""
        await self.asked(lambda client: self._make(client, name, partitions, compacted))
        found = await self.topic(name)
        policy = await self.asked(lambda client: _cleanup_policy(client, name))
        if (len(found.leaders), policy) != (partitions, _policy(compacted)):
            raise TopicMismatch(
                f"the topic {name!r} has {len(found.leaders)} partitions with clean-up {policy!r}, asked for are "
                f"{partitions} with {_policy(compacted)!r}; delete the topic or take another name"
            )

    async def ends(self, name: str) -> dict[int, int]:
        """Return by partition the offset that the next record gets; raises TopicUnknown."""
        return await self.asked(lambda client: self.offsets(client, name, LATEST))

    async def lag(self, name: str, group: str) -> int:
        """Return how many offsets of the topic lie behind what the group committed; raises TopicUnknown."""

        async def count(client: kafka_client.QuietClient) -> int:
            stands = await committed(client, name, group, await self.found(client, name))
            first = await self.offsets(client, name, EARLIEST)
            last = await self.offsets(client, name, LATEST)
            return sum(max(0, end - max(stands.get(each, -1), first[each])) for each, end in last.items())

        return await self.asked(count)

    async def close(self) -> None:
        """Close the connections."""
        async with self._connecting:
            client, self._client = self._client, None
            if client is not None:
                with contextlib.suppress(TimeoutError, *FAILURES):
                    await asyncio.wait_for(client.close(), kafka_client.CLOSE_SECONDS)

    async def asked(self, act: Callable[[kafka_client.QuietClient], Awaitable[T]]) -> T:
        """Run `act` until it succeeds or its time is over; what moves or is slow in the cluster passes."""
        last: BaseException | None = None
        try:
            async with asyncio.timeout(ASK_SECONDS):
                while True:
                    try:
                        return await act(await self._connected())
                    except KafkaError as error:
                        if not error.retriable:
                            raise
                        last = error
                    await asyncio.sleep(RETRY_SECONDS)
        except FAILURES as error:
            raise LogError(
                self.access.explained(last if isinstance(error, TimeoutError) and last else error)
            ) from error

    async def _connected(self) -> kafka_client.QuietClient:
        async with self._connecting:
            if self._client is None:
                client = kafka_client.new_client(self.access)
                await client.bootstrap()
                self._client = client
            return self._client

    async def found(self, client: kafka_client.QuietClient, name: str) -> Described:
        """Look the topic up within a call of `asked`; raises TopicUnknown."""
        found = await client.look((name,))
        client.cluster.update_metadata(found.plain)
        topic = found.topics[name]
        if topic.error_code in _UNKNOWN:
            raise TopicUnknown(name)
        check(topic.error_code)
        if not topic.leaders or min(topic.leaders.values()) < 0:
            raise StaleMetadata(f"topic {name} has no leaders yet")
        return topic

    async def _make(self, client: kafka_client.QuietClient, name: str, partitions: int, compacted: bool) -> None:
        cluster = await client.look((name,))
        client.cluster.update_metadata(cluster.plain)
        if cluster.topics[name].error_code not in _UNKNOWN:
            return
        copies = min(MOST_COPIES, cluster.brokers)
        configs = {
            "cleanup.policy": _policy(compacted),
            IN_SYNC: str(in_sync(copies)),
            "max.message.bytes": str(MAX_BATCH_BYTES),
        }
        wanted: list[tuple[Any, ...]] = [(name, partitions, copies, [], sorted(configs.items()))]
        request = CreateTopicsRequest(wanted, int(kafka_client.REQUEST_SECONDS * 1000), False)
        answer = await client.send(cluster.controller, request)
        for _, code, *_ in answer.topic_errors:
            if code != TopicAlreadyExistsError.errno:
                check(code)
        # The brokers hear of it from the controller a moment later.
        raise StaleMetadata(f"topic {name} is being made")

    async def offsets(self, client: kafka_client.QuietClient, name: str, when: int) -> dict[int, int]:
        """Look up by partition, within a call of `asked`, the first offset of a moment (ms since 1970 UTC) or later.

        -1 where there is none. `when` may be EARLIEST or LATEST, the end.
        """
        leaders = (await self.found(client, name)).leaders
        found: dict[int, int] = {}
        for leader in sorted(set(leaders.values())):
            asked = [(each, when) for each, led in sorted(leaders.items()) if led == leader]
            answer = await client.send(leader, OffsetRequest(-1, 0, [(name, asked)]))
            for number, code, _, offset in answer.topics[0][1]:
                check(code)
                found[number] = offset
        return found


async def committed(client: kafka_client.QuietClient, name: str, group: str, topic: Described) -> Mapping[int, int]:
    """Return what the group committed by partition, -1 for nothing."""
    coordinator = await client.coordinator_lookup(GROUP, group)
    answer = await client.send(coordinator, OffsetFetchRequest(group, [(name, sorted(topic.leaders))]))
    check(getattr(answer, "error_code", 0))
    for _, partitions in answer.topics:
        for each in partitions:
            check(each[3])
    return {each[0]: each[1] for _, partitions in answer.topics for each in partitions}


async def _cleanup_policy(client: kafka_client.QuietClient, name: str) -> str:
    node = client.get_random_node()
    answer = await client.send(node, DescribeConfigsRequest([(_TOPIC, name, ["cleanup.policy"])]))
    ((code, _, _, _, entries),) = answer.resources
    check(code)
    return str(entries[0][1])


def _policy(compacted: bool) -> str:
    return "compact" if compacted else "delete"


def check(code: int) -> None:
    """Raise what a broker means by `code`; nothing for 0."""
    error = for_code(code)
    if error is not NoError:
        raise error
