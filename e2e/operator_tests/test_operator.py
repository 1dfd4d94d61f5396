"""The operator as a process: real API server, real controllers, a fake node. One operator for all namespaces."""

from __future__ import annotations

import time
from typing import Any

import pytest

from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import RunningOperator, conditions, eventually, quiet
from e2e.testbed.fake_node import FakeNode, Pod, PodOutcome
from lectern_contract import labels, names, reports
from lectern_contract.resources.reasons import CONDITIONS
from lectern_operator_tests import worlds

pytestmark = pytest.mark.usefixtures("claims", "operator")
SECONDS = 20.0
FIXED = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=1, workers__maxReplicas=1)
TRIO = (("KnowledgeBase", "docs"), ("IngestionSource", "guides"), ("RagEndpoint", "ask"))


def all_ready(objects: Objects) -> bool:
    return all(conditions(objects.get(kind, name)).get("Ready", ("", ""))[0] == "True" for kind, name in TRIO)


def create_trio(objects: Objects) -> None:
    for document in (FIXED, worlds.SOURCE, worlds.ENDPOINT):
        objects.create(document)


def ready(objects: Objects) -> None:
    """Create one resource of each kind and wait until each is Ready."""
    create_trio(objects)
    eventually(lambda: all_ready(objects), SECONDS, lambda: [conditions(objects.get(*each)) for each in TRIO])


def test_status_tells_the_truth_at_each_moment(objects: Objects, fake_node: FakeNode) -> None:
    fake_node.ready_after = 1.5
    create_trio(objects)
    seen: dict[str, list[tuple[str, str]]] = {kind: [] for kind, _ in TRIO}
    deadline = time.monotonic() + SECONDS
    while not all_ready(objects):
        assert time.monotonic() < deadline, seen
        for kind, name in TRIO:
            body = objects.get(kind, name)
            if found := conditions(body):
                assert tuple(found) == CONDITIONS[kind]
                assert body["status"]["observedGeneration"] == 1
                if seen[kind][-1:] != [found["Ready"]]:
                    seen[kind].append(found["Ready"])
        if seen["RagEndpoint"][-1:] == [("True", "AllComponentsReady")]:
            status = objects.get("Deployment", "ask-query")["status"]
            assert status["availableReplicas"] == 1
        time.sleep(0.02)
    for kind, _ in TRIO:
        assert seen[kind], f"{kind}: no status before it was ready"
        assert seen[kind][0][0] in ("Unknown", "False")
        assert all(status != "True" for status, _ in seen[kind][:-1])


def test_a_table_for_people_says_ready_and_why_not(objects: Objects, fake_node: FakeNode) -> None:
    fake_node.ready_after = 60
    objects.create(FIXED)
    objects.create(worlds.ENDPOINT)

    def table() -> list[list[str]]:
        text = objects.plane.kubectl("get", "kb,rag", "-n", objects.namespace, "--no-headers").stdout
        return [line.split()[:3] for line in text.splitlines() if line]

    wanted = [
        ["knowledgebase.lectern.dev/docs", "False", "DeploymentProgressing"],
        ["ragendpoint.lectern.dev/ask", "False", "DeploymentProgressing"],
    ]
    eventually(lambda: table() == wanted, SECONDS, table)


@pytest.mark.usefixtures("fake_node")
@pytest.mark.parametrize(
    ("kind", "prefix"), [("Deployment", "ask-query"), ("Service", "docs-embedder"), ("ConfigMap", "docs-worker-")]
)
def test_a_deleted_child_comes_back(objects: Objects, kind: str, prefix: str) -> None:
    ready(objects)
    (child,) = [each for each in objects.list(kind) if each["metadata"]["name"].startswith(prefix)]
    objects.delete(kind, child["metadata"]["name"])

    def back() -> bool:
        found = [each for each in objects.list(kind) if each["metadata"]["name"] == child["metadata"]["name"]]
        return bool(found) and found[0]["metadata"]["uid"] != child["metadata"]["uid"]

    eventually(back, SECONDS)
    eventually(lambda: all_ready(objects), SECONDS)


