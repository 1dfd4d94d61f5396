"""What has to be done about the topics of a KnowledgeBase, and what its status says of them.

A topic that is missing is made, a setting that is ours is put right. What cannot be put right without loss, the number
of partitions and of copies, is reported and left: the topic may hold documents, and keys would move between partitions.
Nothing follows from an Unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lectern_contract import topics as contract
from lectern_contract.conditions import Truth, Verdict
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_contract.topics import TopicDefinition
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
from lectern_operator.policies import workload

Manifest = Mapping[str, Any]
ASPECT = ConditionType.TOPICS_READY
KIND = "KafkaTopic"
MANAGED = "strimzi.io/managed"
"""Annotation of Strimzi's: with `false` the topic outlives its KafkaTopic."""


def by_broker(kb: KnowledgeBase) -> bool:
    """Say whether the topics of `kb` are made by the broker's own API: then it has to be looked at."""
    return kb.spec.messaging is not None and kb.spec.messaging.topic_management == "Admin"


def by_strimzi(kb: KnowledgeBase) -> bool:
    """Say whether the topics of `kb` are made as KafkaTopics."""
    return kb.spec.messaging is not None and kb.spec.messaging.topic_management == "Strimzi"


def plan(kb: KnowledgeBase, *, broker: Fact[BrokerState]) -> tuple[Step, ...]:
    """Return the steps that make the topics as they have to be: what is missing, then settings by topic."""
    if not by_broker(kb) or kb.spec.suspend or isinstance(broker, Unknown):
        return ()
    there = broker.value.topics
    wanted = contract.topics(kb)
    missing = tuple(each for each in wanted if each.name not in there)
    drifts = {each.name: _drift(each, there[each.name]) for each in wanted if each.name in there}
    mended = tuple(AlterConfigs(name, drift) for name, drift in drifts.items() if drift)
    return (CreateTopics(missing), *mended) if missing else mended


def deletion(kb: KnowledgeBase, *, broker: Fact[BrokerState]) -> Fact[tuple[Step, ...]]:
    """Return the steps that delete the topics with `kb`, none where they stay or are gone; Unknown while unread."""
    if not by_broker(kb) or kb.spec.deletion_policy != "Delete":
        return Known(())
    if isinstance(broker, Unknown):
        return broker
    left = tuple(broker.value.topics[each.name] for each in contract.topics(kb) if each.name in broker.value.topics)
    return Known((DeleteTopics(left),) if left else ())


def held_by_strimzi(topics: Mapping[str, Manifest]) -> tuple[str, ...]:
    """Return the KafkaTopics whose deletion would delete their topic: they have to be cut loose before they go."""
    return tuple(
        name for name, each in sorted(topics.items()) if each["metadata"].get("annotations", {}).get(MANAGED) != "false"
    )


def verdict(
    kb: KnowledgeBase,
    *,
    broker: Fact[BrokerState],
    strimzi: Fact[bool],
    topics: Mapping[str, Manifest],
    failures: Sequence[Unknown] = (),
) -> Verdict:
    """Judge the topics.

    `broker` is what was seen after the steps, `failures` what came of steps that were not done. `strimzi` says whether
    the kind KafkaTopic is served; `topics` are those of ours by name.
    """
    if by_strimzi(kb):
        return _of_strimzi(kb, strimzi, topics, failures)
    if not by_broker(kb):
        return _verdict("True", Reason.NOT_NEEDED, "the log is not on a broker")
    if isinstance(broker, Unknown):
        return _failed(broker)
    if failures:
        return _failed(failures[0])
    return _of_broker(contract.topics(kb), broker.value)


def _of_broker(wanted: Sequence[TopicDefinition], state: BrokerState) -> Verdict:
    missing = [each.name for each in wanted if each.name not in state.topics]
    if missing:
        return _verdict("False", Reason.PROGRESSING, f"topics are missing: {', '.join(missing)}")
    pairs = [(each, state.topics[each.name]) for each in wanted]
    changed = [words for each, found in pairs if (words := _difference(each, found))]
    if changed:
        return _verdict("False", Reason.TOPICS_CHANGED, "; ".join(changed))
    if dark := [found for _, found in pairs if found.leaderless]:
        told = f"{dark[0].leaderless} of {dark[0].partitions} partitions of {dark[0].name} have no leader"
        return _verdict("False", Reason.TOPIC_NOT_READY, f"{told}: a broker is away; start it again")
    drift = [f"{each.name} ({', '.join(sorted(found))})" for each, at in pairs if (found := _drift(each, at))]
    if drift:
        return _verdict("False", Reason.PROGRESSING, f"settings of topics are being put right: {', '.join(drift)}")
    return _verdict("True", Reason.TOPICS_EXIST, _told(wanted))


