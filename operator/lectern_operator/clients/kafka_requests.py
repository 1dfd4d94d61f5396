"""The questions and steps of `kafka` in Kafka's own requests, over one session.

Each function asks, and reads answers whose shape is a list of tuples in the order of the protocol's fields.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, assert_never

# aiokafka is published without type information.
from aiokafka.errors import for_code  # type: ignore[import-untyped]
from aiokafka.protocol.admin import (  # type: ignore[import-untyped]
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DescribeConfigsRequest,
)
from aiokafka.protocol.commit import OffsetFetchRequest  # type: ignore[import-untyped]
from aiokafka.protocol.coordination import FindCoordinatorRequest  # type: ignore[import-untyped]
from aiokafka.protocol.offset import OffsetRequest  # type: ignore[import-untyped]

from lectern_contract.topics import CONFIG_KEYS, TopicDefinition
from lectern_operator.clients.kafka_connection import Session, answered
from lectern_operator.clients.kafka_protocol import TOPIC_RESOURCE, SetConfigs
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.broker import (
    AlterConfigs,
    BrokerState,
    CreateTopics,
    DeleteTopics,
    ObservedTopic,
    Step,
)

if TYPE_CHECKING:
    from lectern_operator.clients.kafka import BrokerServer

STEP_MILLISECONDS = 15_000
"""How long the controller may work on a step before it answers."""
VISIBLE_SECONDS = 5.0
"""How long a step that was accepted is watched for until the broker shows it; what takes longer the next look sees."""
COORDINATOR_SECONDS = 4.0
POLL_SECONDS = 0.05
_UNKNOWN_TOPIC, _TOPIC_EXISTS = 3, 36
_NO_COORDINATOR = (14, 15, 16)  # loading, not there, somebody else
_LATEST, _EARLIEST = -1, -2


async def look(server: BrokerServer, session: Session, names: Sequence[str]) -> Fact[BrokerState]:
    """Return the cluster and those of the topics `names` that it has."""
    metadata = await session.metadata(names)
    found: dict[str, ObservedTopic] = {}
    for topic in sorted(metadata.topics, key=lambda each: str(each[1])):
        if topic[0] not in (0, _UNKNOWN_TOPIC):
            return answered(server, topic[0], f"topic {topic[1]}")
        if topic[0] == 0:
            found[topic[1]] = _observed(topic)
    configs: dict[str, dict[str, str]] = {}
    if found:
        asked = [(TOPIC_RESOURCE, name, list(CONFIG_KEYS)) for name in sorted(found)]
        answer = await session.ask(DescribeConfigsRequest(asked))
        for code, message, _, name, entries in sorted(answer.resources, key=lambda each: str(each[3])):
            if code not in (0, _UNKNOWN_TOPIC):
                return answered(server, code, f"settings of topic {name}: {message}")
            if code == 0:
                configs[name] = {entry[0]: str(entry[1]) for entry in sorted(entries)}
    topics = {
        name: ObservedTopic(
            each.name, each.partitions, each.replication_factor, configs[name], each.topic_id, each.leaderless
        )
        for name, each in sorted(found.items())
        if name in configs  # else it was deleted between the two questions
    }
    return Known(BrokerState(len(metadata.brokers), topics))


def _observed(topic: Any) -> ObservedTopic:
    """Return a topic of a metadata answer, whose shape depends on the version that the broker speaks."""
    with_id = isinstance(topic[2], bytes)
    partitions = topic[4 if with_id else 3]
    replicas = [partition[4 if with_id else 3] for partition in partitions]
    return ObservedTopic(
        name=topic[1],
        partitions=len(partitions),
        replication_factor=min((len(each) for each in replicas), default=0),
        topic_id=base64.urlsafe_b64encode(topic[2]).decode().rstrip("=") if with_id else None,
        leaderless=sum(1 for partition in partitions if partition[2] < 0),
    )


async def take(server: BrokerServer, session: Session, step: Step) -> Fact[None]:
    """Ask the controller for `step`."""
    metadata = await session.metadata([])
    match step:
        case CreateTopics(topics):
            return await _create(server, session, metadata.controller_id, topics)
        case AlterConfigs(topic, configs):
            request = SetConfigs(topic, sorted(configs.items()))
            answer = await session.ask(request, metadata.controller_id)
            return _refusals(server, [(name, code, message) for code, message, _, name in answer.responses], ())
        case DeleteTopics(topics):
            return await _delete(server, session, metadata.controller_id, topics)
        case _:
            assert_never(step)


async def _create(
    server: BrokerServer, session: Session, controller: int, topics: Sequence[TopicDefinition]
) -> Fact[None]:
    wanted: list[tuple[Any, ...]] = [
        (each.name, each.partitions, each.replication_factor, [], sorted(each.configs.items())) for each in topics
    ]
    request = CreateTopicsRequest(wanted, STEP_MILLISECONDS, False)
    answer = await session.ask(request, controller)
    return _refusals(server, answer.topic_errors, (_TOPIC_EXISTS,))


async def _delete(
    server: BrokerServer, session: Session, controller: int, topics: Sequence[ObservedTopic]
) -> Fact[None]:
    """Delete what is still the topic that was observed: a deletion cannot be taken back."""
    live = await look(server, session, [each.name for each in topics])
    if isinstance(live, Unknown):
        return live
    same = [
        each.name
        for each in topics
        if (now := live.value.topics.get(each.name)) is not None and now.topic_id == each.topic_id
    ]
    if not same:
        return Known(None)
    answer = await session.ask(DeleteTopicsRequest(same, STEP_MILLISECONDS), controller)
    return _refusals(server, [(*each, None) for each in answer.topic_error_codes], (_UNKNOWN_TOPIC,))


def _refusals(server: BrokerServer, found: Sequence[Any], fine: Sequence[int]) -> Fact[None]:
    """Return done, or the refusal of the first topic by name with the names of all that were refused."""
    refused = sorted((name, code, message) for name, code, message in found if code and code not in fine)
    if not refused:
        return Known(None)
    name, code, message = refused[0]
    others = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    return answered(server, code, f"topic {name}{others}: {message}" if message else f"topic {name}{others}")


async def shown(server: BrokerServer, session: Session, step: Step) -> None:
    """Wait until the broker that we talk to shows the step: it hears of it from the controller a moment later."""
    match step:
        case CreateTopics(topics):
            names = [each.name for each in topics]
        case AlterConfigs(topic):
            names = [topic]
        case DeleteTopics(gone):
            names = [each.name for each in gone]
        case _:
            assert_never(step)
    deadline = asyncio.get_running_loop().time() + VISIBLE_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        found = await look(server, session, names)
        if isinstance(found, Known) and _shows(found.value, step):
            return
        await asyncio.sleep(POLL_SECONDS)


def _shows(state: BrokerState, step: Step) -> bool:
    match step:
        case CreateTopics(topics):
            there = [state.topics.get(each.name) for each in topics]
            return all(each is not None and not each.leaderless for each in there)
        case AlterConfigs(topic, configs):
            now = state.topics[topic].configs if topic in state.topics else configs
            return all(now.get(key) == value for key, value in configs.items())
        case DeleteTopics(gone):
            now_there = [state.topics.get(each.name) for each in gone]
            return all(now is None or now.topic_id != each.topic_id for now, each in zip(now_there, gone, strict=True))
        case _:
            assert_never(step)


async def lag(server: BrokerServer, session: Session, topic: str, group: str) -> Fact[int]:
    """Return how many messages of `topic` the group has not committed."""
    metadata = await session.metadata([topic])
    ((code, partitions),) = [(each[0], _leaders(each)) for each in metadata.topics]
    if code:
        return answered(server, code, f"topic {topic}")
    numbers = sorted(number for led in partitions.values() for number in led)
    code, committed = await _committed(session, topic, numbers, group)
    if code:
        return answered(server, code, f"group {group}")
    behind = 0
    for leader, led in sorted(partitions.items()):
        first = await _offsets(session, leader, topic, led, _EARLIEST)
        last = await _offsets(session, leader, topic, led, _LATEST)
        behind += sum(max(0, last[each] - max(committed.get(each, -1), first[each])) for each in led)
    return Known(behind)


async def _committed(session: Session, topic: str, numbers: Sequence[int], group: str) -> tuple[int, dict[int, int]]:
    """Return an error code and what `group` committed by partition, -1 where it did not.

    The first group of a cluster ever makes the topic of offsets: who looks after it is known a moment later.
    """
    deadline = asyncio.get_running_loop().time() + COORDINATOR_SECONDS
    while True:
        coordinator = await session.ask(FindCoordinatorRequest(group, 0))
        code, found = coordinator.error_code, {}
        if not code:
            answer = await session.ask(OffsetFetchRequest(group, [(topic, numbers)]), coordinator.coordinator_id)
            codes = [answer.error_code, *(each[3] for _, partitions in answer.topics for each in partitions)]
            code = next((each for each in codes if each), 0)
            found = {each[0]: each[1] for _, partitions in answer.topics for each in partitions}
        if code not in _NO_COORDINATOR or asyncio.get_running_loop().time() > deadline:
            return code, found
        await asyncio.sleep(POLL_SECONDS)


def _leaders(topic: Any) -> dict[int, list[int]]:
    """Return the partitions of a metadata answer's topic by their leader."""
    found: dict[int, list[int]] = {}
    for partition in topic[4 if isinstance(topic[2], bytes) else 3]:
        found.setdefault(partition[2], []).append(partition[1])
    return found


async def _offsets(session: Session, leader: int, topic: str, partitions: Sequence[int], when: int) -> dict[int, int]:
    answer = await session.ask(OffsetRequest(-1, 0, [(topic, [(each, when) for each in partitions])]), leader)
    found: dict[int, int] = {}
    for _, each in answer.topics:
        for number, code, _, offset in each:
            if code:
                raise for_code(code)(f"partition {number} of topic {topic}")
            found[number] = offset
    return found
