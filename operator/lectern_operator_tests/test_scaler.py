"""The ScaledObject of the workers: it reads the very lag that the workers write, and changes their number slowly."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lectern_contract import labels, names, wiring
from lectern_contract.names import Role, Topic
from lectern_contract.resources import KnowledgeBase, parse_as
from lectern_contract.settings import KafkaLog
from lectern_operator.desired import knowledge_base as desired
from lectern_operator.desired.deployment import handed_over
from lectern_operator_tests import worlds

Manifest = dict[str, Any]


def made(replicas: int | None = None, *, name: str = "docs", **paths: Any) -> dict[str, Manifest]:
    """Return the manifests of the workers by kind."""
    document = worlds.changed(worlds.KNOWLEDGE_BASE, **paths)
    kb = parse_as(KnowledgeBase, {**document, "metadata": {**document["metadata"], "name": name}})
    found = desired.manifests(kb, generation=3, replicas=replicas, scaled=replicas is None, images=worlds.IMAGES)
    return {each["kind"]: each for each in found if each["metadata"]["labels"][labels.ROLE] == Role.WORKER}


def test_it_counts_what_the_workers_have_not_read_yet() -> None:
    """Topic, group and the offset of a group without commits have to be the worker's own."""
    kb = worlds.knowledge_base()
    settings = wiring.worker_settings(kb, generation=3)
    assert isinstance(settings.log, KafkaLog)
    (trigger,) = made()["ScaledObject"]["spec"]["triggers"]
    assert trigger["metadata"] == {
        "bootstrapServers": settings.log.bootstrap_servers,
        "consumerGroup": names.consumer_group(settings.namespace, settings.knowledge_base, settings.generation),
        "topic": names.topic(settings.namespace, settings.knowledge_base, Topic.DOCUMENTS),
        "lagThreshold": "50",
        "activationLagThreshold": "0",
        "offsetResetPolicy": "earliest",
        "limitToPartitionsWithLag": "true",
    }


def test_a_broker_that_does_not_answer_takes_no_worker_away() -> None:
    fallback = made(workers__minReplicas=0)["ScaledObject"]["spec"]["fallback"]
    assert fallback == {"failureThreshold": 4, "replicas": 1, "behavior": "currentReplicasIfHigher"}


@pytest.mark.parametrize(("cooldown", "calm"), [(0, 60), (300, 300), (86400, 3600)])
def test_workers_go_no_faster_than_the_cooldown_and_kubernetes_allow(cooldown: int, calm: int) -> None:
    spec = made(workers__cooldownSeconds=cooldown)["ScaledObject"]["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"] == {"stabilizationWindowSeconds": calm}
    assert spec["cooldownPeriod"] == cooldown


def test_the_longest_name_is_one_that_keda_accepts() -> None:
    scaled = made(name="k" * 40)["ScaledObject"]
    assert len(scaled["metadata"]["name"]) <= 63
    assert scaled["spec"]["scaleTargetRef"]["name"] == made(name="k" * 40)["Deployment"]["metadata"]["name"]


def observed(replicas: int) -> Manifest:
    """Return a Deployment whose replicas the operator has set."""
    return made(replicas)["Deployment"]


def test_a_number_that_passes_to_an_autoscaler_is_held_as_it_is() -> None:
    assert handed_over(made()["Deployment"], observed(5)) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "docs-worker", "namespace": "team"},
        "spec": {"replicas": 5},
    }


def test_what_is_scaled_between_two_looks_is_held_as_it_was_seen() -> None:
    seen = copy.deepcopy(observed(5))
    seen["spec"]["replicas"] = 7
    held = handed_over(made()["Deployment"], seen)
    assert held is not None
    assert held["spec"] == {"replicas": 7}


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [(made(2), made(5)), (made(), made()), (made(), made(0))],
    ids=["the operator keeps it", "an autoscaler has it already", "none runs"],
)
def test_there_is_nothing_to_hand_over(wanted: dict[str, Manifest], seen: dict[str, Manifest]) -> None:
    assert handed_over(wanted["Deployment"], seen["Deployment"]) is None
