"""What is to be done for an IngestionSource, and what its status says: pure decisions over what was observed.

When a source runs:
- with a schedule: when the CronJob says so, and once for each new value of the annotation `sync-requested-at`;
- without one: once when it is new, once for each new value of the annotation, and once when what it asks of the
  connector changes, because the index would otherwise hold what was asked before. Bytes that did not change publish
  nothing, so a run too many costs a listing.

A run is asked for once. `status.lastRun` and `status.lastHandledSyncRequest` remember that it was answered when its
Job is gone; a Job that is deleted before it ended comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lectern_contract import names, pending
from lectern_contract.conditions import Truth, Verdict
from lectern_contract.resources import IngestionSource, KnowledgeBase
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_contract.resources.status import IngestionSourceStatus, LastRun
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.policies import knowledge_base, runs, summary, workload
from lectern_operator.policies.changes import Key, Manifest
from lectern_operator.policies.runs import Run


@dataclass(frozen=True, slots=True)
class Observed:
    """What the API server has for one source; `knowledge_base` None: there is none, Unknown: it is not valid."""

    children: Mapping[Key, Manifest]
    pods: tuple[Mapping[str, Any], ...]
    jobs: tuple[Manifest, ...]
    knowledge_base: Fact[KnowledgeBase | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made: `run` is the digest of a run to start, `request` the annotation's value that asks for it.

    `keep` are Jobs that stay: those that run and the newest that ended.
    """

    blocked: summary.Blocked | None
    run: str | None
    request: str
    settings_hash: str
    keep: frozenset[Key]


def plan(source: IngestionSource, observed: Observed, settings: Fact[str]) -> Plan:
    """Decide what `source` wants now; `settings` is the hash of the settings that a run would have."""
    request = requested(source)
    blocked = _blocked(source, observed.knowledge_base, settings)
    seen = runs.runs(observed.jobs, observed.pods, source.metadata.uid)
    keep = frozenset(("Job", run.job) for run in _kept(seen))
    if blocked is not None or not isinstance(settings, Known):
        return Plan(blocked, None, request, "", keep)
    unscheduled = source.spec.schedule is None
    again = seen[-1].job if unscheduled and _ran(seen, request, settings.value) else ""  # else its Job has that name
    digest = runs.request_digest(source.metadata.uid, request, (settings.value if unscheduled else "") + again)
    wanted = (
        not source.spec.suspend
        and _unanswered(source, request, settings.value, seen)
        and not any(run.end is None for run in seen)
    )
    return Plan(None, digest if wanted else None, request, settings.value, keep)


def report(
    source: IngestionSource, observed: Observed, planned: Plan, *, refusals: tuple[str, ...], now: str
) -> IngestionSourceStatus:
    """Return the whole status after the pass; `now` is RFC 3339 in UTC."""
    seen = runs.runs(observed.jobs, observed.pods, source.metadata.uid)
    newest = seen[-1] if seen else None
    last = runs.last_run(newest) if newest else source.status.last_run
    synced = _synced(source, planned, last, workload.trouble(observed.pods))
    situation = summary.Situation(
        parts=(_found(source, observed), synced),
        blocked=planned.blocked,
        refusals=refusals,
        unread=pending.unread(source),
        awaited=frozenset({Reason.SCHEDULED, Reason.SUSPENDED}),
        stalled=synced.reason is Reason.RUN_FAILED and source.spec.schedule is None,
        ready_message="the last run handed over every document",
    )
    if source.spec.suspend:
        message = "spec.suspend is true: no run starts until it is false again"
        situation = replace(situation, ready_reason=Reason.SUSPENDED, ready_message=message)
    elif synced.reason is Reason.SCHEDULED:
        situation = replace(situation, ready_reason=Reason.SCHEDULED, ready_message=synced.message)
    generation = source.metadata.generation
    return IngestionSourceStatus(
        observed_generation=generation,
        conditions=tuple(
            summary.carried(source.status.conditions, summary.verdicts(situation), generation=generation, now=now)
        ),
        last_run=last,
        last_handled_sync_request=_handled(source, seen),
    )


def requested(source: IngestionSource) -> str:
    """Return the value of the annotation that asks for a run; empty when nobody asked."""
    return source.metadata.annotations.get(names.SYNC_REQUESTED, "")[: runs.MAX_REQUEST]


def _blocked(source: IngestionSource, kb: Fact[KnowledgeBase | None], settings: Fact[str]) -> summary.Blocked | None:
    if (unusable := knowledge_base.unusable(source.spec.knowledge_base_ref, kb)) is not None:
        return unusable
    if isinstance(settings, Unknown):
        return summary.Blocked(Reason.INVALID_SPEC, settings.reason, stalled=True)
    return None


