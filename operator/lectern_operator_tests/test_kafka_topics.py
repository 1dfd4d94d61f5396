"""KafkaTopics as they are applied: names, labels, settings, and what happens before they go."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from lectern_contract import labels
from lectern_contract import topics as contract
from lectern_contract.resources import KnowledgeBase
from lectern_operator.desired.kafka_topics import kafka_topics
from lectern_operator.policies import topics as policy
from lectern_operator.policies.drift import drifted
from lectern_operator_tests import worlds

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
Manifest = dict[str, Any]


def strimzi(**paths: Any) -> KnowledgeBase:
    return worlds.knowledge_base(messaging__topicManagement="Strimzi", messaging__strimziCluster="main", **paths)


def made(
    kb: KnowledgeBase, observed: dict[str, Manifest] | None = None, *, managed: bool = True
) -> dict[str, Manifest]:
    found = kafka_topics(kb, cluster="main", observed=observed or {}, managed=managed)
    return {each["metadata"]["name"]: each for each in found}


def confirmed(manifest: Manifest, *, ready: str = "True") -> Manifest:
    """Return the KafkaTopic as it is when Strimzi has looked at it."""
    conditions = [{"type": "Ready", "status": ready}]
    found = {**copy.deepcopy(manifest), "status": {"observedGeneration": 1, "conditions": conditions}}
    found["metadata"]["generation"] = 1
    return found


def in_sync(manifest: Manifest) -> str:
    value: str = manifest["spec"]["config"]["min.insync.replicas"]
    return value


def test_a_kafka_topic_is_this() -> None:
    found = made(strimzi())["lectern.team.docs.documents"]
    digest = found["metadata"]["annotations"].pop(labels.APPLIED)
    assert re.fullmatch("[0-9a-f]{16}", digest)
    assert found == {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {
            "name": "lectern.team.docs.documents",
            "namespace": "team",
            "labels": {
                "app.kubernetes.io/component": "worker",
                "app.kubernetes.io/managed-by": "lectern",
                "app.kubernetes.io/name": "lectern",
                "lectern.dev/owner-uid": "uid-kb",
                "lectern.dev/role": "worker",
                "strimzi.io/cluster": "main",
            },
            "annotations": {},
            "ownerReferences": [
                {
                    "apiVersion": "lectern.dev/v1alpha1",
                    "kind": "KnowledgeBase",
                    "name": "docs",
                    "uid": "uid-kb",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "topicName": "lectern.team.docs.documents",
            "partitions": 6,
            "replicas": 1,
            "config": {
                "cleanup.policy": "compact",
                "max.compaction.lag.ms": "604800000",
                "max.message.bytes": "1048576",
                "min.compaction.lag.ms": "3600000",
                "min.insync.replicas": "1",
                "segment.ms": "86400000",
            },
        },
    }


def test_both_ways_make_the_same_topics() -> None:
    kb = strimzi(messaging__replicationFactor=3, messaging__partitions=1000)
    assert [
        (m["spec"]["topicName"], m["spec"]["partitions"], m["spec"]["replicas"], m["spec"]["config"])
        for m in made(kb).values()
    ] == [(each.name, each.partitions, each.replication_factor, each.configs) for each in contract.topics(kb)]


def test_equal_resources_have_equal_bytes() -> None:
    assert made(strimzi()) == made(strimzi())


def test_names_at_the_limit_are_names_of_objects_and_of_topics() -> None:
    kb = strimzi()
    longest = kb.metadata.model_copy(update={"name": "k" * 40, "namespace": "n" * 63})
    for name in made(kb.model_copy(update={"metadata": longest})):
        assert SUBDOMAIN.fullmatch(name)
        assert len(name) <= 125 < 249


def test_what_is_ready_is_no_drift() -> None:
    for name, manifest in made(strimzi()).items():
        found = confirmed(manifest)
        assert not drifted(made(strimzi(), {name: found})[name], found)


def test_more_copies_in_step_are_asked_for_only_when_the_copies_are_there() -> None:
    name = "lectern.team.docs.documents"
    before = confirmed(made(strimzi())[name])
    more = strimzi(messaging__replicationFactor=3)
    first = made(more, {name: before})[name]
    assert (first["spec"]["replicas"], in_sync(first)) == (3, "1")
    waiting = confirmed(first, ready="False")
    assert made(more, {name: waiting})[name] == first, "the second pass writes nothing"
    done = confirmed(first)
    last = made(more, {name: done})[name]
    assert in_sync(last) == "2"
    assert made(more, {name: confirmed(last)})[name] == last


def test_fewer_copies_in_step_are_asked_for_before_the_copies_go() -> None:
    name = "lectern.team.docs.documents"
    before = confirmed(made(strimzi(messaging__replicationFactor=3))[name])
    assert in_sync(before) == "2"
    first = made(strimzi(), {name: before})[name]
    assert (first["spec"]["replicas"], in_sync(first)) == (1, "1")


@pytest.mark.parametrize("value", ["many", "", None])
def test_nonsense_that_somebody_wrote_is_put_right(value: str | None) -> None:
    name = "lectern.team.docs.documents"
    found = confirmed(made(strimzi())[name], ready="False")
    found["spec"]["config"]["min.insync.replicas"] = value
    assert in_sync(made(strimzi(), {name: found})[name]) == "1"


def test_topics_that_stay_are_cut_loose_and_none_is_made_for_it() -> None:
    kb = strimzi()
    there = {name: confirmed(each) for name, each in made(kb).items() if name.endswith(("audit", "events"))}
    assert policy.held_by_strimzi(there) == tuple(there)
    loose = made(kb, there, managed=False)
    assert list(loose) == list(there)
    assert policy.held_by_strimzi(loose) == ()
    for name, each in loose.items():
        assert each["spec"] == there[name]["spec"]
        assert each["metadata"]["annotations"]["strimzi.io/managed"] == "false"