def _difference(wanted: TopicDefinition, found: ObservedTopic) -> str:
    """Return what cannot be mended, and what can be done about it; empty when nothing differs."""
    if found.partitions != wanted.partitions:
        said = f"{wanted.name} has {found.partitions} partitions, not {wanted.partitions}"
        if found.partitions > wanted.partitions:
            return f"{said}: they cannot be taken back; delete the topic if nothing of it is needed, it is made anew"
        return f"{said}: it was made by somebody else; delete it if nothing of it is needed, it is made anew"
    if found.replication_factor != wanted.replication_factor:
        said = f"{wanted.name} has {found.replication_factor} of {wanted.replication_factor} copies"
        return f"{said}: reassign its partitions, or set spec.messaging.replicationFactor to what there is"
    return ""


def _drift(wanted: TopicDefinition, found: ObservedTopic) -> dict[str, str]:
    """Return the settings that have to be put right; those of others do not count."""
    ours = wanted.configs_with(found.replication_factor)
    return {key: value for key, value in sorted(ours.items()) if found.configs.get(key) != value}


def _of_strimzi(
    kb: KnowledgeBase, strimzi: Fact[bool], topics: Mapping[str, Manifest], failures: Sequence[Unknown]
) -> Verdict:
    match strimzi:
        case Unknown(reason):
            return _verdict("Unknown", Reason.UNKNOWN, f"whether KafkaTopic is served could not be read: {reason}")
        case Known(value=False):
            message = (
                "the kind KafkaTopic (kafka.strimzi.io/v1) is not known to the API server: install Strimzi, "
                "or set spec.messaging.topicManagement to Admin"
            )
            return _verdict("False", Reason.STRIMZI_NOT_INSTALLED, message)
    if failures:
        return _verdict("False", Reason.APPLY_REFUSED, failures[0].reason)
    wanted = contract.topics(kb)
    for each in wanted:
        if each.name not in topics:
            return _verdict("False", Reason.PROGRESSING, f"KafkaTopic {each.name} does not exist yet")
        if (fault := _fault(kb, topics[each.name])) is not None:
            return fault
    return _verdict("True", Reason.TOPICS_EXIST, _told(wanted))


def _fault(kb: KnowledgeBase, found: Manifest) -> Verdict | None:
    """Return what Strimzi has to say against a KafkaTopic; None when it is ready."""
    name, status = found["metadata"]["name"], found.get("status", {})
    if status.get("observedGeneration", 0) < found["metadata"].get("generation", 1):
        message = (
            f"KafkaTopic {name} has not been looked at: a Topic Operator of Strimzi has to watch namespace "
            f"{kb.namespace} for the cluster of its label strimzi.io/cluster"
        )
        return _verdict("False", Reason.PROGRESSING, message)
    ready = workload.condition(found, "Ready")
    if ready.get("status") == "True":
        return None
    other = next((each for each in ("Unmanaged", "ReconciliationPaused") if workload.condition(found, each)), "")
    cause = f"{ready.get('reason', other or 'NotReady')}: {ready.get('message', 'Strimzi leaves it alone')}"
    return _verdict("False", Reason.TOPIC_NOT_READY, f"KafkaTopic {name}: {cause}")


def _failed(why: Unknown) -> Verdict:
    match why:
        case Unauthorised(reason):
            message = f"{reason}; check spec.messaging.credentialsSecretRef and saslMechanism"
            return _verdict("False", Reason.CREDENTIALS_REJECTED, message)
        case Denied(reason):
            message = f"{reason}; allow the user to describe, create, alter and delete topics named lectern.*"
            return _verdict("False", Reason.ACCESS_DENIED, message)
        case Unreachable(reason):
            return _verdict("False", Reason.BROKER_UNREACHABLE, f"{reason}; it is asked again")
        case Rejected(reason):
            return _verdict("False", Reason.TOPIC_NOT_READY, reason)
        case Unknown(reason):
            return _verdict("Unknown", Reason.WAITING, reason)


def _told(wanted: Sequence[TopicDefinition]) -> str:
    return ", ".join(f"{each.which.value} {each.partitions}" for each in wanted) + " partitions"


def _verdict(status: Truth, reason: Reason, message: str) -> Verdict:
    return Verdict(ASPECT, status, reason, message)
