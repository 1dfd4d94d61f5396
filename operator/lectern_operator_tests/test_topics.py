"""What is done about topics and what is said of them, by tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from lectern_contract import topics as contract
from lectern_contract.conditions import Verdict
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.broker import (
    AlterConfigs,
    BrokerState,
    CreateTopics,
    DeleteTopics,
    ObservedTopic,
    Rejected,
    Unreachable,
)
from lectern_operator.facts.outside import Denied, Unauthorised
from lectern_operator.policies import topics as policy
from lectern_operator_tests import worlds

KB = worlds.knowledge_base(messaging__replicationFactor=3)
STRIMZI = worlds.knowledge_base(messaging__topicManagement="Strimzi", messaging__strimziCluster="main")
AUDIT, DEAD_LETTERS, DOCUMENTS, EVENTS = contract.topics(KB)


def as_asked(kb: KnowledgeBase = KB) -> BrokerState:
    """Return a cluster whose topics are as they have to be, with settings of others."""
    found = {
        each.name: ObservedTopic(each.name, each.partitions, each.replication_factor, each.configs, f"id-{each.name}")
        for each in contract.topics(kb)
    }
    return BrokerState(3, found)


def without(*names: str) -> BrokerState:
    """Return the same cluster without some topics."""
    state = as_asked()
    return BrokerState(3, {name: each for name, each in state.topics.items() if name not in names})


def but(name: str, **fields: Any) -> BrokerState:
    """Return the same cluster with one topic that differs."""
    state = as_asked()
    return BrokerState(3, {**state.topics, name: replace(state.topics[name], **fields)})


def configs(name: str, **changed: str) -> BrokerState:
    """Return the same cluster with settings of one topic that differ; `_` stands for `.`."""
    now = {**as_asked().topics[name].configs, **{key.replace("_", "."): value for key, value in changed.items()}}
    return but(name, configs=now)


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        (as_asked(), ()),
        (BrokerState(3), (CreateTopics((AUDIT, DEAD_LETTERS, DOCUMENTS, EVENTS)),)),
        (without(DOCUMENTS.name), (CreateTopics((DOCUMENTS,)),)),
        (but(DOCUMENTS.name, partitions=7), ()),
        (but(DOCUMENTS.name, leaderless=2), ()),
        (
            configs(DOCUMENTS.name, cleanup_policy="delete"),
            (AlterConfigs(DOCUMENTS.name, {"cleanup.policy": "compact"}),),
        ),
        (configs(EVENTS.name, min_insync_replicas="1"), (AlterConfigs(EVENTS.name, {"min.insync.replicas": "2"}),)),
        (configs(EVENTS.name, flush_messages="1"), ()),
        (but(EVENTS.name, configs={}), (AlterConfigs(EVENTS.name, dict(EVENTS.configs)),)),
    ],
)
def test_plan(state: BrokerState, steps: tuple[Any, ...]) -> None:
    assert policy.plan(KB, broker=Known(state)) == steps


def test_making_comes_before_mending() -> None:
    state = configs(AUDIT.name, retention_ms="1")
    broken = BrokerState(3, {name: each for name, each in state.topics.items() if name != EVENTS.name})
    assert policy.plan(KB, broker=Known(broken)) == (
        CreateTopics((EVENTS,)),
        AlterConfigs(AUDIT.name, {"retention.ms": AUDIT.configs["retention.ms"]}),
    )


def test_fewer_copies_than_asked_for_are_not_asked_to_be_in_step() -> None:
    """Two of one copy in step would stop every producer."""
    short = but(DOCUMENTS.name, replication_factor=1, configs={**DOCUMENTS.configs, "min.insync.replicas": "1"})
    assert policy.plan(KB, broker=Known(short)) == ()
    wrong = but(DOCUMENTS.name, replication_factor=1)
    assert policy.plan(KB, broker=Known(wrong)) == (AlterConfigs(DOCUMENTS.name, {"min.insync.replicas": "1"}),)


@pytest.mark.parametrize(
    "kb",
    [worlds.knowledge_base(suspend=True), STRIMZI, worlds.knowledge_base(messaging=None)],
    ids=["suspended", "strimzi", "no broker"],
)
def test_nothing_is_done_where_it_is_not_ours_to_do(kb: KnowledgeBase) -> None:
    assert policy.plan(kb, broker=Known(BrokerState(1))) == ()


UNKNOWN = [Unknown("the Secret is missing"), Unreachable("silent"), Unauthorised("refused"), Denied("no right")]


@pytest.mark.parametrize("fact", UNKNOWN, ids=lambda fact: type(fact).__name__)
def test_nothing_follows_from_what_is_not_known(fact: Unknown) -> None:
    kb = worlds.knowledge_base(deletionPolicy="Delete")
    assert policy.plan(kb, broker=fact) == ()
    assert policy.deletion(kb, broker=fact) == fact


def test_topics_go_with_a_knowledge_base_that_says_so() -> None:
    kb = worlds.knowledge_base(deletionPolicy="Delete", messaging__replicationFactor=3)
    left = without(AUDIT.name, EVENTS.name)
    assert policy.deletion(kb, broker=Known(left)) == Known((DeleteTopics(tuple(left.topics.values())),))
    assert policy.deletion(kb, broker=Known(BrokerState(3))) == Known(())
    others = BrokerState(3, {"somebody-elses": ObservedTopic("somebody-elses", 1, 1)})
    assert policy.deletion(kb, broker=Known(others)) == Known(())


@pytest.mark.parametrize(
    "kb",
    [
        KB,
        STRIMZI.model_copy(update={"spec": STRIMZI.spec.model_copy(update={"deletion_policy": "Delete"})}),
        worlds.knowledge_base(deletionPolicy="Delete", messaging=None),
    ],
    ids=["retained", "strimzi", "no broker"],
)
def test_topics_stay_with_everybody_else(kb: KnowledgeBase) -> None:
    assert policy.deletion(kb, broker=Known(as_asked())) == Known(())
    assert policy.deletion(kb, broker=Unreachable("silent")) == Known(())


def judged(kb: KnowledgeBase, broker: Fact[BrokerState], *failures: Unknown) -> Verdict:
    found = policy.verdict(kb, broker=broker, strimzi=Unknown("not asked"), topics={}, failures=failures)
    assert found.type is ConditionType.TOPICS_READY
    return found


@pytest.mark.parametrize(
    ("broker", "status", "reason", "words"),
    [
        (Known(as_asked()), "True", Reason.TOPICS_EXIST, "audit 1, dead-letters 1, documents 6, events 3 partitions"),
        (Known(without(EVENTS.name)), "False", Reason.PROGRESSING, f"topics are missing: {EVENTS.name}"),
        (
            Known(but(DOCUMENTS.name, partitions=9)),
            "False",
            Reason.TOPICS_CHANGED,
            f"{DOCUMENTS.name} has 9 partitions, not 6: they cannot be taken back",
        ),
        (
            Known(but(DOCUMENTS.name, partitions=2)),
            "False",
            Reason.TOPICS_CHANGED,
            f"{DOCUMENTS.name} has 2 partitions, not 6: it was made by somebody else",
        ),
        (
            Known(but(AUDIT.name, replication_factor=1)),
            "False",
            Reason.TOPICS_CHANGED,
            f"{AUDIT.name} has 1 of 3 copies: reassign its partitions",
        ),
        (
            Known(but(DOCUMENTS.name, leaderless=2)),
            "False",
            Reason.TOPIC_NOT_READY,
            f"2 of 6 partitions of {DOCUMENTS.name} have no leader",
        ),
        (
            Known(configs(EVENTS.name, retention_ms="1")),
            "False",
            Reason.PROGRESSING,
            f"settings of topics are being put right: {EVENTS.name} (retention.ms)",
        ),
        (Unreachable("kafka:9092 keeps silent"), "False", Reason.BROKER_UNREACHABLE, "kafka:9092 keeps silent"),
        (Unauthorised("login refused"), "False", Reason.CREDENTIALS_REJECTED, "spec.messaging.credentialsSecretRef"),
        (Denied("no right"), "False", Reason.ACCESS_DENIED, "topics named lectern.*"),
        (Unknown("Secret kafka is missing"), "Unknown", Reason.WAITING, "Secret kafka is missing"),
    ],
)
def test_verdict(broker: Fact[BrokerState], status: str, reason: Reason, words: str) -> None:
    found = judged(KB, broker)
    assert (found.status, found.reason) == (status, reason)
    assert words in found.message


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Rejected("more copies than brokers"), Reason.TOPIC_NOT_READY),
        (Denied("no right to create"), Reason.ACCESS_DENIED),
        (Unreachable("it went away"), Reason.BROKER_UNREACHABLE),
    ],
)
def test_a_step_that_was_not_taken_says_why(failure: Unknown, reason: Reason) -> None:
    found = judged(KB, Known(BrokerState(1)), failure)
    assert (found.status, found.reason) == ("False", reason)
    assert failure.reason in found.message


def test_a_log_that_is_not_on_a_broker_needs_no_topics() -> None:
    found = judged(worlds.knowledge_base(messaging=None), Unknown("not asked"))
    assert (found.status, found.reason) == ("True", Reason.NOT_NEEDED)


def kafka_topic(name: str, **parts: Any) -> dict[str, Any]:
    """Return a KafkaTopic that Strimzi says is ready."""
    ready = {"type": "Ready", "status": "True"}
    body: dict[str, Any] = {
        "metadata": {"name": name, "generation": 2, "annotations": {}},
        "status": {"observedGeneration": 2, "conditions": [ready]},
    }
    return {**body, **parts}


SERVED: Fact[bool] = Known(value=True)
READY = {each.name: kafka_topic(each.name) for each in contract.topics(STRIMZI)}


def strimzi(topics: Mapping[str, Any], served: Fact[bool] = SERVED, *failures: Unknown) -> Verdict:
    return policy.verdict(STRIMZI, broker=Unknown("not asked"), strimzi=served, topics=topics, failures=failures)


def with_status(**status: Any) -> dict[str, Any]:
    return {**READY, EVENTS.name: kafka_topic(EVENTS.name, status=status)}


REFUSED = {"type": "Ready", "status": "False", "reason": "NotSupported", "message": "Decreasing partitions"}


@pytest.mark.parametrize(
    ("topics", "status", "reason", "words"),
    [
        (READY, "True", Reason.TOPICS_EXIST, "documents 6"),
        ({}, "False", Reason.PROGRESSING, f"KafkaTopic {AUDIT.name} does not exist yet"),
        (with_status(), "False", Reason.PROGRESSING, "has to watch namespace team"),
        (
            with_status(observedGeneration=1, conditions=[{"type": "Ready", "status": "True"}]),
            "False",
            Reason.PROGRESSING,
            "has not been looked at",
        ),
        (
            with_status(observedGeneration=2, conditions=[REFUSED]),
            "False",
            Reason.TOPIC_NOT_READY,
            f"KafkaTopic {EVENTS.name}: NotSupported: Decreasing partitions",
        ),
        (
            with_status(observedGeneration=2, conditions=[{"type": "Unmanaged", "status": "True"}]),
            "False",
            Reason.TOPIC_NOT_READY,
            "Unmanaged: Strimzi leaves it alone",
        ),
    ],
)
def test_verdict_by_strimzi(topics: Mapping[str, Any], status: str, reason: Reason, words: str) -> None:
    found = strimzi(topics)
    assert (found.status, found.reason) == (status, reason)
    assert words in found.message


def test_a_missing_strimzi_is_told_with_both_ways_out() -> None:
    found = strimzi({}, Known(value=False))
    assert (found.status, found.reason) == ("False", Reason.STRIMZI_NOT_INSTALLED)
    assert "install Strimzi, or set spec.messaging.topicManagement to Admin" in found.message


def test_whether_strimzi_is_there_may_be_unknown() -> None:
    found = strimzi(READY, Unknown("HTTP 503"))
    assert (found.status, found.reason) == ("Unknown", Reason.UNKNOWN)


def test_a_kafka_topic_that_is_refused_says_why() -> None:
    found = strimzi(READY, SERVED, Unknown("admission webhook says no"))
    assert (found.status, found.reason, found.message) == ("False", Reason.APPLY_REFUSED, "admission webhook says no")


def test_what_strimzi_would_delete_is_named() -> None:
    loose = kafka_topic(EVENTS.name)
    loose["metadata"]["annotations"] = {"strimzi.io/managed": "false"}
    bare = kafka_topic(AUDIT.name)
    del bare["metadata"]["annotations"]
    assert policy.held_by_strimzi({**READY, EVENTS.name: loose, AUDIT.name: bare}) == (
        AUDIT.name,
        DEAD_LETTERS.name,
        DOCUMENTS.name,
    )
    assert policy.held_by_strimzi({EVENTS.name: loose}) == ()
