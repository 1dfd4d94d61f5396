"""Runs of a connector as its Jobs and their pods tell of them: from Kubernetes objects to `status.lastRun`.

A run reports in the termination message of its pod; the Job alone says only whether it ended. Both are read here,
for the policy of the IngestionSource.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lectern_contract import labels, reports
from lectern_contract.errors import ConfigurationError
from lectern_contract.reports import RunMode, RunReport
from lectern_contract.resources.status import LastRun
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.policies import workload
from lectern_operator.policies.changes import Manifest, owned
from lectern_operator.policies.clocks import has_been
from lectern_operator.policies.last_words import last_words

NOTES: Mapping[RunMode, str] = {
    RunMode.SYNC: labels.SYNC_REQUEST,
    RunMode.FULL: labels.FULL_RESYNC_REQUEST,
    RunMode.REPLAY: labels.REPLAY_REQUEST,
}
"""By what a Job remembers which request it answers."""
KEPT_JOBS = 3
_LAST_WORDS = 300


@dataclass(frozen=True, slots=True)
class Run:
    """One Job: what it does, how it ended (None: not yet) and what it reported.

    `answers` are the requests that it answers, by mode; none for a run that the settings alone asked for. None says
    that the schedule started it.
    """

    job: str
    started_at: str
    mode: RunMode
    answers: Mapping[RunMode, str] | None
    settings_hash: str
    end: workload.JobEnd | None
    report: Fact[RunReport]


def runs(jobs: Iterable[Manifest], pods: Iterable[Mapping[str, Any]], uid: str) -> tuple[Run, ...]:
    """Return the runs of the source `uid`, oldest first; Jobs on their way out are none.

    Times of Kubernetes have whole seconds: of two runs of one second, the one that has not ended is the newer.
    """
    alive = [job for job in jobs if not job["metadata"].get("deletionTimestamp")]
    pods = list(pods)
    found = (_run(job, pods, uid) for job in alive)
    return tuple(sorted(found, key=lambda run: (run.end is None, run.started_at, run.job)))


def kept(seen: Iterable[Run]) -> list[Run]:
    """Return the runs whose Jobs stay, of those that were asked for: all that go on, and the newest that ended."""
    asked = [run for run in seen if run.answers is not None]
    return [run for run in asked if run.end is None] + [run for run in asked if run.end is not None][-KEPT_JOBS:]


def newest(seen: Iterable[Run], before: LastRun | None, *, replay: bool, now: str) -> LastRun | None:
    """Return the newest run for the status, of replays or of all others; `before` is what the status says.

    A Job that is gone is known by the status alone. Where it went before it ended, nobody knows what it did: then it
    counts as failed, with no settings that the index could hold. What began after `now`, or at no time at all, was
    written by somebody else: no run that follows could ever be newer.
    """
    found = [run for run in seen if (run.mode is RunMode.REPLAY) == replay]
    if before is None or not has_been(before.started_at, now) or (found and _is_newer(found, before)):
        return last_run(found[-1]) if found else None
    if before.result != "Running":
        return before
    message = f"Job {before.job} is gone, and nobody knows what it did"
    return before.model_copy(update={"result": "Failed", "settings_hash": None, "message": message})


def _is_newer(found: list[Run], before: LastRun) -> bool:
    return before.job in {run.job for run in found} or before.started_at <= found[-1].started_at


def mounting(pods: Iterable[Mapping[str, Any]]) -> str:
    """Return what a pod that has a node and has not started may wait for; empty when each has started.

    A Secret or a claim that is missing shows nowhere in a pod's status: its containers are being created for ever.
    """
    for pod in sorted(pods, key=lambda each: str(each["metadata"]["name"])):
        found = pod.get("status", {}).get("containerStatuses", ())
        if any(each.get("state", {}).get("waiting", {}).get("reason") == "ContainerCreating" for each in found):
            needed = sorted({name for volume in pod["spec"].get("volumes", ()) for name in _needed(volume)})
            return f"its pod has not started: it needs the image and {', '.join(needed)}"
    return ""


def _needed(volume: Mapping[str, Any]) -> list[str]:
    if claim := volume.get("persistentVolumeClaim"):
        return [f"PersistentVolumeClaim {claim['claimName']}"]
    if config_map := volume.get("configMap"):
        return [f"ConfigMap {config_map['name']}"]
    sources = volume.get("projected", {}).get("sources", ())
    return [f"Secret {each['secret']['name']}" for each in sources if "secret" in each]


def last_run(run: Run) -> LastRun:
    """Return `run` as the status tells it."""
    begun = LastRun(
        started_at=run.started_at, job=run.job, settings_hash=run.settings_hash, mode=run.mode, result="Running"
    )
    if run.end is None:
        return begun
    outcome: dict[str, Any] = {"finished_at": run.end.at, "result": "Succeeded" if run.end.succeeded else "Failed"}
    match run.report:
        case Known(value=report):
            outcome |= {name: getattr(report, name) for name in _COUNTS}
            outcome |= {"result": report.result if run.end.succeeded else "Failed", "message": _told(report)}
        case Unknown(reason=reason):
            message = f"{run.end.message}; {reason}" if run.end.message else reason
            outcome["message"] = message[: reports.MAX_MESSAGE]
    return begun.model_copy(update=outcome)


_COUNTS = ("listed", "published", "deleted", "unchanged", "failed")


def _run(job: Manifest, pods: list[Mapping[str, Any]], uid: str) -> Run:
    metadata = job["metadata"]
    annotations = metadata.get("annotations") or {}
    end = workload.job_end(job)
    report: Fact[RunReport] = Unknown("the run has not ended")
    if end is not None:
        report = _report(pod for pod in pods if owned(dict(pod), metadata["uid"]))
    answers = {mode: annotations[note] for mode, note in NOTES.items() if annotations.get(note)}
    return Run(
        job=metadata["name"],
        started_at=job.get("status", {}).get("startTime") or metadata["creationTimestamp"],
        mode=_mode(annotations.get(labels.RUN_MODE)),
        answers=answers if owned(job, uid) else None,
        settings_hash=annotations.get(labels.SETTINGS, ""),
        end=end,
        report=report,
    )


def _mode(text: str | None) -> RunMode:
    return RunMode(text) if text in set(RunMode) else RunMode.SYNC


def _report(pods: Iterable[Mapping[str, Any]]) -> Fact[RunReport]:
    """Return what the newest pod of a Job said when it ended."""
    newest_first = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    for pod in newest_first:
        for container in pod.get("status", {}).get("containerStatuses", ()):
            message = container.get("state", {}).get("terminated", {}).get("message")
            if message:
                return _decoded(message)
    return Unknown("its pod left no report" if newest_first else "its pod is gone, and its report with it")


def _decoded(message: str) -> Fact[RunReport]:
    """Return the report, or the last words of a connector that ended without one."""
    try:
        return Known(reports.decode(message.encode()))
    except ConfigurationError as error:
        words = last_words(message)[-_LAST_WORDS:]
        return Unknown(f"{error}; its last line: {words}" if words else str(error))


def _told(report: RunReport) -> str:
    first = "; ".join(f"{each.uri}: {each.reason}" for each in report.failures[:3])
    return ". ".join(part for part in (report.message, first) if part)[: reports.MAX_MESSAGE]
