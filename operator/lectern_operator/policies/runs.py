"""Runs of a connector as its Jobs and their pods tell of them: from Kubernetes objects to `status.lastRun`.

A run reports in the termination message of its pod; the Job alone says only whether it ended. Both are read here,
for the policy of the IngestionSource.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lectern_contract import labels, reports
from lectern_contract.errors import ConfigurationError
from lectern_contract.reports import RunReport
from lectern_contract.resources.status import LastRun
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.policies import workload
from lectern_operator.policies.changes import Manifest, owned

MAX_REQUEST = 256
KEPT_JOBS = 3


@dataclass(frozen=True, slots=True)
class Run:
    """One Job: what asked for it (None: the schedule), how it ended (None: not yet) and what it reported."""

    job: str
    started_at: str
    request: str | None
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


def request_digest(uid: str, request: str, settings_hash: str) -> str:
    """Return what makes one asked run another: who asks, the value of the annotation, and the settings."""
    return hashlib.sha256("\n".join((uid, request, settings_hash)).encode()).hexdigest()


def last_run(run: Run) -> LastRun:
    """Return `run` as the status tells it."""
    if run.end is None:
        return LastRun(started_at=run.started_at, job=run.job, settings_hash=run.settings_hash, result="Running")
    match run.report:
        case Known(value=report):
            return LastRun(
                started_at=run.started_at,
                finished_at=run.end.at,
                job=run.job,
                settings_hash=run.settings_hash,
                result=report.result if run.end.succeeded else "Failed",
                listed=report.listed,
                published=report.published,
                deleted=report.deleted,
                unchanged=report.unchanged,
                failed=report.failed,
                message=_told(report),
            )
        case Unknown(reason=reason):
            message = f"{run.end.message}; {reason}" if run.end.message else reason
            return LastRun(
                started_at=run.started_at,
                finished_at=run.end.at,
                job=run.job,
                settings_hash=run.settings_hash,
                result="Succeeded" if run.end.succeeded else "Failed",
                message=message[: reports.MAX_MESSAGE],
            )


def _run(job: Manifest, pods: list[Mapping[str, Any]], uid: str) -> Run:
    metadata = job["metadata"]
    annotations = metadata.get("annotations", {})
    end = workload.job_end(job)
    report: Fact[RunReport] = Unknown("the run has not ended")
    if end is not None:
        report = _report(pod for pod in pods if owned(dict(pod), metadata["uid"]))
    return Run(
        job=metadata["name"],
        started_at=job.get("status", {}).get("startTime") or metadata["creationTimestamp"],
        request=annotations.get(labels.SYNC_REQUEST, "") if owned(job, uid) else None,
        settings_hash=annotations.get(labels.SETTINGS, ""),
        end=end,
        report=report,
    )


def _report(pods: Iterable[Mapping[str, Any]]) -> Fact[RunReport]:
    """Return what the newest pod of a Job said when it ended."""
    newest = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    for pod in newest:
        for container in pod.get("status", {}).get("containerStatuses", ()):
            message = container.get("state", {}).get("terminated", {}).get("message")
            if message:
                return _decoded(message)
    return Unknown("its pod left no report" if newest else "its pod is gone, and its report with it")


def _decoded(message: str) -> Fact[RunReport]:
    try:
        return Known(reports.decode(message.encode()))
    except ConfigurationError as error:
        return Unknown(str(error))


def _told(report: RunReport) -> str:
    first = "; ".join(f"{each.uri}: {each.reason}" for each in report.failures[:3])
    return ". ".join(part for part in (report.message, first) if part)[: reports.MAX_MESSAGE]
