"""KafkaTopics of ours under Strimzi's own definition: accepted as written, no drift, cut loose before they go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.operator_tests.running import ROOT
from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.control_plane import control_plane as start_control_plane
from e2e.testbed.platform_crds import strimzi_crds
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import Reason
from lectern_operator.clients import kube
from lectern_operator.desired.kafka_topics import kafka_topics
from lectern_operator.facts import Known, Unknown
from lectern_operator.policies import topics as policy
from lectern_operator.policies.drift import drifted
from lectern_operator_tests import worlds

Manifest = dict[str, Any]
NAMESPACE = "default"


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start a control plane with Strimzi's kind; no Topic Operator runs in it."""
    with start_control_plane(tmp_path_factory.mktemp("strimzi")) as plane:
        plane.install_crds(ROOT / "crds", *strimzi_crds())
        yield plane


def knowledge_base(plane: ControlPlane, name: str, **paths: Any) -> KnowledgeBase:
    """Make a knowledge base whose topics are KafkaTopics."""
    kb = worlds.knowledge_base(messaging__topicManagement="Strimzi", messaging__strimziCluster="main", **paths)
    document = {**worlds.KNOWLEDGE_BASE, "metadata": {"name": name}}
    found = plane.request("POST", f"/apis/lectern.dev/v1alpha1/namespaces/{NAMESPACE}/knowledgebases", document)
    metadata = {"name": name, "namespace": NAMESPACE, "uid": found["metadata"]["uid"]}
    return kb.model_copy(update={"metadata": kb.metadata.model_copy(update=metadata)})


async def applied(
    cluster: kube.Kube, kb: KnowledgeBase, observed: dict[str, Manifest] | None = None, *, managed: bool = True
) -> dict[str, Manifest]:
    """Apply the KafkaTopics and return them as the server has them; none of them may count as drift."""
    found = {}
    for manifest in kafka_topics(kb, cluster="main", observed=observed or {}, managed=managed):
        found[manifest["metadata"]["name"]] = after = await cluster.apply(manifest)
        assert not drifted(manifest, after)
    return found


def told(plane: ControlPlane, name: str, generation: int, **condition: str) -> None:
    """Write a status as Strimzi's Topic Operator does."""
    path = f"/apis/kafka.strimzi.io/v1/namespaces/{NAMESPACE}/kafkatopics/{name}/status"
    status = {"observedGeneration": generation, "topicName": name, "conditions": [condition]}
    plane.request("PATCH", path, {"status": status}, content_type="application/merge-patch+json")


def judged(kb: KnowledgeBase, topics: dict[str, Manifest]) -> tuple[str, Reason]:
    verdict = policy.verdict(kb, broker=Unknown("not asked"), strimzi=Known(value=True), topics=topics)
    return verdict.status, verdict.reason


async def test_topics_are_ready_when_strimzi_says_so(control_plane: ControlPlane) -> None:
    kb = knowledge_base(control_plane, "ready")
    async with kube.connect(await kube.load(control_plane.kubeconfig)) as cluster:
        topics = await applied(cluster, kb)
        assert len(topics) == 4
        assert judged(kb, topics) == ("False", Reason.PROGRESSING)
        for name, each in topics.items():
            told(control_plane, name, each["metadata"]["generation"], type="Ready", status="True")
        seen = {name: await cluster.get("KafkaTopic", NAMESPACE, name) for name in topics}
        assert judged(kb, seen) == ("True", Reason.TOPICS_EXIST)
        refused = "lectern.default.ready.events"
        told(control_plane, refused, 1, type="Ready", status="False", reason="NotSupported", message="no")
        assert judged(kb, {**seen, refused: await cluster.get("KafkaTopic", NAMESPACE, refused)}) == (
            "False",
            Reason.TOPIC_NOT_READY,
        )


async def test_names_and_partitions_at_their_limits_are_accepted(control_plane: ControlPlane) -> None:
    kb = knowledge_base(control_plane, "k" * 40, messaging__partitions=1000, messaging__replicationFactor=16)
    async with kube.connect(await kube.load(control_plane.kubeconfig)) as cluster:
        topics = await applied(cluster, kb)
        assert topics[f"lectern.default.{'k' * 40}.documents"]["spec"]["partitions"] == 1000


async def test_what_stays_is_cut_loose_with_one_write(control_plane: ControlPlane) -> None:
    kb = knowledge_base(control_plane, "loose")
    async with kube.connect(await kube.load(control_plane.kubeconfig)) as cluster:
        topics = await applied(cluster, kb)
        assert policy.held_by_strimzi(topics) == tuple(sorted(topics))
        loose = await applied(cluster, kb, topics, managed=False)
        assert policy.held_by_strimzi(loose) == ()
        again = await applied(cluster, kb, loose, managed=False)
        assert {each["metadata"]["resourceVersion"] for each in again.values()} == {
            each["metadata"]["resourceVersion"] for each in loose.values()
        }
        back = await applied(cluster, kb, loose)
        assert policy.held_by_strimzi(back) == tuple(sorted(topics))