@pytest.mark.usefixtures("fake_node")
def test_what_somebody_changes_is_taken_back_and_nothing_more_is_written(
    objects: Objects, operator: RunningOperator
) -> None:
    ready(objects)
    quiet(operator)
    objects.merge("Deployment", "ask-query", {"metadata": {"annotations": {"theirs": "1"}}})
    before = _ours(objects)
    quiet(operator)
    assert _ours(objects) == before, "a field of somebody else was touched, or the status flapped"
    objects.merge("Service", "ask-query", {"spec": {"selector": {"app": "other"}}})
    objects.merge("Deployment", "docs-embedder", {"spec": {"template": {"spec": {"enableServiceLinks": True}}}})

    def taken_back() -> bool:
        selector = objects.get("Service", "ask-query")["spec"]["selector"]
        spec = objects.get("Deployment", "docs-embedder")["spec"]["template"]["spec"]
        return "app" not in selector and spec["enableServiceLinks"] is False

    eventually(taken_back, SECONDS)
    eventually(lambda: all_ready(objects), SECONDS)
    assert objects.get("Deployment", "ask-query")["metadata"]["annotations"]["theirs"] == "1"


def _ours(objects: Objects) -> list[Any]:
    """What the operator has written of an endpoint and its Deployment, and when."""
    endpoint, deployment = objects.get("RagEndpoint", "ask"), objects.get("Deployment", "ask-query")
    by_us = [each for each in deployment["metadata"]["managedFields"] if each["manager"] == names.FIELD_MANAGER]
    return [endpoint["metadata"]["resourceVersion"], by_us]


@pytest.mark.usefixtures("fake_node")
def test_delete_leaves_nothing(objects: Objects) -> None:
    ready(objects)
    uids = [objects.get(kind, name)["metadata"]["uid"] for kind, name in TRIO]
    for kind, name in TRIO:
        objects.delete(kind, name)

    def left() -> list[str]:
        return [
            f"{kind}/{each['metadata']['name']}"
            for kind in ("ConfigMap", "Deployment", "Job", "Pod", "Service")
            for uid in uids
            for each in objects.list(kind, f"{labels.OWNER_UID}={uid}")
        ]

    eventually(lambda: not left(), SECONDS, left)
    assert [objects.list(kind) for kind, _ in TRIO] == [[], [], []]


@pytest.mark.usefixtures("fake_node")
def test_changed_settings_roll_out_and_the_old_file_goes_after_that(objects: Objects) -> None:
    ready(objects)

    def files() -> list[str]:
        found = [each["metadata"]["name"] for each in objects.list("ConfigMap")]
        return [name for name in found if name.startswith("docs-worker-")]

    (old,) = files()
    objects.merge("KnowledgeBase", "docs", {"spec": {"parsing": {"timeoutSeconds": 30}}})
    eventually(lambda: (found := files()) != [old] and len(found) == 1, SECONDS, files)
    (new,) = files()

    def mounted() -> list[str]:
        pods = objects.list("Pod", f"{labels.ROLE}=worker")
        volumes = [volume for pod in pods for volume in pod["spec"]["volumes"] if "configMap" in volume]
        return [volume["configMap"]["name"] for volume in volumes]

    eventually(lambda: mounted() == [new], SECONDS, mounted)  # the last pod of before may take a moment to go
    assert objects.get("ConfigMap", new)["immutable"] is True
    eventually(lambda: all_ready(objects), SECONDS)
    assert objects.get("KnowledgeBase", "docs")["status"]["observedGeneration"] == 2


def test_a_run_reports_by_its_termination_message(objects: Objects, fake_node: FakeNode) -> None:
    fake_node.outcome = _run_with_report
    ready(objects)
    status = objects.get("IngestionSource", "guides")["status"]
    run = status["lastRun"]
    assert (run["result"], run["listed"], run["published"], run["failed"]) == ("Succeeded", 25, 25, 0)
    assert run["finishedAt"] >= run["startedAt"]
    (job,) = objects.list("Job")
    annotate = {"metadata": {"annotations": {names.SYNC_REQUESTED: "again"}}}
    objects.merge("IngestionSource", "guides", annotate)

    def answered() -> bool:
        return bool(objects.get("IngestionSource", "guides")["status"].get("lastHandledSyncRequest") == "again")

    eventually(answered, SECONDS)
    assert len(objects.list("Job")) == 2
    assert objects.get("IngestionSource", "guides")["status"]["lastRun"]["job"] != job["metadata"]["name"]


def _run_with_report(pod: Pod) -> PodOutcome | None:
    if pod["spec"].get("restartPolicy") == "Always":
        return None
    now = "2026-11-21T00:00:00Z"
    report = reports.RunReport(
        source="team/guides", result="Succeeded", started_at=now, finished_at=now, listed=25, published=25
    )
    return PodOutcome(message=reports.encode(report).decode())


