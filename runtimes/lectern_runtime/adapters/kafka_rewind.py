"""Where a consumer group of a Kafka cluster stands, and its way back: what `KafkaLog` does for a person, not a reader.

A commit that names no member is taken by the group's coordinator only while the group has no members. So the broker
itself keeps a worker that starts at the same moment from reading on with offsets that were moved under it.
"""

from __future__ import annotations

from collections.abc import Mapping

# aiokafka is published without types.
from aiokafka.errors import (  # type: ignore[import-untyped]
    IllegalGenerationError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.protocol.admin import DescribeGroupsRequest  # type: ignore[import-untyped]
from aiokafka.protocol.commit import OffsetCommitRequest  # type: ignore[import-untyped]

from lectern_runtime.adapters.kafka_client import QuietClient
from lectern_runtime.adapters.kafka_cluster import EARLIEST, GROUP, LATEST, KafkaCluster, check, committed
from lectern_runtime.errors import GroupInUse
from lectern_runtime.ports import GroupState, Standing

_NO_MEMBER = ""
_NO_GENERATION = -1
_AS_LONG_AS_OTHERS = -1
_HAS_MEMBERS = {each.errno for each in (UnknownMemberIdError, IllegalGenerationError, RebalanceInProgressError)}


async def group_state(cluster: KafkaCluster, topic: str, group: str, since_ms: int | None) -> GroupState:
    """Return who reads in `group` and where it stands on `topic`; raises TopicUnknown, or LogError within its time."""

    async def look(client: QuietClient) -> GroupState:
        found = await cluster.found(client, topic)
        stands = await committed(client, topic, group, found)
        first = await cluster.offsets(client, topic, EARLIEST)
        since = await cluster.offsets(client, topic, max(0, since_ms)) if since_ms is not None else {}
        ends = await cluster.offsets(client, topic, LATEST)
        return GroupState(
            await _members(client, group),
            {
                number: Standing(
                    beginning=first[number],
                    end=end,
                    committed=stands[number] if stands.get(number, -1) >= 0 else None,
                    since=None if since_ms is None else since[number] if since[number] >= 0 else end,
                )
                for number, end in sorted(ends.items())
            },
        )

    return await cluster.asked(look)


async def set_back(cluster: KafkaCluster, topic: str, group: str, to: Mapping[int, int]) -> None:
    """Commit those of the offsets that lie behind what the group committed; raises GroupInUse, LogError."""

    async def commit(client: QuietClient) -> None:
        stands = await committed(client, topic, group, await cluster.found(client, topic))
        back = [(number, offset, "") for number, offset in sorted(to.items()) if offset < stands.get(number, -1)]
        if not back:
            return
        request = OffsetCommitRequest(group, _NO_GENERATION, _NO_MEMBER, _AS_LONG_AS_OTHERS, [(topic, back)])
        answer = await client.send(await client.coordinator_lookup(GROUP, group), request)
        codes = [code for _, partitions in answer.topics for _, code in partitions]
        if _HAS_MEMBERS.intersection(codes):
            raise GroupInUse(group, await _members(client, group))
        for code in codes:
            check(code)

    await cluster.asked(commit)


async def _members(client: QuietClient, group: str) -> tuple[str, ...]:
    """Return who reads in the group: a worker that has a name of its own bears it, and all of them their address."""
    coordinator = await client.coordinator_lookup(GROUP, group)
    ((code, _, _, _, _, members, *_),) = (await client.send(coordinator, DescribeGroupsRequest([group]))).groups
    check(code)
    return tuple(sorted(f"{member} at {host.lstrip('/')}" for member, _, host, *_ in members))
