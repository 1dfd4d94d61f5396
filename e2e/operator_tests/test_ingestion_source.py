"""Runs and receivers of sources: the operator as a process, real API server and Job controllers, a fake node."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import RunningOperator, conditions, eventually, quiet
from e2e.testbed.fake_node import FakeNode, Pod, PodOutcome
from lectern_contract import labels, names, reports
from lectern_contract.reports import RunMode
from lectern_operator_tests import worlds

pytestmark = pytest.mark.usefixtures("claims", "operator")
SECONDS = 20.0
SOON = 10.0
"""Within what a reason has to be told."""
NOW = "2026-11-21T00:00:00Z"
FIXED = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=1, workers__maxReplicas=1)
NIGHTLY = {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin"}
PUSHED = worlds.changed(worlds.SOURCE, persistentVolume=None, push={"apiKeysSecretRef": {"name": "keys"}})


def reported(pod: Pod) -> PodOutcome | None:
    """End a connector's pod with a report of the mode that its arguments name."""
    if pod["spec"].get("restartPolicy") == "Always":
        return None
    mode = {each.lower(): each for each in RunMode}[pod["spec"]["containers"][0]["args"][-1]]
    report = reports.RunReport(
        source="team/guides", mode=mode, result="Succeeded", started_at=NOW, finished_at=NOW, listed=25, published=25
    )
    return PodOutcome(message=reports.encode(report).decode())


def create(objects: Objects, **spec: Any) -> None:
    objects.create(FIXED)
    objects.create(worlds.changed(worlds.SOURCE, **spec))


def source(objects: Objects) -> dict[str, Any]:
    return objects.get("IngestionSource", "guides")


def status(objects: Objects) -> dict[str, Any]:
    found: dict[str, Any] = source(objects).get("status", {})
    return found


def ask(objects: Objects, **values: str) -> None:
    notes = {"sync": names.SYNC_REQUESTED, "full": names.FULL_RESYNC_REQUESTED, "replay": names.REPLAY_REQUESTED}
    annotations = {notes[mode]: value for mode, value in values.items()}
    objects.merge("IngestionSource", "guides", {"metadata": {"annotations": annotations}})


def synced(objects: Objects) -> tuple[str, str]:
    return conditions(source(objects)).get("Synced", ("", ""))


def test_each_mode_is_asked_for_by_its_annotation_and_answered_once(
    objects: Objects, fake_node: FakeNode, operator: RunningOperator
) -> None:
    fake_node.outcome = reported
    create(objects)
    eventually(lambda: synced(objects) == ("True", "RunSucceeded"), SECONDS, lambda: status(objects))
    ask(objects, sync="a", full="b", replay="c")
    answered = {
        "lastHandledSyncRequest": "a",
        "lastHandledFullResyncRequest": "b",
        "lastHandledReplayRequest": "c",
    }
    eventually(lambda: answered.items() <= status(objects).items(), SECONDS, lambda: status(objects))
    jobs = sorted(objects.list("Job"), key=lambda job: (job["status"]["startTime"], job["metadata"]["name"]))
    modes = [job["metadata"]["annotations"][labels.RUN_MODE] for job in jobs]
    assert sorted(modes) == ["Full", "Replay", "Sync"], "the full run answers the sync as well"
    found = status(objects)
    assert (found["lastRun"]["mode"], found["lastReplay"]["mode"]) == ("Full", "Replay")
    assert found["lastReplay"]["published"] == 25
    quiet(operator)
    before = objects.versions()
    objects.merge("IngestionSource", "guides", {"metadata": {"annotations": {"theirs": "1"}}})
    quiet(operator)
    after = objects.versions()
    assert {name for name in after if after[name] != before.get(name)} == {"IngestionSource/guides"}
    assert len(objects.list("Job")) == 3