def test_a_failed_run_says_why_and_the_next_one_mends_it(objects: Objects, fake_node: FakeNode) -> None:
    def outcome(pod: Pod) -> PodOutcome | None:
        return None if pod["spec"].get("restartPolicy") == "Always" else PodOutcome(exit_code=1, message="out of disk")

    fake_node.outcome = outcome
    create_trio(objects)
    objects.merge("IngestionSource", "guides", {"spec": {"suspend": True}})
    objects.merge("IngestionSource", "guides", {"spec": {"suspend": False}})

    def failed() -> bool:
        return conditions(objects.get("IngestionSource", "guides")).get("Ready") == ("False", "RunFailed")

    # two retries of the Job with the controller's back-off of 10 and 20 s would be too long to wait for
    eventually(lambda: bool(objects.list("Job")), SECONDS)
    (job,) = objects.list("Job")
    objects.merge("Job", job["metadata"]["name"], {"spec": {"activeDeadlineSeconds": 1}})
    eventually(failed, SECONDS, lambda: objects.get("IngestionSource", "guides")["status"])
    fake_node.outcome = _run_with_report
    objects.merge("IngestionSource", "guides", {"metadata": {"annotations": {names.SYNC_REQUESTED: "mend"}}})
    eventually(lambda: all_ready(objects), SECONDS)


@pytest.mark.usefixtures("fake_node")
@pytest.mark.parametrize(
    ("document", "reason", "said"),
    [
        (worlds.changed(FIXED, messaging=None), "NotOnCluster", "set spec.messaging"),
        (
            worlds.changed(worlds.SOURCE, partition={"tenant": "acme", "accessLevel": "secret"}),
            "InvalidSpec",
            "spec.partition.accessLevel 'secret'",
        ),
        (worlds.changed(worlds.SOURCE, knowledgeBaseRef="nowhere"), "KnowledgeBaseMissing", "KnowledgeBase/nowhere"),
        (worlds.changed(worlds.ENDPOINT, knowledgeBaseRefs=["nowhere"]), "KnowledgeBaseMissing", "create it"),
        (worlds.changed(worlds.SOURCE, schedule="61 25 * * *"), "ApplyRefused", "61 25"),
    ],
)
def test_what_cannot_work_is_said_with_its_reason(
    objects: Objects, document: dict[str, Any], reason: str, said: str
) -> None:
    if document["kind"] != "KnowledgeBase":
        objects.create(FIXED)
    kind, name = document["kind"], document["metadata"]["name"]
    objects.create(document)
    eventually(
        lambda: conditions(objects.get(kind, name)).get("Ready") == ("False", reason),
        SECONDS,
        lambda: objects.get(kind, name).get("status"),
    )
    (found,) = [each for each in objects.get(kind, name)["status"]["conditions"] if each["type"] == "Ready"]
    assert said in found["message"]


@pytest.mark.usefixtures("fake_node")
def test_dependents_are_mended_when_the_knowledge_base_appears(objects: Objects) -> None:
    objects.create(worlds.SOURCE)
    objects.create(worlds.ENDPOINT)

    def missing(kind: str, name: str) -> bool:
        return conditions(objects.get(kind, name)).get("Ready") == ("False", "KnowledgeBaseMissing")

    eventually(lambda: missing("IngestionSource", "guides") and missing("RagEndpoint", "ask"), SECONDS)
    objects.create(FIXED)
    eventually(lambda: all_ready(objects), SECONDS)


@pytest.mark.usefixtures("fake_node")
def test_a_missing_secret_is_named_and_its_arrival_mends_it(objects: Objects) -> None:
    key = {"name": "qdrant", "key": "api-key"}
    objects.create(worlds.changed(FIXED, vectorStore__apiKeySecretRef=key))

    def waiting() -> bool:
        return conditions(objects.get("KnowledgeBase", "docs")).get("Ready") == ("False", "SecretMissing")

    eventually(waiting, SECONDS, lambda: objects.get("KnowledgeBase", "docs").get("status"))
    secret = {"metadata": {"name": "qdrant"}, "stringData": {"api-key": "x"}}
    objects.plane.request("POST", f"/api/v1/namespaces/{objects.namespace}/secrets", secret)
    eventually(lambda: conditions(objects.get("KnowledgeBase", "docs"))["Ready"][0] == "True", SECONDS)
