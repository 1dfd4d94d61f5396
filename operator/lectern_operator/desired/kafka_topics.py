"""The topics of a KnowledgeBase as KafkaTopics of Strimzi, for clusters where topics are resources.

Called by `desired.knowledge_base` with `topicManagement: Strimzi`. A KafkaTopic is named like its topic: dots separate
parts that have none, so that no two knowledge bases meet, and 125 characters are the most. Strimzi deletes a topic with
its KafkaTopic, so one whose topic has to stay is cut loose first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lectern_contract import topics as contract
from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase
from lectern_contract.topics import IN_SYNC, TopicDefinition
from lectern_operator.desired.metadata import Manifest, metadata, owner, sealed

API_VERSION = "kafka.strimzi.io/v1"
KIND = "KafkaTopic"
CLUSTER = "strimzi.io/cluster"
MANAGED = "strimzi.io/managed"


def kafka_topics(
    kb: KnowledgeBase, *, cluster: str, observed: Mapping[str, Mapping[str, Any]], managed: bool = True
) -> list[Manifest]:
    """Return the KafkaTopics of `kb` in the Kafka `cluster`; `observed` are those that exist, by name.

    With `managed` false they are those that exist, cut loose: topics stay when they go.
    """
    definitions = contract.topics(kb)
    if not managed:
        definitions = tuple(each for each in definitions if each.name in observed)
    return [_kafka_topic(kb, each, cluster, observed.get(each.name), managed=managed) for each in definitions]


def cut_loose(kb: KnowledgeBase, observed: Mapping[str, Mapping[str, Any]]) -> list[Manifest]:
    """Return the KafkaTopics that exist, told that their topics outlive them."""
    clusters = {name: each["metadata"].get("labels", {}).get(CLUSTER, "") for name, each in observed.items()}
    return [
        each
        for name, cluster in sorted(clusters.items())
        for each in kafka_topics(kb, cluster=cluster, observed={name: observed[name]}, managed=False)
    ]


def _kafka_topic(
    kb: KnowledgeBase, topic: TopicDefinition, cluster: str, found: Mapping[str, Any] | None, *, managed: bool
) -> Manifest:
    about = metadata(owner(kb), topic.name, Role.WORKER, {} if managed else {MANAGED: "false"})
    about["labels"][CLUSTER] = cluster
    return sealed(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": about,
            "spec": {
                "topicName": topic.name,
                "partitions": topic.partitions,
                "replicas": topic.replication_factor,
                "config": {**topic.configs, IN_SYNC: _in_sync(topic, found)},
            },
        }
    )


def _in_sync(topic: TopicDefinition, found: Mapping[str, Any] | None) -> str:
    """Return how many copies have to be in step: more than now only when Strimzi says that the copies are there.

    The other way round every producer would stand still until somebody has moved the partitions.
    """
    wanted = topic.configs[IN_SYNC]
    if found is None or _settled(found, topic.replication_factor):
        return wanted
    before = str(found.get("spec", {}).get("config", {}).get(IN_SYNC, wanted))
    return min(wanted, before, key=int) if before.isdecimal() else wanted


def _settled(found: Mapping[str, Any], copies: int) -> bool:
    status = found.get("status", {})
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in status.get("conditions", ()))
    current = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 1)
    return bool(ready and current and found.get("spec", {}).get("replicas") == copies)
