"""What the operator relies on in a Kafka cluster, as tests that the double and a real broker both pass.

A subclass offers a `stage`: clients, a cluster of one broker where everything is allowed, and other people there.
`test_fake_broker` and `e2e/operator_tests/test_broker.py` have one each.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import pytest

from lectern_contract import topics as contract
from lectern_contract.names import Topic
from lectern_contract.resources import KnowledgeBase
from lectern_contract.topics import TopicDefinition
from lectern_operator.clients.kafka import BrokerServer
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.broker import (
    AlterConfigs,
    BrokerState,
    CreateTopics,
    DeleteTopics,
    ObservedTopic,
    Rejected,
    Step,
    Unreachable,
)
from lectern_operator.facts.outside import Denied, Unauthorised
from lectern_operator.policies import topics as policy
from lectern_operator_tests import worlds


class Brokers(Protocol):
    """The client of the operator."""

    async def look(self, server: BrokerServer, names: Sequence[str]) -> Fact[BrokerState]:
        """Return the cluster and those of the topics `names` that it has."""
        ...

    async def perform(self, server: BrokerServer, step: Step) -> Fact[None]:
        """Take `step`."""
        ...

    async def lag(self, server: BrokerServer, topic: str, group: str) -> Fact[int]:
        """Return how many messages of `topic` the group has not committed."""
        ...


class Stage(Protocol):
    """A cluster, who asks it, and who else is there."""

    brokers: Brokers
    server: BrokerServer

    @property
    def refused(self) -> BrokerServer:
        """The cluster with a wrong password."""
        ...

    @property
    def without_rights(self) -> BrokerServer:
        """The cluster with a user who may do nothing."""
        ...

    async def make(self, name: str, *, partitions: int) -> None:
        """Make a topic as somebody else would."""
        ...

    async def drop(self, name: str) -> None:
        """Delete a topic as somebody else would."""
        ...

    async def set(self, name: str, configs: Mapping[str, str]) -> None:
        """Change settings of a topic as somebody else would, and leave the others alone."""
        ...

    async def setting(self, name: str, key: str) -> str:
        """Return one setting of a topic, ours or not."""
        ...

    async def write(self, name: str, messages: int) -> None:
        """Append messages to a topic."""
        ...

    async def commit(self, group: str, name: str, offset: int) -> None:
        """Let a consumer group commit, in partition 0."""
        ...


def knowledge_base(**paths: object) -> KnowledgeBase:
    """Return a knowledge base of a name that no other test has."""
    kb = worlds.knowledge_base(**paths)
    name = f"docs-{uuid.uuid4().hex[:8]}"
    return kb.model_copy(update={"metadata": kb.metadata.model_copy(update={"name": name})})


def topic(kb: KnowledgeBase, which: Topic) -> TopicDefinition:
    """Return one topic of `kb` as it has to be."""
    (found,) = [each for each in contract.topics(kb) if each.which is which]
    return found


async def look(stage: Stage, kb: KnowledgeBase) -> BrokerState:
    """Return what is seen of the topics of `kb`."""
    found = await stage.brokers.look(stage.server, [each.name for each in contract.topics(kb)])
    assert isinstance(found, Known), found
    return found.value


async def settle(stage: Stage, kb: KnowledgeBase) -> tuple[Step, ...]:
    """Look, plan, take the steps and return them; a second time, nothing must be left to do."""
    steps = policy.plan(kb, broker=Known(await look(stage, kb)))
    for step in steps:
        assert await stage.brokers.perform(stage.server, step) == Known(None)
    assert policy.plan(kb, broker=Known(await look(stage, kb))) == ()
    return steps


class BrokerContract:
    """The tests; subclasses add the fixture `stage`."""

    async def test_missing_topics_are_made_as_they_have_to_be(self, stage: Stage) -> None:
        kb = knowledge_base()
        assert await settle(stage, kb) == (CreateTopics(contract.topics(kb)),)
        found = await look(stage, kb)
        assert found.brokers == 1
        for wanted in contract.topics(kb):
            seen = found.topics[wanted.name]
            assert (seen.partitions, seen.replication_factor) == (wanted.partitions, wanted.replication_factor)
            assert wanted.configs.items() <= seen.configs.items()
            assert seen.configs.keys() == set(contract.CONFIG_KEYS)
            assert (seen.leaderless, bool(seen.topic_id)) == (0, True)

    async def test_looking_makes_nothing(self, stage: Stage) -> None:
        kb = knowledge_base()
        assert (await look(stage, kb)).topics == {}
        assert (await look(stage, kb)).topics == {}

    async def test_only_what_is_asked_for_is_told(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        events = topic(kb, Topic.EVENTS).name
        found = await stage.brokers.look(stage.server, [events, "never-made"])
        assert isinstance(found, Known)
        assert list(found.value.topics) == [events]

    async def test_a_deleted_topic_is_made_again_under_another_id(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        documents = topic(kb, Topic.DOCUMENTS)
        before = (await look(stage, kb)).topics[documents.name]
        await stage.drop(documents.name)
        assert await settle(stage, kb) == (CreateTopics((documents,)),)
        after = (await look(stage, kb)).topics[documents.name]
        assert after == replace(before, topic_id=after.topic_id)
        assert after.topic_id != before.topic_id

    async def test_drift_is_mended_and_settings_of_others_are_left(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        documents = topic(kb, Topic.DOCUMENTS)
        await stage.set(documents.name, {"cleanup.policy": "delete", "flush.messages": "12345"})
        assert await settle(stage, kb) == (AlterConfigs(documents.name, {"cleanup.policy": "compact"}),)
        assert await stage.setting(documents.name, "cleanup.policy") == "compact"
        assert await stage.setting(documents.name, "flush.messages") == "12345"

    async def test_a_topic_with_other_partitions_is_left_as_it_is(self, stage: Stage) -> None:
        kb = knowledge_base()
        documents = topic(kb, Topic.DOCUMENTS)
        await stage.make(documents.name, partitions=2)
        await settle(stage, kb)
        assert (await look(stage, kb)).topics[documents.name].partitions == 2

    async def test_making_what_is_there_meanwhile_is_no_failure(self, stage: Stage) -> None:
        kb = knowledge_base()
        documents = topic(kb, Topic.DOCUMENTS)
        await stage.make(documents.name, partitions=3)
        assert await stage.brokers.perform(stage.server, CreateTopics(contract.topics(kb))) == Known(None)
        assert (await look(stage, kb)).topics[documents.name].partitions == 3

    async def test_more_copies_than_brokers_are_rejected_in_the_brokers_words(self, stage: Stage) -> None:
        kb = knowledge_base(messaging__replicationFactor=3)
        refused = await stage.brokers.perform(stage.server, CreateTopics(contract.topics(kb)))
        assert isinstance(refused, Rejected)
        assert topic(kb, Topic.AUDIT).name in refused.reason
        assert (await look(stage, kb)).topics == {}

    async def test_a_setting_of_a_topic_that_is_gone_waits_for_the_next_look(self, stage: Stage) -> None:
        done = await stage.brokers.perform(stage.server, AlterConfigs("never-made", {"retention.ms": "1000"}))
        assert isinstance(done, Unreachable)

    async def test_topics_are_deleted_and_a_second_time_nothing_happens(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        step = DeleteTopics(tuple((await look(stage, kb)).topics.values()))
        assert await stage.brokers.perform(stage.server, step) == Known(None)
        assert (await look(stage, kb)).topics == {}
        assert await stage.brokers.perform(stage.server, step) == Known(None)

    async def test_a_topic_that_was_made_anew_since_it_was_seen_is_not_deleted(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        documents = topic(kb, Topic.DOCUMENTS).name
        seen = (await look(stage, kb)).topics[documents]
        await stage.drop(documents)
        await stage.make(documents, partitions=6)
        assert await stage.brokers.perform(stage.server, DeleteTopics((seen,))) == Known(None)
        assert documents in (await look(stage, kb)).topics

    async def test_lag_counts_what_no_commit_covers(self, stage: Stage) -> None:
        kb = knowledge_base(messaging__partitions=1, workers__maxReplicas=1)
        await settle(stage, kb)
        name, group = topic(kb, Topic.DOCUMENTS).name, f"group-{uuid.uuid4().hex[:8]}"
        await stage.write(name, 5)
        assert await stage.brokers.lag(stage.server, name, group) == Known(5)
        await stage.commit(group, name, 3)
        assert await stage.brokers.lag(stage.server, name, group) == Known(2)
        await stage.commit(group, name, 5)
        assert await stage.brokers.lag(stage.server, name, group) == Known(0)

    async def test_what_a_group_committed_goes_with_the_topic(self, stage: Stage) -> None:
        kb = knowledge_base(messaging__partitions=1, workers__maxReplicas=1)
        await settle(stage, kb)
        name, group = topic(kb, Topic.DOCUMENTS).name, f"group-{uuid.uuid4().hex[:8]}"
        await stage.write(name, 5)
        await stage.commit(group, name, 5)
        await stage.drop(name)
        await settle(stage, kb)
        await stage.write(name, 2)
        assert await stage.brokers.lag(stage.server, name, group) == Known(2)

    async def test_the_lag_of_a_topic_that_is_not_there_is_unknown(self, stage: Stage) -> None:
        assert isinstance(await stage.brokers.lag(stage.server, "never-made", "group"), Unknown)

    async def test_a_wrong_password_is_told_as_such_and_kept_silent_about(self, stage: Stage) -> None:
        refused = await stage.brokers.look(stage.refused, ["any"])
        assert type(refused) is Unauthorised
        assert stage.refused.password is not None
        assert stage.refused.password not in repr(refused) + repr(stage.refused)
        step = AlterConfigs("any", {"retention.ms": "1000"})
        assert type(await stage.brokers.perform(stage.refused, step)) is Unauthorised

    async def test_missing_rights_are_told_from_a_wrong_password(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        names = [each.name for each in contract.topics(kb)]
        assert type(await stage.brokers.look(stage.without_rights, names)) is Denied
        refused = await stage.brokers.perform(stage.without_rights, CreateTopics(contract.topics(knowledge_base())))
        assert type(refused) is Denied

    async def test_an_address_where_nobody_listens_is_unreachable(self, stage: Stage) -> None:
        nobody = BrokerServer("127.0.0.1:1")
        assert type(await stage.brokers.look(nobody, ["any"])) is Unreachable

    @pytest.mark.parametrize("which", list(Topic))
    async def test_every_topic_can_be_asked_for_by_itself(self, stage: Stage, which: Topic) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        wanted = topic(kb, which)
        found = await stage.brokers.look(stage.server, [wanted.name])
        assert isinstance(found, Known)
        seen: ObservedTopic = found.value.topics[wanted.name]
        assert (seen.name, seen.partitions) == (wanted.name, wanted.partitions)
