"""What is to be done for an IngestionSource, and what its status says: pure decisions over what was observed.

When a source runs:
- with a schedule: when the CronJob says so, and once for each new value of an annotation that asks for a run;
- without one: once when it is new, once for each new value of such an annotation, and once when what it asks of the
  connector changes, because the index would otherwise hold what was asked before. Bytes that did not change publish
  nothing, so a run too many costs a listing;
- that is pushed: never. Callers send the documents, and there is a receiver instead of runs.

Which run is next where several are asked for is said by `requests`. A run that was asked for holds the schedule back
until it has ended, so that no two runs of a source write one manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lectern_contract import labels, names, pending
from lectern_contract.conditions import Truth, Verdict
from lectern_contract.names import Role
from lectern_contract.reports import RunMode
from lectern_contract.resources import IngestionSource, KnowledgeBase
from lectern_contract.resources.reasons import CONDITIONS, ConditionType, Reason
from lectern_contract.resources.status import IngestionSourceStatus, LastRun
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.policies import documents, knowledge_base, receiver, requests, runs, summary, workload
from lectern_operator.policies.changes import Key, Manifest
from lectern_operator.policies.requests import Start


@dataclass(frozen=True, slots=True)
class Observed:
    """What the API server has for one source; `knowledge_base` None: there is none, Unknown: it is not valid.

    `written` are the children that this pass has changed, `paused` those that it would have changed and must not.
    """

    children: Mapping[Key, Manifest]
    pods: tuple[Mapping[str, Any], ...]
    jobs: tuple[Manifest, ...]
    knowledge_base: Fact[KnowledgeBase | None]
    written: frozenset[Key] = frozenset()
    paused: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made: `start` is a run to start now, `held` that the schedule must stand still for it.

    `keep` are Jobs that stay: those that run and the newest that ended.
    """

    blocked: summary.Blocked | None
    start: Start | None
    held: bool
    settings_hash: str
    keep: frozenset[Key]


def plan(source: IngestionSource, observed: Observed, settings: Fact[str], *, now: str) -> Plan:
    """Decide what `source` wants now (RFC 3339 in UTC); `settings` is the hash of those that a run would have."""
    blocked = _blocked(source, observed.knowledge_base, settings)
    seen = runs.runs(observed.jobs, observed.pods, source.metadata.uid)
    keep = frozenset(("Job", run.job) for run in runs.kept(seen))
    if blocked is not None or not isinstance(settings, Known):
        return Plan(blocked, None, False, "", keep)
    if source.spec.push is not None:
        return Plan(None, None, False, settings.value, keep)
    last = runs.newest(seen, source.status.last_run, replay=False, now=now)
    start = requests.start(source, seen, last, settings.value)
    running = any(run.end is None and run.answers is not None for run in seen)
    return Plan(None, start, running or start is not None, settings.value, keep)


def report(
    source: IngestionSource,
    observed: Observed,
    planned: Plan,
    *,
    refusals: tuple[str, ...],
    now: str,
    further: tuple[Verdict, ...] = (),
) -> IngestionSourceStatus:
    """Return the whole status after the pass; `now` is RFC 3339 in UTC.

    `further` are verdicts on parts that others look after. What is shown, and in which order, is said by `CONDITIONS`.
    """
    seen = runs.runs(observed.jobs, observed.pods, source.metadata.uid)
    last = runs.newest(seen, source.status.last_run, replay=False, now=now)
    replay = runs.newest(seen, source.status.last_replay, replay=True, now=now)
    synced = _replays(_synced(source, planned, last, _trouble(observed)), replay, _trouble(observed))
    receiving = receiver.verdict(source, observed.children, observed.pods, observed.written)
    found = {each.type: each for each in (_found(source, observed), synced, receiving, *further)}
    counted = documents.of_source(source, observed.knowledge_base)
    handled, generation = requests.handled(source, seen), source.metadata.generation
    situation = _situation(source, observed, planned, refusals, found)
    verdicts = summary.verdicts(replace(situation, advice=(documents.verdict(source, counted),)))
    return IngestionSourceStatus(
        observed_generation=generation,
        conditions=tuple(summary.carried(source.status.conditions, verdicts, generation=generation, now=now)),
        last_run=last,
        last_replay=replay,
        documents=documents.counts(counted),
        dead_letter=documents.dead_letters(counted),
        last_handled_sync_request=handled.get(RunMode.SYNC),
        last_handled_full_resync_request=handled.get(RunMode.FULL),
        last_handled_replay_request=handled.get(RunMode.REPLAY),
        url=receiver.url(source, observed.children),
        components=receiver.components(source, receiving),
    )


