"""Which run of a source is next: what its annotations ask for, and what its settings do.

One run at a time, the larger one first:
- a full run answers a request for a sync as well, since it does all that a sync does;
- a replay comes last, so that it looks at what the newest run found. Nothing that is gone or was changed since is said
  again then.

A request is a new value of its annotation. It is answered once: by a Job that carries it, and for good by
`status.lastHandled...` when that Job has ended, well or not. A Job that is deleted before its end answered nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from lectern_contract import names
from lectern_contract.reports import RunMode
from lectern_contract.resources import IngestionSource
from lectern_contract.resources.status import IngestionSourceStatus, LastRun
from lectern_operator.policies.runs import Run

MAX_REQUEST = 256
ANNOTATIONS: Mapping[RunMode, str] = {
    RunMode.SYNC: names.SYNC_REQUESTED,
    RunMode.FULL: names.FULL_RESYNC_REQUESTED,
    RunMode.REPLAY: names.REPLAY_REQUESTED,
}


@dataclass(frozen=True, slots=True)
class Start:
    """A run that is to start: `digest` names its Job, `answers` are the requests that it answers, by mode."""

    digest: str
    mode: RunMode
    answers: Mapping[RunMode, str]


def asked(source: IngestionSource) -> dict[RunMode, str]:
    """Return the values of the annotations that ask for a run, cut to the length that the status can hold."""
    found = {
        mode: source.metadata.annotations.get(name, "").strip()[:MAX_REQUEST] for mode, name in ANNOTATIONS.items()
    }
    return {mode: value for mode, value in found.items() if value}


def handled(source: IngestionSource, seen: tuple[Run, ...]) -> dict[RunMode, str]:
    """Return by mode the request that was answered last: the one of now where it ever was, else the newest one."""
    found = {}
    wanted, before = asked(source), _before(source.status)
    for mode in RunMode:
        answered = [run.answers[mode] for run in seen if run.answers and mode in run.answers and run.end is not None]
        known = before.get(mode)
        if known is not None and (known == wanted.get(mode) or not answered):
            found[mode] = known
        elif answered:
            found[mode] = wanted[mode] if wanted.get(mode) in answered else answered[-1]
    return found


def start(source: IngestionSource, seen: tuple[Run, ...], last: LastRun | None, settings_hash: str) -> Start | None:
    """Return the run that is to start now; `last` is the newest run that was no replay. None beside another run."""
    if source.spec.suspend or any(run.end is None for run in seen):
        return None
    open_now = _open(source, seen)
    due = source.spec.schedule is None and (last is None or last.settings_hash != settings_hash)
    if RunMode.FULL in open_now:
        mode, covered = RunMode.FULL, {RunMode.FULL, RunMode.SYNC}
    elif RunMode.SYNC in open_now or due:
        mode, covered = RunMode.SYNC, {RunMode.SYNC}
    elif RunMode.REPLAY in open_now:
        mode, covered = RunMode.REPLAY, {RunMode.REPLAY}
    else:
        return None
    answers = {each: value for each, value in open_now.items() if each in covered}
    before = [run.job for run in seen if run.answers is not None]
    hashed = settings_hash if source.spec.schedule is None else ""
    return Start(_digest(source.metadata.uid, mode, answers, hashed, before[-1] if before else ""), mode, answers)


def _open(source: IngestionSource, seen: tuple[Run, ...]) -> dict[RunMode, str]:
    """Return the requests that neither the status nor a Job has answered."""
    answered = handled(source, seen)
    return {mode: value for mode, value in asked(source).items() if value != answered.get(mode)}


def _before(status: IngestionSourceStatus) -> dict[RunMode, str]:
    found = {
        RunMode.SYNC: status.last_handled_sync_request,
        RunMode.FULL: status.last_handled_full_resync_request,
        RunMode.REPLAY: status.last_handled_replay_request,
    }
    return {mode: value for mode, value in found.items() if value is not None}


def _digest(uid: str, mode: RunMode, answers: Mapping[RunMode, str], settings_hash: str, before: str) -> str:
    """Return what makes one asked run another; `before` is the Job of the run before it, which has a name already."""
    parts = [uid, mode, settings_hash, before, *(f"{each}={answers[each]}" for each in sorted(answers))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
