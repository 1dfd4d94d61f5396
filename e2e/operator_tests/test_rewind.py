"""`lectern rewind` as a person runs it: by the kubeconfig, with the login of a Secret, at a real broker."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from e2e.operator_tests.kafka_user import KafkaUser
from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import ROOT
from e2e.testbed.kafka import OWNER, Kafka
from lectern_contract import names
from lectern_contract.names import Topic
from lectern_contract.resources import KnowledgeBase, parse_as
from lectern_operator.desired import worker
from lectern_operator_tests import worlds

SECONDS = 60


def command(objects: Objects, *arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors of `lectern rewind docs` with these options, without a terminal."""
    environment = {**os.environ, "KUBECONFIG": str(objects.plane.kubeconfig), "PYTHONPATH": str(ROOT / "runtimes")}
    done = subprocess.run(
        [sys.executable, "-m", "lectern_cli.main", "rewind", *arguments, "-n", objects.namespace],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def made(objects: Objects, kafka: Kafka) -> KnowledgeBase:
    """A knowledge base with a login, whose first generation has read and committed five of seven messages."""
    messaging = {
        "bootstrapServers": kafka.at("SASL_PLAINTEXT"),
        "securityProtocol": "SASL_PLAINTEXT",
        "saslMechanism": "PLAIN",
        "credentialsSecretRef": {"name": "login"},
    }
    login = {"username": OWNER, "password": kafka.passwords[OWNER]}
    secrets = f"/api/v1/namespaces/{objects.namespace}/secrets"
    data = {key: base64.b64encode(value.encode()).decode() for key, value in login.items()}
    objects.plane.request("POST", secrets, {"metadata": {"name": "login"}, "data": data})
    body = worlds.changed(worlds.KNOWLEDGE_BASE, messaging=messaging)
    Objects(objects.plane, objects.namespace).create(body)
    status = {"status": {"activeGeneration": 1}}
    path = f"{objects.path('KnowledgeBase', 'docs')}/status"
    objects.plane.request("PATCH", path, status, content_type="application/merge-patch+json")
    topic, group = names.topic(objects.namespace, "docs", Topic.DOCUMENTS), _group(objects)

    async def laid() -> None:
        user = KafkaUser(kafka.bootstrap)
        await user.make(topic, partitions=1, configs={"min.insync.replicas": "1", "cleanup.policy": "compact"})
        await user.write(topic, 7)
        await user.commit(group, topic, 5)

    asyncio.run(laid())
    found = parse_as(KnowledgeBase, body)
    return found.model_copy(update={"metadata": found.metadata.model_copy(update={"namespace": objects.namespace})})


def _group(objects: Objects) -> str:
    return names.consumer_group(objects.namespace, "docs", 1)


def _head(objects: Objects) -> str:
    topic = names.topic(objects.namespace, "docs", Topic.DOCUMENTS)
    return f"group {_group(objects)} on topic {topic}\n"


@pytest.mark.usefixtures("made")
def test_a_group_is_looked_at_sent_back_and_then_left_alone(objects: Objects) -> None:
    plan = f"{_head(objects)}partition 0: committed 5, new 2, at most 3 messages again\n"
    summary = "1 of 1 partitions, at most 3 messages again\n"
    back = ("docs", "--by-messages", "3")
    assert command(objects, *back, "--dry-run") == (0, f"{plan}dry run, nothing was written: {summary}", "")
    silent = "lectern: rewind asks before it writes, and there is no terminal: say --yes, or --dry-run\n"
    assert command(objects, *back) == (2, "", silent)
    assert command(objects, *back, "--yes") == (0, f"{plan}rewound: {summary}", "")
    again = f"{_head(objects)}partition 0: committed 2, stays: offset 7 lies ahead, and nothing is skipped\n"
    later = ("--to-time", "2100-01-01T00:00:00Z", "--yes")
    assert command(objects, "docs", *later) == (0, f"{again}nothing to rewind\n", "")


@pytest.mark.usefixtures("made")
def test_what_cannot_be_is_one_sentence(objects: Objects, kafka: Kafka) -> None:
    assert command(objects, "doc", "--to-start", "--yes") == (
        2,
        "",
        f"lectern: there is no KnowledgeBase doc in namespace {objects.namespace}; see kubectl get kb -A\n",
    )
    asyncio.run(KafkaUser(kafka.bootstrap).drop(names.topic(objects.namespace, "docs", Topic.DOCUMENTS)))
    assert command(objects, "docs", "--to-start", "--yes") == (
        2,
        "",
        f"lectern: the log has no topic 'lectern.{objects.namespace}.docs.documents'; it is made when its knowledge "
        "base is reconciled\n",
    )
    objects.plane.request("DELETE", f"/api/v1/namespaces/{objects.namespace}/secrets/login")
    assert command(objects, "docs", "--to-start", "--yes") == (
        2,
        "",
        f"lectern: there is no Secret login in namespace {objects.namespace}, which spec.messaging names; make it\n",
    )


def test_the_job_that_does_it_is_taken_by_the_api_server_and_has_what_a_worker_has(
    objects: Objects, made: KnowledgeBase
) -> None:
    (deployment,) = [
        each
        for each in worker.worker(made, generation=1, replicas=0, monitored=False, images=worlds.IMAGES)
        if each["kind"] == "Deployment"
    ]
    deployment["metadata"].pop("ownerReferences")
    objects.plane.request("POST", objects.path("Deployment"), deployment)
    status, out, err = command(objects, "docs", "--to-time", "2026-11-21T08:00:00Z", "--as-job")
    assert (status, err) == (0, "")
    job: dict[str, Any] = objects.plane.request("POST", objects.path("Job"), json.loads(out))
    pod, of_worker = job["spec"]["template"]["spec"], deployment["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == ["rewind", "--to-time=2026-11-21T08:00:00.000Z", "--generation=1", "--yes"]
    assert [each["name"] for each in pod["volumes"]] == [each["name"] for each in of_worker["volumes"]]
    for field in ("image", "volumeMounts", "securityContext"):
        assert pod["containers"][0][field] == of_worker["containers"][0][field]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels.items() <= job["spec"]["template"]["metadata"]["labels"].items()