def _unanswered(source: IngestionSource, request: str, settings_hash: str, seen: tuple[Run, ...]) -> bool:
    """Say whether a run that was asked for has neither a Job nor an answer in the status."""
    unscheduled = source.spec.schedule is None
    # Settings that come back after others are asked for anew: the index holds what the newest run was asked.
    if _ran(seen, request, settings_hash if unscheduled else None) and not (
        unscheduled and seen[-1].settings_hash != settings_hash
    ):
        return False
    last, handled = source.status.last_run, source.status.last_handled_sync_request or ""
    if source.spec.schedule is not None:
        return request != "" and request != handled
    answered = last is not None and last.result != "Running" and last.settings_hash == settings_hash
    return not (answered and request == handled)


def _ran(seen: tuple[Run, ...], request: str, settings_hash: str | None) -> bool:
    """Say whether there is a Job for `request`, with these settings where any are given."""
    return any(run.request == request and settings_hash in (None, run.settings_hash) for run in seen)


def _kept(seen: tuple[Run, ...]) -> list[Run]:
    asked = [run for run in seen if run.request is not None]
    return [run for run in asked if run.end is None] + [run for run in asked if run.end is not None][-runs.KEPT_JOBS :]


def _handled(source: IngestionSource, seen: tuple[Run, ...]) -> str | None:
    """Return the newest request whose run ended."""
    answered = [run.request for run in seen if run.request and run.end is not None]
    return answered[-1] if answered else source.status.last_handled_sync_request


def _found(source: IngestionSource, observed: Observed) -> Verdict:
    name, aspect = source.spec.knowledge_base_ref, ConditionType.KNOWLEDGE_BASE_FOUND
    if (unusable := knowledge_base.unusable(name, observed.knowledge_base)) is not None:
        return Verdict(aspect, "False", unusable.reason, unusable.message)
    return Verdict(aspect, "True", Reason.KNOWLEDGE_BASE_EXISTS, f"KnowledgeBase/{name} can be used")


def _synced(source: IngestionSource, planned: Plan, last: LastRun | None, trouble: str) -> Verdict:
    aspect = ConditionType.SYNCED
    if last is None or (planned.run is not None and last.result != "Running"):
        return _before_run(source, planned)
    if last.result == "Running":
        # a run again with the same settings takes nothing back of what the last one did
        status: Truth = "True" if _in_effect(source, planned) else "Unknown"
        since = f"Job {last.job} has been running since {last.started_at}"
        return Verdict(aspect, status, Reason.RUNNING, f"{since}: {trouble}" if trouble else since)
    if last.settings_hash not in (None, planned.settings_hash):
        return _other_settings(source)
    if last.result == "Succeeded" and last.failed == 0:
        counts = f"{last.listed} listed, {last.published} new or changed, {last.deleted} gone"
        return Verdict(aspect, "True", Reason.RUN_SUCCEEDED, f"the last run finished: {counts}")
    what = f"{last.failed} of {last.listed} documents were left behind" if last.result == "Succeeded" else "it failed"
    return Verdict(
        aspect, "False", Reason.RUN_FAILED, f"the last run: {what}: {last.message}; to run it again: {_ask(source)}"
    )


def _other_settings(source: IngestionSource) -> Verdict:
    """What the index holds came of settings that are no longer the source's: who may read what may differ."""
    aspect = ConditionType.SYNCED
    if source.spec.suspend:
        return Verdict(aspect, "Unknown", Reason.SUSPENDED, "spec.suspend is true, and the last run had other settings")
    when = f"the CronJob runs at {source.spec.schedule} ({source.spec.time_zone})"
    return Verdict(
        aspect, "Unknown", Reason.SCHEDULED, f"the last run had other settings; {when}; to run now: {_ask(source)}"
    )


def _ask(source: IngestionSource) -> str:
    return f"kubectl annotate --overwrite isrc {source.name} {names.SYNC_REQUESTED}=$(date +%s)"


def _before_run(source: IngestionSource, planned: Plan) -> Verdict:
    aspect = ConditionType.SYNCED
    if source.spec.suspend:
        return Verdict(aspect, "Unknown", Reason.SUSPENDED, "spec.suspend is true, and nothing has run yet")
    if planned.run is not None:
        status: Truth = "True" if _in_effect(source, planned) else "Unknown"
        return Verdict(aspect, status, Reason.PROGRESSING, "a run was asked for and starts now")
    if source.spec.schedule is not None:
        when = f"{source.spec.schedule} ({source.spec.time_zone})"
        return Verdict(aspect, "Unknown", Reason.SCHEDULED, f"nothing has run yet; the CronJob runs at {when}")
    return Verdict(aspect, "Unknown", Reason.NEVER_RUN, "nothing has run yet")


def _in_effect(source: IngestionSource, planned: Plan) -> bool:
    """Say whether the index holds the outcome of an earlier run with the settings of now."""
    before = source.status.last_run
    synced = [each for each in source.status.conditions if each.type == ConditionType.SYNCED]
    return bool(
        before is not None and before.settings_hash == planned.settings_hash and synced and synced[0].status == "True"
    )
