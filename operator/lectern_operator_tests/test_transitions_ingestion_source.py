"""IngestionSource: given this world, one pass, that world; and a second pass that writes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lectern_contract import labels, names, reports
from lectern_contract.resources.reasons import CONDITIONS
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import NOW, FakeCluster
from lectern_operator_tests.passes import Operator
from lectern_operator_tests.passes import names as named

KIND = "IngestionSource"
REPORT = reports.encode(
    reports.RunReport(
        source="team/guides", result="Succeeded", started_at=NOW, finished_at=NOW, listed=25, published=20, unchanged=5
    )
).decode()


def operator(document: dict[str, Any] = worlds.SOURCE, *, knowledge_base: dict[str, Any] | None = None) -> Operator:
    cluster = FakeCluster()
    cluster.put(worlds.KNOWLEDGE_BASE if knowledge_base is None else knowledge_base)
    cluster.put(document)
    return Operator(cluster)


async def synced(document: dict[str, Any] = worlds.SOURCE) -> Operator:
    """An operator whose source has run once."""
    found = operator(document)
    await found.settle()
    (job,) = named(found.cluster, "Job")
    found.cluster.finish(job, message=REPORT)
    await found.settle()
    return found


def ask(source: Operator, value: str) -> None:
    """Ask for a run."""
    source.cluster.edit(KIND, "guides", {"metadata": {"annotations": {names.SYNC_REQUESTED: value}}})


async def test_a_new_source_without_a_schedule_runs_once() -> None:
    source = operator()
    await source.settle()
    (job,) = named(source.cluster, "Job")
    assert tuple(source.judged(KIND, "guides")) == CONDITIONS[KIND]
    assert source.judged(KIND, "guides") == {
        "Ready": ("Unknown", "Running"),
        "Reconciling": ("True", "Progressing"),
        "Stalled": ("False", "Stable"),
        "SpecHonored": ("True", "AsSpecified"),
        "KnowledgeBaseFound": ("True", "KnowledgeBaseExists"),
        "ReferencesFound": ("True", "ReferencesExist"),
        "Synced": ("Unknown", "Running"),
        "ReceiverReady": ("True", "NotNeeded"),
        "ConfigApplied": ("True", "NotNeeded"),
        "DocumentsIndexed": ("Unknown", "Unknown"),
    }
    assert source.status(KIND, "guides")["lastRun"]["result"] == "Running"
    source.cluster.finish(job, message=REPORT)
    await source.settle()
    assert source.judged(KIND, "guides")["Ready"] == ("True", "AllComponentsReady")
    run = source.status(KIND, "guides")["lastRun"]
    counts = (run["listed"], run["published"], run["unchanged"], run["failed"])
    assert (run["result"], run["job"], counts) == ("Succeeded", job, (25, 20, 5, 0))
    assert named(source.cluster, "Job") == [job]


async def test_a_finished_run_that_is_cleaned_up_is_not_run_again() -> None:
    source = await synced()
    before = source.status(KIND, "guides")
    (job,) = named(source.cluster, "Job")
    source.cluster.remove("Job", job)
    assert await source.settle() == []
    assert source.status(KIND, "guides") == before


async def test_a_run_that_is_deleted_before_its_end_comes_back() -> None:
    source = operator()
    await source.settle()
    (job,) = named(source.cluster, "Job")
    source.cluster.remove("Job", job)
    await source.settle()
    assert named(source.cluster, "Job") == [job]


async def test_an_annotation_asks_for_another_run_and_is_answered_at_its_end() -> None:
    source = await synced()
    ask(source, "2026-11-21T10:00")
    await source.settle()
    assert len(named(source.cluster, "Job")) == 2
    assert source.judged(KIND, "guides")["Ready"][0] == "True", "the index still holds the last run"
    assert source.judged(KIND, "guides")["Synced"] == ("True", "Running")
    assert "lastHandledSyncRequest" not in source.status(KIND, "guides")
    (job,) = [
        name
        for name in named(source.cluster, "Job")
        if source.cluster.objects["Job", "team", name]["metadata"]["annotations"].get(labels.SYNC_REQUEST)
    ]
    source.cluster.finish(job, message=REPORT)
    source.cluster.objects["Job", "team", job]["status"]["startTime"] = "2026-11-21T10:00:00Z"
    await source.settle()
    assert source.status(KIND, "guides")["lastHandledSyncRequest"] == "2026-11-21T10:00"
    assert source.status(KIND, "guides")["lastRun"]["job"] == job


async def test_no_run_starts_beside_another() -> None:
    source = operator()
    await source.settle()
    ask(source, "now")
    await source.settle()
    (job,) = named(source.cluster, "Job")
    source.cluster.finish(job, message=REPORT)
    await source.settle()
    assert len(named(source.cluster, "Job")) == 2


async def test_a_changed_source_runs_again_and_is_not_ready_before_its_end() -> None:
    source = await synced()
    source.cluster.put(worlds.changed(worlds.SOURCE, include=["**/*.md"]))
    await source.settle()
    assert source.judged(KIND, "guides")["Ready"] == ("Unknown", "Running")
    assert len(named(source.cluster, "Job")) == 2


async def test_settings_that_come_back_run_again() -> None:
    source = await synced()
    for hour, include in enumerate((["**/*.md"], ["**"])):
        source.cluster.put(worlds.changed(worlds.SOURCE, include=include))
        await source.settle()
        job = source.status(KIND, "guides")["lastRun"]["job"]
        assert source.judged(KIND, "guides")["Ready"] == ("Unknown", "Running")
        source.cluster.finish(job, message=REPORT)
        source.cluster.objects["Job", "team", job]["status"]["startTime"] = f"2026-11-22T1{hour}:00:00Z"
        await source.settle()
    assert len(named(source.cluster, "Job")) == 3


async def test_a_failed_run_says_why_and_how_to_run_again() -> None:
    source = operator()
    await source.settle()
    (job,) = named(source.cluster, "Job")
    failed = reports.RunReport(
        source="team/guides", result="Failed", message="no such directory", started_at=NOW, finished_at=NOW
    )
    source.cluster.finish(job, message=reports.encode(failed).decode(), succeeded=False)
    await source.settle()
    assert source.judged(KIND, "guides")["Ready"] == ("False", "RunFailed")
    assert source.judged(KIND, "guides")["Stalled"] == ("True", "RunFailed")
    message = source.condition(KIND, "guides", "Synced")["message"]
    assert "no such directory" in message
    assert "kubectl annotate --overwrite isrc guides lectern.dev/sync-requested-at=" in message


async def test_documents_left_behind_are_no_success() -> None:
    source = operator()
    await source.settle()
    (job,) = named(source.cluster, "Job")
    partial = reports.RunReport(
        source="team/guides", result="Succeeded", started_at=NOW, finished_at=NOW, listed=3, published=2, failed=1
    )
    source.cluster.finish(job, message=reports.encode(partial).decode())
    await source.settle()
    assert source.judged(KIND, "guides")["Synced"] == ("False", "RunFailed")
    assert "1 of 3 documents were left behind" in source.condition(KIND, "guides", "Synced")["message"]


@pytest.mark.parametrize("message", ["", "Traceback (most recent call last)", '{"result": 7}'])
async def test_a_run_without_a_report_is_told_by_its_job(message: str) -> None:
    source = operator()
    await source.settle()
    (job,) = named(source.cluster, "Job")
    source.cluster.finish(job, message=message)
    await source.settle()
    assert source.status(KIND, "guides")["lastRun"]["result"] == "Succeeded"
    assert "report" in source.status(KIND, "guides")["lastRun"]["message"]


async def test_a_schedule_is_a_cron_job_and_ready_before_its_first_run() -> None:
    source = operator(worlds.changed(worlds.SOURCE, schedule="0 2 * * *", timeZone="Europe/Berlin"))
    await source.settle()
    assert named(source.cluster, "Job") == []
    spec = source.cluster.objects["CronJob", "team", "guides-connector"]["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("0 2 * * *", "Europe/Berlin", "Forbid")
    assert source.judged(KIND, "guides")["Ready"] == ("True", "Scheduled")
    ask(source, "now")
    await source.settle()
    assert len(named(source.cluster, "Job")) == 1


async def test_a_scheduled_run_is_told_and_never_pruned() -> None:
    source = operator(worlds.changed(worlds.SOURCE, schedule="@daily"))
    await source.settle()
    cron = source.cluster.objects["CronJob", "team", "guides-connector"]
    template = cron["spec"]["jobTemplate"]
    source.cluster.put(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                **template["metadata"],
                "name": "guides-connector-1",
                "namespace": "team",
                "ownerReferences": [{"uid": cron["metadata"]["uid"]}],
            },
            "spec": template["spec"],
        }
    )
    source.cluster.finish("guides-connector-1", message=REPORT)
    await source.settle()
    assert source.status(KIND, "guides")["lastRun"]["listed"] == 25
    assert named(source.cluster, "Job") == ["guides-connector-1"]


async def test_a_scheduled_source_with_other_settings_is_not_synced_until_it_ran_with_them() -> None:
    source = operator(worlds.changed(worlds.SOURCE, schedule="@daily"))
    await source.settle()
    ask(source, "first")
    await source.settle()
    (job,) = named(source.cluster, "Job")
    source.cluster.finish(job, message=REPORT)
    await source.settle()
    assert source.judged(KIND, "guides")["Synced"] == ("True", "RunSucceeded")

    source.cluster.edit(KIND, "guides", {"spec": {"metadata": {"team": "other"}}})
    await source.settle()

    assert source.judged(KIND, "guides")["Synced"] == ("Unknown", "Scheduled")
    ask(source, "second")
    await source.settle()
    (newest,) = set(named(source.cluster, "Job")) - {job}
    source.cluster.finish(newest, message=REPORT)
    source.cluster.objects["Job", "team", newest]["status"]["startTime"] = "2026-11-22T10:00:00Z"
    await source.settle()
    assert source.judged(KIND, "guides")["Synced"] == ("True", "RunSucceeded")


async def test_suspend_starts_nothing() -> None:
    source = operator(worlds.changed(worlds.SOURCE, suspend=True))
    await source.settle()
    assert named(source.cluster, "Job") == []
    assert source.judged(KIND, "guides")["Ready"] == ("True", "Suspended")
    assert source.judged(KIND, "guides")["Synced"] == ("Unknown", "Suspended")
    source.cluster.put(worlds.changed(worlds.SOURCE, suspend=False))
    await source.settle()
    assert len(named(source.cluster, "Job")) == 1


async def test_a_missing_knowledge_base_is_named_and_mended_when_it_appears() -> None:
    source = operator()
    source.cluster.remove("KnowledgeBase", "docs")
    await source.settle()
    assert source.judged(KIND, "guides")["Ready"] == ("False", "KnowledgeBaseMissing")
    assert source.judged(KIND, "guides")["Stalled"] == ("False", "Stable")
    assert "KnowledgeBase/docs does not exist in this namespace" in source.condition(KIND, "guides", "Ready")["message"]
    source.cluster.put(worlds.KNOWLEDGE_BASE)
    await source.settle()
    assert source.judged(KIND, "guides")["KnowledgeBaseFound"][0] == "True"
    assert len(named(source.cluster, "Job")) == 1


async def test_a_knowledge_base_of_the_embedded_mode_cannot_be_used() -> None:
    source = operator(knowledge_base=worlds.changed(worlds.KNOWLEDGE_BASE, messaging=None))
    await source.settle()
    assert source.judged(KIND, "guides")["KnowledgeBaseFound"] == ("False", "NotOnCluster")
    assert named(source.cluster, "Job") == []


async def test_an_access_level_that_the_knowledge_base_does_not_know_is_named() -> None:
    source = operator(worlds.changed(worlds.SOURCE, partition={"tenant": "acme", "accessLevel": "secret"}))
    await source.settle()
    assert source.judged(KIND, "guides")["Ready"] == ("False", "InvalidSpec")
    assert "spec.partition.accessLevel 'secret'" in source.condition(KIND, "guides", "Ready")["message"]


async def test_every_kind_of_source_has_a_run_with_its_credentials_as_files() -> None:
    credentials = {"name": "git-handbook"}
    git = {"url": "https://git.example/acme/handbook.git", "credentialsSecretRef": credentials}
    source = operator(worlds.changed(worlds.SOURCE, persistentVolume=None, git=git))
    await source.settle()
    (job,) = (source.cluster.objects["Job", "team", name] for name in named(source.cluster, "Job"))
    pod = job["spec"]["template"]["spec"]
    (volume,) = (each for each in pod["volumes"] if each["name"] == "source-credentials")
    assert volume["projected"]["sources"] == [{"secret": credentials}]
    assert "/etc/lectern/secrets/source-credentials" in json.dumps(pod["containers"][0]["volumeMounts"])


async def test_only_the_newest_runs_are_kept() -> None:
    source = await synced()
    for number in range(5):
        ask(source, f"request-{number}")
        await source.settle()
        (running,) = [
            name
            for name in named(source.cluster, "Job")
            if "conditions" not in source.cluster.objects["Job", "team", name].get("status", {})
        ]
        source.cluster.finish(running, message=REPORT)
        source.cluster.objects["Job", "team", running]["status"]["startTime"] = f"2026-11-21T1{number}:00:00Z"
        await source.settle()
    assert len(named(source.cluster, "Job")) == 3
    assert source.status(KIND, "guides")["lastHandledSyncRequest"] == "request-4"
    assert len(named(source.cluster, "ConfigMap")) == 2, "one of the source and one of the workers"


async def test_a_knowledge_base_that_breaks_a_rule_is_named() -> None:
    source = operator(knowledge_base=worlds.changed(worlds.KNOWLEDGE_BASE, chunking__overlap=199))
    await source.settle()
    assert source.judged(KIND, "guides")["KnowledgeBaseFound"] == ("False", "InvalidSpec")
    assert "KnowledgeBase/docs: spec.chunking.overlap" in source.condition(KIND, "guides", "Ready")["message"]


async def test_a_run_that_cannot_start_says_what_it_waits_for() -> None:
    source = operator()
    await source.settle()
    (job,) = named(source.cluster, "Job")
    body = source.cluster.objects["Job", "team", job]
    waiting = {"reason": "ErrImagePull", "message": "denied"}
    container = {"name": "connector", "image": "lectern-ingest:test", "state": {"waiting": waiting}}
    source.cluster.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{job}-x",
                "namespace": "team",
                "labels": body["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [{"uid": body["metadata"]["uid"]}],
            },
            "spec": body["spec"]["template"]["spec"],
            "status": {"phase": "Pending", "containerStatuses": [container]},
        }
    )
    await source.settle()
    message = source.condition(KIND, "guides", "Synced")["message"]
    assert "the image lectern-ingest:test of container connector cannot be pulled" in message