def test_a_schedule_with_a_zone_stands_still_while_an_asked_run_goes_on(
    objects: Objects, fake_node: FakeNode, operator: RunningOperator
) -> None:
    create(objects, **NIGHTLY)
    eventually(lambda: conditions(source(objects)).get("Ready") == ("True", "Scheduled"), SECONDS)
    spec = objects.get("CronJob", "guides-connector")["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["suspend"]) == ("30 2 * * *", "Europe/Berlin", False)

    def long(pod: Pod) -> PodOutcome | None:
        ended = reported(pod)
        return None if ended is None else PodOutcome(message=ended.message, after=2.0)

    fake_node.outcome = long
    ask(objects, sync="now")
    eventually(lambda: bool(objects.list("Job")), SECONDS)
    assert objects.get("CronJob", "guides-connector")["spec"]["suspend"] is True
    eventually(lambda: status(objects).get("lastHandledSyncRequest") == "now", SECONDS, lambda: status(objects))
    eventually(lambda: objects.get("CronJob", "guides-connector")["spec"]["suspend"] is False, SECONDS)
    quiet(operator)
    assert conditions(source(objects))["Ready"] == ("True", "AllComponentsReady")


def test_what_the_schedule_starts_is_told_and_kept(objects: Objects, fake_node: FakeNode) -> None:
    fake_node.outcome = reported
    create(objects, **NIGHTLY)
    eventually(lambda: conditions(source(objects)).get("Ready") == ("True", "Scheduled"), SECONDS)
    objects.plane.kubectl("create", "job", "by-hand", "--from=cronjob/guides-connector", "-n", objects.namespace)
    eventually(lambda: status(objects).get("lastRun", {}).get("job") == "by-hand", SECONDS, lambda: status(objects))
    eventually(lambda: synced(objects) == ("True", "RunSucceeded"), SECONDS, lambda: status(objects))
    assert [job["metadata"]["name"] for job in objects.list("Job")] == ["by-hand"]


@pytest.mark.usefixtures("fake_node")
def test_a_suspended_source_starts_nothing(objects: Objects, operator: RunningOperator) -> None:
    create(objects, **NIGHTLY, suspend=True)
    ask(objects, sync="now")
    eventually(lambda: conditions(source(objects)).get("Ready") == ("True", "Suspended"), SECONDS)
    quiet(operator)
    assert objects.list("Job") == []
    assert objects.get("CronJob", "guides-connector")["spec"]["suspend"] is True


def test_wrong_settings_end_a_run_at_its_first_pod(objects: Objects, fake_node: FakeNode) -> None:
    def refused(pod: Pod) -> PodOutcome | None:
        connector = pod["spec"].get("restartPolicy") != "Always"
        return PodOutcome(exit_code=2, message="ERROR settings.json: log.kind: unknown") if connector else None

    fake_node.outcome = refused
    create(objects)
    eventually(lambda: synced(objects) == ("False", "RunFailed"), SOON, lambda: status(objects))
    message = status(objects)["lastRun"]["message"]
    assert "its last line: ERROR settings.json: log.kind: unknown" in message
    assert "PodFailurePolicy" in message
    assert len(objects.list("Pod", f"{labels.ROLE}=connector")) == 1


def test_a_claim_that_is_missing_is_named_soon(objects: Objects, fake_node: FakeNode) -> None:
    fake_node.outcome = reported
    create(objects, persistentVolume={"claimName": "nowhere"})

    def told() -> bool:
        found = status(objects).get("conditions", ())
        return any(each["type"] == "Synced" and "nowhere" in each["message"] for each in found)

    eventually(told, SOON, lambda: status(objects))


@pytest.mark.usefixtures("fake_node")
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"schedule": "0 2 * * *", "timeZone": "Nowhere/City"}, "Nowhere/City"),
        ({"schedule": "0 2 31 2 8"}, "0 2 31 2 8"),
    ],
)
def test_what_the_api_server_refuses_is_said_in_its_words(objects: Objects, spec: dict[str, Any], said: str) -> None:
    create(objects, **spec)

    def told() -> bool:
        found = [each for each in status(objects).get("conditions", ()) if each["type"] == "Ready"]
        return bool(found) and found[0]["reason"] == "ApplyRefused" and said in found[0]["message"]

    eventually(told, SOON, lambda: status(objects))
    objects.merge("IngestionSource", "guides", {"spec": {**NIGHTLY}})
    eventually(lambda: conditions(source(objects)).get("Ready") == ("True", "Scheduled"), SECONDS)


@pytest.mark.usefixtures("fake_node")
def test_a_push_source_has_a_receiver_with_an_address(objects: Objects, operator: RunningOperator) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"a": "hash"}}
    objects.plane.request("POST", f"/api/v1/namespaces/{objects.namespace}/secrets", secret)
    objects.create(FIXED)
    objects.create(PUSHED)
    eventually(
        lambda: conditions(source(objects)).get("Ready") == ("True", "AllComponentsReady"),
        SECONDS,
        lambda: status(objects),
    )
    assert status(objects)["url"] == f"http://guides-receiver.{objects.namespace}.svc:8080"
    (port,) = objects.get("Service", "guides-receiver")["spec"]["ports"]
    assert (port["name"], port["port"]) == ("http", 8080)
    assert objects.list("Job") == []
    quiet(operator)
    before = objects.versions()
    objects.merge("IngestionSource", "guides", {"spec": {"suspend": True}})
    eventually(lambda: conditions(source(objects)).get("Ready") == ("True", "Suspended"), SECONDS)
    eventually(lambda: objects.get("Deployment", "guides-receiver")["spec"]["replicas"] == 0, SECONDS)
    changed = {name for name, version in objects.versions().items() if before[name] != version}
    assert changed == {"IngestionSource/guides", "Deployment/guides-receiver"}


@pytest.mark.usefixtures("fake_node")
def test_a_name_at_the_limit_and_text_of_any_script_are_taken(objects: Objects) -> None:
    name = "n" * 40
    objects.create(FIXED)
    document = worlds.changed(worlds.SOURCE, **NIGHTLY, metadata={"titel": "Häuser – 家"})
    notes = {names.FULL_RESYNC_REQUESTED: "heute – 今日"}
    objects.create({**document, "metadata": {"name": name, "annotations": notes}})

    def answered() -> bool:
        found = objects.get("IngestionSource", name).get("status", {})
        return bool(found.get("lastHandledFullResyncRequest") == "heute – 今日")

    eventually(answered, SECONDS, lambda: objects.get("IngestionSource", name).get("status"))
