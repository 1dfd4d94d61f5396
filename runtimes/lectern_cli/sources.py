"""What is known of each IngestionSource, as `lectern sources status` tells it: pure.

`sources_running` reads it in the process of `lectern up`, `sources_directory` over a data directory and
`sources_cluster` from a cluster. What cannot be known is None, with the reason in `unknown`; it is never told as zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

from lectern_cli.table import age, aligned
from lectern_contract.resources.ingestion_source import IngestionSourceSpec

KINDS = (
    "persistentVolume", "s3", "http", "git", "wikipedia", "push", "googleDrive", "sharePoint",
)  # fmt: skip
"""What a source reads, as its spec names it."""
_PARTS = ("lastRun", "nextRun", "indexed", "deadLetters", "pending", "freshness")
HEAD = (
    "NAME", "KIND", "PHASE", "REASON", "LAST RUN", "TOOK", "LISTED", "CHANGED", "FAILED", "GONE", "NEXT", "INDEXED",
    "LETTERS", "PENDING", "FRESH",
)  # fmt: skip


class _Told(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class Run(_Told):
    """One run: when it was, and what became of the documents."""

    started_at: str
    finished_at: str | None = None
    mode: str = "Sync"
    result: str
    listed: int = 0
    published: int = 0
    deleted: int = 0
    unchanged: int = 0
    failed: int = 0
    message: str = ""


class Freshness(_Told):
    """From the message about a document until the index shows it: of so many documents, half and 95 % within (s).

    None stands for longer than the longest time that is counted.
    """

    documents: int
    half_within: float | None
    most_within: float | None


class Running(_Told):
    """How far a run is that has not ended: documents that were listed, worked on, and failed so far."""

    listed: int
    done: int
    failed: int


class Source(_Told):
    """What is known of one IngestionSource.

    `pending` counts messages of the whole knowledge base: its sources share one topic. `dead_letters` are open ones.
    `finished_runs` and `running` are told by a process that runs the source itself.
    """

    namespace: str
    name: str
    kind: str
    knowledge_base: str
    phase: str
    reason: str = ""
    message: str = ""
    last_run: Run | None = None
    next_run: str | None = None
    indexed: int | None = None
    dead_letters: int | None = None
    dead_letters_since: str | None = None
    last_reason: str = ""
    pending: int | None = None
    freshness: Freshness | None = None
    finished_runs: int | None = None
    running: Running | None = None
    unknown: dict[str, str] = {}


SOURCES = TypeAdapter(list[Source])


@dataclass(frozen=True)
class Extra:
    """What a resource does not say itself; a text says why it is not known."""

    next_run: str | None = None
    pending: int | str = "it was not asked for"
    freshness: Freshness | str = "it was not asked for"
    unknown: Mapping[str, str] = field(default_factory=dict)


def kind_of(spec: IngestionSourceSpec | Mapping[str, Any]) -> str:
    """What a source reads; `unknown` for a kind of a newer release."""
    said = spec.model_dump(by_alias=True, exclude_none=True) if isinstance(spec, IngestionSourceSpec) else spec
    return next((kind for kind in KINDS if said.get(kind) is not None), "unknown")


def of(document: Mapping[str, Any], extra: Extra) -> Source:
    """Everything that a resource with its status, and `extra`, tell of one source."""
    spec, status = document["spec"], document.get("status") or {}
    kind, unknown = kind_of(spec), dict(extra.unknown)
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    run = Run.model_validate(status["lastRun"]) if status.get("lastRun") else None
    documents, letters = status.get("documents"), status.get("deadLetter")
    if run is None:
        unknown.setdefault("lastRun", "callers send its documents" if kind == "push" else "nothing has run yet")
    if documents is None:
        unknown.setdefault("indexed", "the catalogue of the knowledge base has not been counted")
    if letters is None:
        unknown.setdefault("deadLetters", "the catalogue of the knowledge base has not been counted")
    if extra.next_run is None:
        unknown.setdefault("nextRun", _no_next_run(kind, spec))
    pending, freshness = extra.pending, extra.freshness
    if isinstance(pending, str):
        unknown["pending"] = pending
    if isinstance(freshness, str):
        unknown["freshness"] = freshness
    return Source(
        namespace=document["metadata"].get("namespace", "default"),
        name=document["metadata"]["name"],
        kind=kind,
        knowledge_base=spec["knowledgeBaseRef"],
        phase=phase(kind, bool(spec.get("suspend")), run, {name: each["status"] for name, each in conditions.items()}),
        reason=ready.get("reason", ""),
        message=ready.get("message", ""),
        last_run=run,
        next_run=extra.next_run,
        indexed=documents["indexed"] if documents is not None else None,
        dead_letters=letters["count"] if letters is not None else None,
        dead_letters_since=(letters or {}).get("since"),
        last_reason=(letters or {}).get("lastReason", ""),
        pending=pending if isinstance(pending, int) else None,
        freshness=freshness if isinstance(freshness, Freshness) else None,
        unknown=dict(sorted(unknown.items())),
    )


def phase(kind: str, suspended: bool, run: Run | None, conditions: Mapping[str, str]) -> str:
    """Where a source stands, in one word."""
    if suspended:
        return "Suspended"
    if conditions.get("Stalled") == "True" and (run is None or run.result != "Failed"):
        return "Stalled"
    if kind == "push":
        return {"True": "Receiving", "False": "NotReceiving"}.get(conditions.get("ReceiverReady", ""), "Unknown")
    if run is None:
        return "NeverRun"
    if run.result == "Succeeded":
        return "LeftBehind" if run.failed else {"True": "Synced"}.get(conditions.get("Synced", ""), "HandedOver")
    return run.result


def chosen(sources: Iterable[Source], name: str | None) -> list[Source]:
    """The sources that are meant, in order."""
    found = [each for each in sources if name in (None, each.name)]
    return sorted(found, key=lambda each: (each.namespace, each.name))


def render(sources: Sequence[Source], *, now: datetime) -> str:
    """One line a source, and below it what is not known and why. A `?` is something that is not known."""
    several = len({each.namespace for each in sources}) > 1
    rows = [([each.namespace] if several else []) + _row(each, now) for each in sources]
    notes = _notes(sources, several=several)
    head = [*(["NAMESPACE"] if several else []), *HEAD]
    return "\n".join([aligned([head, *rows]), *([""] if notes else []), *notes])


def details(source: Source, *, now: datetime) -> str:
    """All that is known of one source, line by line."""
    run, lines = source.last_run, [(f"IngestionSource/{source.name}", f"{source.kind}, {source.phase}")]
    lines += [("namespace", source.namespace), ("knowledge base", source.knowledge_base)]
    lines += [("reason", ": ".join(each for each in (source.reason, source.message) if each) or "?")]
    lines += [("last run", _run_line(run, now) if run is not None else "?")]
    lines += [("run says", run.message)] if run is not None and run.message else []
    lines += [("next run", _until(source.next_run, now) if source.next_run else "?")]
    lines += [("indexed", _number(source.indexed))]
    since = f", the first for {age(source.dead_letters_since, now)}" if source.dead_letters_since else ""
    lately = f", lately {source.last_reason}" if source.last_reason else ""
    lines += [("dead letters", f"{_number(source.dead_letters)}{since}{lately}")]
    of_all = f" of KnowledgeBase/{source.knowledge_base}, all its sources" if source.pending is not None else ""
    lines += [("pending", f"{_number(source.pending)}{of_all}"), ("freshness", _fresh_line(source.freshness))]
    width = max(len(label) for label, _ in lines)
    told = [f"{label:<{width}}   {text}" for label, text in lines]
    return "\n".join([*told, *([""] if source.unknown else []), *_notes([source], several=False)])


def _row(source: Source, now: datetime) -> list[str]:
    run = source.last_run
    counts = ["?"] * 6
    if run is not None:
        numbers = [run.listed, run.published, run.failed, run.deleted]
        ended = run.finished_at is not None
        counts = [age(run.started_at, now), _took(run), *(str(each) if ended else "..." for each in numbers)]
    upcoming = _until(source.next_run, now) if source.next_run else "?"
    fresh = source.freshness
    return [
        source.name,
        source.kind,
        source.phase,
        source.reason or "?",
        *counts,
        upcoming,
        _number(source.indexed),
        _number(source.dead_letters),
        _number(source.pending),
        _within(fresh.most_within) if fresh is not None else "?",
    ]


def _notes(sources: Sequence[Source], *, several: bool) -> list[str]:
    """One line for each thing that is not known, the same reason once."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for source in sources:
        name = f"{source.namespace}/{source.name}" if several else source.name
        for part in _PARTS:
            if part in source.unknown:
                by_reason.setdefault((part, source.unknown[part]), []).append(name)
    return [f"? {part} of {', '.join(who)}: {reason}" for (part, reason), who in by_reason.items()]


