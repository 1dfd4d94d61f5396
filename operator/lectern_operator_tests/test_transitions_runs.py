"""Runs that are asked for, of each mode, beside a schedule and beside each other; and a second pass writes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lectern_contract import labels, names, reports
from lectern_contract.reports import RunMode, RunReport
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import NOW, FakeCluster, Manifest
from lectern_operator_tests.passes import Operator
from lectern_operator_tests.passes import names as named

KIND = "IngestionSource"
ASK = {
    RunMode.SYNC: names.SYNC_REQUESTED,
    RunMode.FULL: names.FULL_RESYNC_REQUESTED,
    RunMode.REPLAY: names.REPLAY_REQUESTED,
}
NIGHTLY = {"schedule": "0 2 * * *", "timeZone": "Europe/Berlin"}
CRON = ("CronJob", "team", "guides-connector")


class Source:
    """One source, its operator, and the hours in which its runs begin."""

    def __init__(self, **spec: Any) -> None:
        self.cluster = FakeCluster()
        self.cluster.put(worlds.KNOWLEDGE_BASE)
        self.cluster.put(worlds.changed(worlds.SOURCE, **spec))
        self.operator = Operator(self.cluster)
        self.hour = 0

    async def settle(self) -> None:
        await self.operator.settle()

    def ask(self, **values: str) -> None:
        """Ask for runs: by mode, the value of its annotation."""
        notes = {ASK[RunMode[mode.upper()]]: value for mode, value in values.items()}
        self.cluster.edit(KIND, "guides", {"metadata": {"annotations": notes}})

    def jobs(self) -> list[Manifest]:
        return [self.cluster.objects["Job", "team", name] for name in named(self.cluster, "Job")]

    def running(self) -> list[Manifest]:
        return [job for job in self.jobs() if "conditions" not in job.get("status", {})]

    def finish(self, *, succeeded: bool = True, **report: Any) -> Manifest:
        """End the run that goes on, and return its Job."""
        (job,) = self.running()
        name, self.hour = job["metadata"]["name"], self.hour + 1
        told = RunReport(
            source="team/guides",
            mode=mode_of(job),
            result="Succeeded" if succeeded else "Failed",
            started_at=NOW,
            finished_at=NOW,
            **report,
        )
        self.cluster.finish(name, message=reports.encode(told).decode(), succeeded=succeeded)
        self.cluster.objects["Job", "team", name]["status"]["startTime"] = f"2026-11-21T{self.hour:02}:00:00Z"
        self.operator.clock.now = max(self.operator.clock.now, datetime(2026, 11, 21, self.hour, 30, tzinfo=UTC))
        return job

    def status(self) -> dict[str, Any]:
        return self.operator.status(KIND, "guides")

    def handled(self) -> dict[str, str]:
        return {name: value for name, value in self.status().items() if name.startswith("lastHandled")}

    def synced(self) -> tuple[str, str, str]:
        found = self.operator.condition(KIND, "guides", "Synced")
        return found["status"], found["reason"], found["message"]


def mode_of(job: Manifest) -> RunMode:
    return RunMode(job["metadata"]["annotations"][labels.RUN_MODE])


def arguments(job: Manifest) -> list[str]:
    found: list[str] = job["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


async def ran(**spec: Any) -> Source:
    """A source that has run once."""
    source = Source(**spec)
    await source.settle()
    source.finish(listed=3, published=3)
    await source.settle()
    return source


@pytest.mark.parametrize(
    ("mode", "handled"),
    [
        (RunMode.SYNC, "lastHandledSyncRequest"),
        (RunMode.FULL, "lastHandledFullResyncRequest"),
        (RunMode.REPLAY, "lastHandledReplayRequest"),
    ],
)
async def test_a_request_is_a_job_of_its_mode_and_is_answered_at_its_end(mode: RunMode, handled: str) -> None:
    source = await ran()
    source.ask(**{mode.lower(): "monday"})
    await source.settle()
    (job,) = source.running()
    assert (mode_of(job), arguments(job)) == (mode, ["--mode", mode.lower()])
    assert source.handled() == {}
    source.finish(listed=3)
    await source.settle()
    assert source.handled() == {handled: "monday"}
    assert (len(source.jobs()), source.running()) == (2, [])
    assert source.operator.judged(KIND, "guides")["Ready"] == ("True", "AllComponentsReady")


async def test_a_full_run_answers_a_sync_as_well_and_the_replay_comes_last() -> None:
    source = await ran()
    source.ask(sync="a", full="b", replay="c")
    await source.settle()
    assert mode_of(source.finish()) is RunMode.FULL
    await source.settle()
    assert source.handled() == {"lastHandledSyncRequest": "a", "lastHandledFullResyncRequest": "b"}
    assert mode_of(source.finish()) is RunMode.REPLAY
    await source.settle()
    assert source.handled()["lastHandledReplayRequest"] == "c"
    assert source.running() == []


async def test_a_sync_comes_before_a_replay_and_changed_settings_too() -> None:
    source = await ran()
    source.ask(replay="c")
    source.cluster.edit(KIND, "guides", {"spec": {"include": ["**/*.md"]}})
    await source.settle()
    modes = []
    while source.running():
        modes.append(mode_of(source.finish()))
        await source.settle()
    assert modes == [RunMode.SYNC, RunMode.REPLAY]


async def test_a_full_run_that_was_asked_for_is_the_run_with_the_new_settings() -> None:
    source = await ran()
    source.ask(full="b")
    source.cluster.edit(KIND, "guides", {"spec": {"include": ["**/*.md"]}})
    await source.settle()
    assert mode_of(source.finish()) is RunMode.FULL
    await source.settle()
    assert source.running() == []
    assert source.synced()[:2] == ("True", "RunSucceeded")


async def test_a_request_meanwhile_waits_for_the_end_of_the_run() -> None:
    source = await ran()
    source.ask(replay="c")
    await source.settle()
    source.ask(replay="c", full="b")
    await source.settle()
    assert mode_of(source.finish()) is RunMode.REPLAY
    await source.settle()
    assert mode_of(source.finish()) is RunMode.FULL
    await source.settle()
    assert source.running() == []


async def test_a_request_whose_job_was_deleted_before_its_end_comes_back() -> None:
    source = await ran()
    source.ask(full="b")
    await source.settle()
    (job,) = source.running()
    source.cluster.remove("Job", job["metadata"]["name"])
    await source.settle()
    (again,) = source.running()
    assert again["metadata"]["name"] == job["metadata"]["name"]
    assert source.handled() == {}


async def test_a_request_whose_job_is_cleaned_up_is_not_answered_twice() -> None:
    source = await ran()
    source.ask(full="one")
    await source.settle()
    source.finish(listed=3)
    await source.settle()
    source.ask(full="two")
    await source.settle()
    newest = source.finish(listed=3)
    await source.settle()
    before = source.status()
    source.cluster.remove("Job", newest["metadata"]["name"])
    await source.settle()
    assert (source.running(), source.status()) == ([], before)


async def test_a_failed_run_is_an_answer_and_says_why() -> None:
    source = await ran()
    source.ask(full="b")
    await source.settle()
    source.finish(succeeded=False, message="no such directory")
    await source.settle()
    assert source.handled() == {"lastHandledFullResyncRequest": "b"}
    status, reason, message = source.synced()
    assert (status, reason, source.running()) == ("False", "RunFailed", [])
    assert "no such directory" in message


async def test_a_replay_changes_nothing_of_what_the_last_run_did() -> None:
    source = await ran()
    before = source.status()["lastRun"]
    source.ask(replay="c")
    await source.settle()
    (job,) = source.running()
    assert source.status()["lastReplay"]["result"] == "Running"
    assert source.synced()[:2] == ("True", "RunSucceeded")
    assert f"Job {job['metadata']['name']} replays dead letters" in source.synced()[2]
    source.finish(listed=4, published=3, unchanged=1)
    await source.settle()
    replay = source.status()["lastReplay"]
    assert (replay["mode"], replay["result"], replay["listed"], replay["published"]) == ("Replay", "Succeeded", 4, 3)
    assert source.status()["lastRun"] == before
    assert source.synced() == ("True", "RunSucceeded", "the last run finished: 3 listed, 3 new or changed, 0 gone")


async def test_a_failed_replay_is_told_beside_the_last_run() -> None:
    source = await ran()
    source.ask(replay="c")
    await source.settle()
    source.finish(succeeded=False, message="the broker is away")
    await source.settle()
    assert source.synced()[:2] == ("True", "RunSucceeded")
    assert "the last replay failed: the broker is away" in source.synced()[2]


async def test_the_schedule_stands_still_while_a_run_goes_on_that_was_asked_for() -> None:
    source = Source(**NIGHTLY)
    await source.settle()
    assert source.cluster.objects[CRON]["spec"]["suspend"] is False
    source.ask(sync="now")
    await source.settle()
    assert source.cluster.objects[CRON]["spec"]["suspend"] is True
    order = [kind for verb, kind, _ in source.cluster.writes if verb == "apply" and kind in ("CronJob", "Job")]
    assert order == ["CronJob", "CronJob", "Job"]
    source.finish()
    await source.settle()
    assert source.cluster.objects[CRON]["spec"]["suspend"] is False


def scheduled_run(source: Source, *, listed: bool) -> str:
    """Let the CronJob start a run; `listed` also shows it to the operator, where its status alone names it else."""
    cron = source.cluster.objects[CRON]
    template, name = cron["spec"]["jobTemplate"], "guides-connector-29000001"
    if listed:
        source.cluster.put(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {
                    **template["metadata"],
                    "name": name,
                    "namespace": "team",
                    "ownerReferences": [{"uid": cron["metadata"]["uid"]}],
                },
                "spec": template["spec"],
            }
        )
    source.cluster.edit(*CRON[::2], {"status": {"active": [{"name": name}]}})
    return name


async def test_a_request_waits_for_the_run_of_the_schedule() -> None:
    source = Source(**NIGHTLY)
    await source.settle()
    name = scheduled_run(source, listed=True)
    source.ask(full="now")
    await source.settle()
    assert named(source.cluster, "Job") == [name]
    source.cluster.finish(name)
    source.cluster.edit(*CRON[::2], {"status": {"active": []}})
    await source.settle()
    (job,) = source.running()
    assert mode_of(job) is RunMode.FULL


async def test_a_run_that_the_schedule_has_just_started_is_seen_before_another_starts() -> None:
    source = Source(**NIGHTLY)
    await source.settle()
    scheduled_run(source, listed=False)
    source.ask(sync="now")
    await source.settle()
    assert source.jobs() == []
    assert source.cluster.objects[CRON]["spec"]["suspend"] is True
    assert source.synced()[:2] == ("Unknown", "Progressing")
    source.cluster.edit(*CRON[::2], {"status": {"active": []}})
    await source.settle()
    assert len(source.running()) == 1


async def test_a_suspended_source_starts_nothing_and_answers_when_it_goes_on() -> None:
    source = Source(**NIGHTLY, suspend=True)
    source.ask(sync="a", replay="c")
    await source.settle()
    assert source.cluster.objects[CRON]["spec"]["suspend"] is True
    assert (source.jobs(), source.handled()) == ([], {})
    source.cluster.edit(KIND, "guides", {"spec": {"suspend": False}})
    await source.settle()
    assert mode_of(source.finish()) is RunMode.SYNC


async def test_a_run_that_is_gone_before_its_end_is_no_longer_told_as_running() -> None:
    source = await ran()
    source.ask(sync="a")
    await source.settle()
    (job,) = source.running()
    source.cluster.edit(KIND, "guides", {"spec": {"suspend": True}})
    for each in source.jobs():
        source.cluster.remove("Job", each["metadata"]["name"])
    await source.settle()
    last = source.status()["lastRun"]
    assert (last["result"], last["message"]) == (
        "Failed",
        f"Job {job['metadata']['name']} is gone, and nobody knows what it did",
    )
    source.cluster.edit(KIND, "guides", {"spec": {"suspend": False}})
    await source.settle()
    source.finish(listed=3)
    await source.settle()
    assert (source.handled(), source.synced()[1]) == ({"lastHandledSyncRequest": "a"}, "RunSucceeded")


@pytest.mark.parametrize("value", ["ü" * 400, "next\nline", "2026-11-21T10:00:00+01:00", " "])
async def test_any_text_is_a_request_that_is_answered_once(value: str) -> None:
    source = await ran()
    source.ask(full=value)
    await source.settle()
    if value.strip():
        source.finish()
        await source.settle()
        assert source.handled() == {"lastHandledFullResyncRequest": value.strip()[:256]}
    assert source.running() == []


async def test_a_job_of_an_older_operator_is_a_sync() -> None:
    source = await ran()
    (job,) = source.jobs()
    del job["metadata"]["annotations"][labels.RUN_MODE]
    job["metadata"]["annotations"][labels.SYNC_REQUEST] = ""
    await source.settle()
    assert (source.running(), source.status()["lastRun"]["mode"]) == ([], "Sync")


async def test_a_connector_that_ended_without_a_report_is_told_by_its_last_line() -> None:
    source = Source()
    await source.settle()
    (job,) = source.running()
    log = "INFO begins\nERROR settings.json: log.kind: must be Kafka\n"
    source.cluster.finish(job["metadata"]["name"], message=log, succeeded=False)
    await source.settle()
    assert "its last line: ERROR settings.json: log.kind: must be Kafka" in source.synced()[2]


async def test_wrong_settings_end_a_job_at_once_and_a_lost_node_does_not_count() -> None:
    source = Source()
    await source.settle()
    (job,) = source.running()
    assert job["spec"]["podFailurePolicy"]["rules"] == [
        {"action": "FailJob", "onExitCodes": {"containerName": "connector", "operator": "In", "values": [2]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    assert {job["spec"][name] for name in ("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")} == {
        2,
        21_600,
        604_800,
    }


async def test_a_pod_that_is_not_created_is_told_with_what_it_mounts() -> None:
    source = Source()
    await source.settle()
    (job,) = source.running()
    waiting = {"waiting": {"reason": "ContainerCreating"}}
    source.cluster.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "guides-x",
                "namespace": "team",
                "labels": job["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [{"uid": job["metadata"]["uid"]}],
            },
            "spec": job["spec"]["template"]["spec"],
            "status": {"phase": "Pending", "containerStatuses": [{"name": "connector", "state": waiting}]},
        }
    )
    await source.settle()
    needed = "PersistentVolumeClaim blobs, PersistentVolumeClaim guides"
    message = source.synced()[2]
    assert "its pod has not started: it needs the image and ConfigMap guides-connector-" in message
    assert message.endswith(needed)


async def test_two_sources_on_one_volume_run_each_for_itself() -> None:
    source = Source()
    second = worlds.changed(worlds.SOURCE)
    second["metadata"] |= {"name": "again", "uid": "uid-again"}
    source.cluster.put(second)
    await source.settle()
    claims = [job["spec"]["template"]["spec"]["volumes"] for job in source.running()]
    mounted = {"claimName": "guides", "readOnly": True}
    assert [[each.get("persistentVolumeClaim") for each in volumes].count(mounted) for volumes in claims] == [1, 1]


async def test_jobs_with_copied_labels_are_no_runs() -> None:
    source = await ran()
    (job,) = source.jobs()
    source.cluster.put({**job, "metadata": {**job["metadata"], "name": "copy", "uid": "x", "ownerReferences": []}})
    await source.settle()
    assert source.status()["lastRun"]["job"] == job["metadata"]["name"]
    for number in range(4):
        source.ask(full=str(number))
        await source.settle()
        source.finish()
        await source.settle()
    assert "copy" in named(source.cluster, "Job"), "what is not ours was deleted"
    assert len(source.jobs()) == 4


async def test_a_name_at_the_limit_fits_every_child() -> None:
    name = "n" * 40
    source = Source()
    source.cluster.remove(KIND, "guides")
    long = worlds.changed(worlds.SOURCE, **NIGHTLY, metadata={"titel": "Häuser – 家"})
    long["metadata"] |= {"name": name, "annotations": {names.FULL_RESYNC_REQUESTED: "now"}}
    source.cluster.put(long)
    await source.settle()
    assert [len(each) for kind in ("CronJob", "Job") for each in named(source.cluster, kind)] == [50, 59]
    assert source.operator.judged(KIND, name)["Synced"] == ("Unknown", "Running")


async def test_a_status_that_somebody_else_wrote_is_put_right() -> None:
    source = await ran()
    before = source.status()
    foreign = {
        "lastRun": {"startedAt": "2026-01-01T00:00:00Z", "result": "Running", "job": "none"},
        "conditions": [
            {
                "type": "Synced",
                "status": "True",
                "reason": "Magic",
                "message": "",
                "lastTransitionTime": NOW,
                "observedGeneration": 1,
            }
        ],
    }
    source.cluster.edit(KIND, "guides", {"status": None})
    source.cluster.edit(KIND, "guides", {"status": foreign})
    await source.settle()
    assert source.running() == []
    assert source.status()["lastRun"] == before["lastRun"]
    assert source.synced()[:2] == ("True", "RunSucceeded")


async def test_a_schedule_that_is_paused_by_hand_is_left_and_said() -> None:
    source = Source(**NIGHTLY)
    await source.settle()
    source.cluster.edit(*CRON[::2], {"metadata": {"annotations": {names.PAUSED: "true"}}})
    source.cluster.edit(KIND, "guides", {"spec": {"schedule": "0 3 * * *"}})
    await source.settle()
    assert source.cluster.objects[CRON]["spec"]["schedule"] == "0 2 * * *"
    assert source.operator.judged(KIND, "guides")["SpecHonored"] == ("False", "ChildPaused")