def _situation(
    source: IngestionSource,
    observed: Observed,
    planned: Plan,
    refusals: tuple[str, ...],
    found: Mapping[ConditionType, Verdict],
) -> summary.Situation:
    synced = found[ConditionType.SYNCED]
    situation = summary.Situation(
        parts=tuple(found[aspect] for aspect in CONDITIONS[IngestionSource.kind_name] if aspect in found),
        blocked=planned.blocked,
        refusals=refusals,
        unread=pending.unread(source),
        paused=tuple(sorted(f"{kind} {name}" for kind, name in observed.paused)),
        awaited=frozenset({Reason.SCHEDULED, Reason.SUSPENDED, Reason.ACCESS_DENIED}),
        stalled=synced.reason is Reason.RUN_FAILED and source.spec.schedule is None,
        ready_message="the last run handed over every document",
    )
    if source.spec.suspend:
        message = "spec.suspend is true: no run starts until it is false again"
        return replace(situation, ready_reason=Reason.SUSPENDED, ready_message=message)
    if source.spec.push is not None:
        return replace(situation, ready_message="the receiver takes documents")
    if synced.reason is Reason.SCHEDULED:
        return replace(situation, ready_reason=Reason.SCHEDULED, ready_message=synced.message)
    return situation


def _trouble(observed: Observed) -> str:
    """Return what keeps the pod of a run from starting; empty when nothing does."""
    role = Role.CONNECTOR.value
    pods = [pod for pod in observed.pods if pod["metadata"].get("labels", {}).get(labels.ROLE) == role]
    return workload.trouble(pods) or runs.mounting(pods)


def _blocked(source: IngestionSource, kb: Fact[KnowledgeBase | None], settings: Fact[str]) -> summary.Blocked | None:
    if (unusable := knowledge_base.unusable(source.spec.knowledge_base_ref, kb)) is not None:
        return unusable
    if isinstance(settings, Unknown):
        return summary.Blocked(Reason.INVALID_SPEC, settings.reason, stalled=True)
    return None


def _found(source: IngestionSource, observed: Observed) -> Verdict:
    name, aspect = source.spec.knowledge_base_ref, ConditionType.KNOWLEDGE_BASE_FOUND
    if (unusable := knowledge_base.unusable(name, observed.knowledge_base)) is not None:
        return Verdict(aspect, "False", unusable.reason, unusable.message)
    return Verdict(aspect, "True", Reason.KNOWLEDGE_BASE_EXISTS, f"KnowledgeBase/{name} can be used")


def _synced(source: IngestionSource, planned: Plan, last: LastRun | None, trouble: str) -> Verdict:
    aspect = ConditionType.SYNCED
    if source.spec.push is not None:
        return Verdict(aspect, "True", Reason.NOT_NEEDED, _pushed(source))
    starts = planned.start is not None and planned.start.mode is not RunMode.REPLAY
    if last is None or (starts and last.result != "Running"):
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


def _pushed(source: IngestionSource) -> str:
    unused = sorted(requests.ANNOTATIONS[mode] for mode in requests.asked(source))
    idle = f"; the annotation {', '.join(unused)} asks for nothing here: remove it" if unused else ""
    return f"callers send the documents, and nothing is run{idle}"


def _replays(synced: Verdict, replay: LastRun | None, trouble: str) -> Verdict:
    """Add what is to be known of the newest replay: it changes nothing of what the last run did."""
    if replay is None or (replay.result == "Succeeded" and not replay.failed):
        return synced
    if replay.result == "Running":
        told = f"Job {replay.job} replays dead letters" + (f": {trouble}" if trouble else "")
    elif replay.result == "Failed":
        told = f"the last replay failed: {replay.message}"
    else:
        told = f"the last replay left {replay.failed} behind: {replay.message}"
    return replace(synced, message=f"{synced.message}; {told}")


def _other_settings(source: IngestionSource) -> Verdict:
    """What the index holds came of settings that are no longer the source's: who may read what may differ."""
    aspect = ConditionType.SYNCED
    if source.spec.suspend:
        return Verdict(aspect, "Unknown", Reason.SUSPENDED, "spec.suspend is true, and the last run had other settings")
    if source.spec.schedule is None:
        message = (
            "the last run had other settings; a run with those of now follows as soon as nothing stands in its way"
        )
        return Verdict(aspect, "Unknown", Reason.PROGRESSING, message)
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
    if planned.start is not None:
        status: Truth = "True" if _in_effect(source, planned) else "Unknown"
        when = "now" if source.spec.schedule is None else "as soon as its CronJob is suspended and runs nothing"
        return Verdict(aspect, status, Reason.PROGRESSING, f"a run was asked for and starts {when}")
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