def _no_next_run(kind: str, spec: Mapping[str, Any]) -> str:
    if kind == "push":
        return "callers send its documents"
    if spec.get("suspend"):
        return "spec.suspend is true: none starts"
    return "the schedule could not be read" if spec.get("schedule") else "it runs when asked: it has no schedule"


def _run_line(run: Run, now: datetime) -> str:
    begun = f"{run.result} ({run.mode}), {age(run.started_at, now)} ago at {run.started_at}"
    if run.finished_at is None:
        return begun
    seen = f"{run.listed} listed, {run.published} changed, {run.unchanged} unchanged"
    return f"{begun}, took {_took(run)}: {seen}, {run.failed} failed, {run.deleted} gone"


def _took(run: Run) -> str:
    if run.finished_at is None:
        return "..."
    return age(run.started_at, datetime.fromisoformat(run.finished_at))


def _until(moment: str, now: datetime) -> str:
    late = datetime.fromisoformat(moment) - now
    return f"in {age(now.isoformat(), now + late)}" if late.total_seconds() > 0 else "now"


def _fresh_line(fresh: Freshness | None) -> str:
    if fresh is None:
        return "?"
    half, most = _within(fresh.half_within), _within(fresh.most_within)
    return f"half of {fresh.documents} documents in the index after {half}, 95 % after {most}"


def _within(seconds: float | None) -> str:
    return "longer" if seconds is None else f"<={seconds:g}s"


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


def with_running(source: Source, *, finished_runs: int, running: Running | None) -> Source:
    """The same source, with how far its own process is with it."""
    return source.model_copy(update={"finished_runs": finished_runs, "running": running})


def without(extra: Extra, part: str, why: str) -> Extra:
    """The same, where `part` cannot be known."""
    return replace(extra, unknown={**extra.unknown, part: why})
