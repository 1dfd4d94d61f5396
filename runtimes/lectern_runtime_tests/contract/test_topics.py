"""What the four topics have to be, whoever makes them."""

from __future__ import annotations

from typing import Any

import pytest

from lectern_contract import messages, resources, topics
from lectern_contract.names import Topic
from lectern_contract.resources import KnowledgeBase, parse_as
from lectern_contract.topics import TopicDefinition


def knowledge_base(**messaging: Any) -> KnowledgeBase:
    return parse_as(
        KnowledgeBase,
        {
            "apiVersion": resources.API_VERSION,
            "kind": "KnowledgeBase",
            "metadata": {"name": "docs", "namespace": "team", "uid": "u", "generation": 1},
            "spec": {
                "embedding": {"model": "m", "dimensions": 4, "server": {"managed": {}}},
                "vectorStore": {"url": "http://qdrant:6333"},
                "messaging": {"bootstrapServers": "kafka:9092", **messaging},
                "workers": {"maxReplicas": 1},
                "blobStore": {"persistentVolume": {"claimName": "blobs"}},
            },
        },
    )


def of(kb: KnowledgeBase) -> dict[Topic, TopicDefinition]:
    return {each.which: each for each in topics.topics(kb)}


def test_there_is_one_of_each_by_name() -> None:
    found = topics.topics(knowledge_base())
    assert [each.name for each in found] == [
        "lectern.team.docs.audit",
        "lectern.team.docs.dead-letters",
        "lectern.team.docs.documents",
        "lectern.team.docs.events",
    ]
    assert {each.which for each in found} == set(Topic)


def test_equal_resources_have_equal_topics() -> None:
    assert topics.topics(knowledge_base()) == topics.topics(knowledge_base())


@pytest.mark.parametrize(("partitions", "events"), [(1, 1), (2, 2), (6, 3), (1000, 3)])
def test_the_spec_says_the_partitions_of_the_documents_alone(partitions: int, events: int) -> None:
    found = {which: each.partitions for which, each in of(knowledge_base(partitions=partitions)).items()}
    assert found == {Topic.AUDIT: 1, Topic.DEAD_LETTERS: 1, Topic.DOCUMENTS: partitions, Topic.EVENTS: events}


def test_documents_are_compacted_and_never_deleted_by_age() -> None:
    assert of(knowledge_base())[Topic.DOCUMENTS].configs == {
        "cleanup.policy": "compact",
        "max.compaction.lag.ms": "604800000",
        "max.message.bytes": "1048576",
        "min.compaction.lag.ms": "3600000",
        "min.insync.replicas": "1",
        "segment.ms": "86400000",
    }


@pytest.mark.parametrize("which", [Topic.AUDIT, Topic.DEAD_LETTERS, Topic.EVENTS])
def test_everything_else_is_bounded_by_age(which: Topic) -> None:
    configs = of(knowledge_base())[which].configs
    assert configs["cleanup.policy"] == "delete"
    assert int(configs["retention.ms"]) > 0


@pytest.mark.parametrize(("copies", "in_sync"), [(1, "1"), (2, "1"), (3, "2"), (5, "2")])
def test_one_copy_may_be_away_without_loss_or_standstill(copies: int, in_sync: str) -> None:
    for each in topics.topics(knowledge_base(replicationFactor=copies)):
        assert each.replication_factor == copies
        assert each.configs["min.insync.replicas"] == in_sync
        assert each.configs_with(copies) == each.configs


@pytest.mark.parametrize(("wanted", "there", "in_sync"), [(3, 1, "1"), (3, 2, "1"), (1, 3, "1"), (4, 3, "2")])
def test_no_more_copies_in_step_are_asked_for_than_there_are(wanted: int, there: int, in_sync: str) -> None:
    for each in topics.topics(knowledge_base(replicationFactor=wanted)):
        assert each.configs_with(there) == {**each.configs, "min.insync.replicas": in_sync}


def test_every_setting_is_one_that_is_looked_at() -> None:
    found = {key for each in topics.topics(knowledge_base()) for key in each.configs}
    assert tuple(sorted(found)) == topics.CONFIG_KEYS


def test_a_message_fits_into_every_topic() -> None:
    assert messages.MAX_MESSAGE_BYTES < topics.MAX_BATCH_BYTES


def test_a_log_that_is_not_on_a_broker_has_no_topics() -> None:
    kb = knowledge_base()
    without = kb.model_copy(update={"spec": kb.spec.model_copy(update={"messaging": None})})
    assert topics.topics(without) == ()
