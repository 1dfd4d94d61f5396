"""What runs in this process, told as the status of the resources: pure.

`embedded` keeps an `Observed` up to date; this turns it into the same documents, conditions and
columns that the operator writes on a cluster. Unknown is said as Unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lectern_contract import pending
from lectern_contract.conditions import Verdict, advance
from lectern_contract.resources import API_VERSION, IngestionSource, KnowledgeBase, RagEndpoint, Resource
from lectern_contract.resources.reasons import CONDITIONS, ConditionType, Reason
from lectern_contract.resources.status import (
    Condition,
    DeadLetters,
    DocumentCounts,
    IngestionSourceStatus,
    KnowledgeBaseStatus,
    LastRun,
    RagEndpointStatus,
    StatusModel,
)


@dataclass
class KnowledgeBaseState:
    """One knowledge base: `waiting` messages are published and not yet worked on; None is not known yet.

    `trouble` names the documents that could not be indexed.
    """

    active_generation: int | None = None
    building_generation: int | None = None
    waiting: int | None = None
    documents: DocumentCounts | None = None
    trouble: str = ""


@dataclass
class SourceState:
    """One source, its newest run, and its documents; None is not known yet."""

    last_run: LastRun | None = None
    documents: DocumentCounts | None = None
    dead_letters: DeadLetters | None = None


@dataclass
class Observed:
    """All that was seen in this process, with the conditions told before."""

    started_at: str
    url: str | None = None
    knowledge_bases: dict[str, KnowledgeBaseState] = field(default_factory=dict)
    sources: dict[str, SourceState] = field(default_factory=dict)
    conditions: dict[tuple[str, str], tuple[Condition, ...]] = field(default_factory=dict)


def document(resource: Resource, status: StatusModel, started_at: str) -> dict[str, Any]:
    """The resource as the API server would return it, with `status`."""
    body = resource.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"status"})
    body["metadata"].setdefault("creationTimestamp", started_at)
    return {
        "apiVersion": API_VERSION,
        "kind": resource.kind_name,
        **body,
        "status": status.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def tell(
    observed: Observed,
    knowledge_bases: Iterable[KnowledgeBase],
    sources: Iterable[IngestionSource],
    endpoint: RagEndpoint,
    *,
    now: str,
) -> list[dict[str, Any]]:
    """All resources with their status; remembers the conditions in `observed`."""
    told = []
    for kb in knowledge_bases:
        state = observed.knowledge_bases.get(kb.name, KnowledgeBaseState())
        conditions = _advance(observed, kb, _knowledge_base(kb, state), now)
        kb_status = KnowledgeBaseStatus(
            observed_generation=1,
            conditions=conditions,
            active_generation=state.active_generation,
            documents=state.documents,
        )
        told.append(document(kb, kb_status, observed.started_at))
    for source in sources:
        state_of = observed.sources.get(source.name, SourceState())
        run = state_of.last_run
        waiting = observed.knowledge_bases.get(source.spec.knowledge_base_ref, KnowledgeBaseState()).waiting
        verdicts = [*_source(source, run, waiting), _indexed(state_of.dead_letters)]
        conditions = _advance(observed, source, verdicts, now)
        source_status = IngestionSourceStatus(
            observed_generation=1,
            conditions=conditions,
            last_run=run,
            documents=state_of.documents,
            dead_letter=state_of.dead_letters,
        )
        told.append(document(source, source_status, observed.started_at))
    conditions = _advance(observed, endpoint, _endpoint(endpoint, observed), now)
    endpoint_status = RagEndpointStatus(observed_generation=1, conditions=conditions, url=observed.url)
    told.append(document(endpoint, endpoint_status, observed.started_at))
    return told


def _advance(observed: Observed, resource: Resource, verdicts: list[Verdict], now: str) -> tuple[Condition, ...]:
    key = (resource.kind_name, resource.name)
    found = _complete(resource.kind_name, verdicts)
    observed.conditions[key] = advance(observed.conditions.get(key, ()), found, generation=1, now=now)
    return observed.conditions[key]


def _complete(kind: str, verdicts: list[Verdict]) -> list[Verdict]:
    """All conditions of the kind in their order: what is a matter of a cluster alone is not needed here."""
    given = {verdict.type: verdict for verdict in verdicts}
    return [
        given.get(aspect) or Verdict(aspect, "True", Reason.NOT_NEEDED, "one process has nothing of this kind")
        for aspect in CONDITIONS[kind]
    ]


def _knowledge_base(kb: KnowledgeBase, state: KnowledgeBaseState) -> list[Verdict]:
    building = state.building_generation
    if state.active_generation is None:
        ready = Verdict(ConditionType.READY, "Unknown", Reason.UNKNOWN, "the store has not been opened yet")
    else:
        ready = Verdict(ConditionType.READY, "True", Reason.ALL_COMPONENTS_READY, state.trouble)
    moving = (
        Verdict(
            ConditionType.RECONCILING,
            "True",
            Reason.PROGRESSING,
            f"generation {building} is being built; {state.waiting} messages wait",
        )
        if building is not None
        else Verdict(ConditionType.RECONCILING, "False", Reason.STABLE)
    )
    return [
        ready,
        moving,
        Verdict(ConditionType.STALLED, "False", Reason.STABLE),
        spec_honored(kb),
        Verdict(ConditionType.EMBEDDING_READY, "True", Reason.IN_PROCESS),
        Verdict(ConditionType.WORKERS_READY, "True", Reason.IN_PROCESS),
        Verdict(ConditionType.SCALER_READY, "True", Reason.SCALER_NOT_NEEDED, "one process does the work"),
    ]


def _source(source: IngestionSource, run: LastRun | None, waiting: int | None) -> list[Verdict]:
    if source.spec.push is not None:
        return _pushed(source)
    synced = _synced(source, run, waiting)
    settled = synced.status == "True"
    reason = Reason.ALL_COMPONENTS_READY if settled else synced.reason
    moving = run is None or run.result == "Running" or (run.result == "Succeeded" and waiting != 0)
    return [
        Verdict(ConditionType.READY, synced.status, reason, synced.message),
        Verdict(
            ConditionType.RECONCILING,
            "True" if moving else "False",
            Reason.PROGRESSING if moving else Reason.STABLE,
        ),
        Verdict(ConditionType.STALLED, "False", Reason.STABLE),
        spec_honored(source),
        Verdict(ConditionType.KNOWLEDGE_BASE_FOUND, "True", Reason.KNOWLEDGE_BASE_EXISTS),
        synced,
        Verdict(ConditionType.RECEIVER_READY, "True", Reason.NOT_NEEDED, "documents are fetched: nobody sends them"),
        Verdict(ConditionType.CONFIG_APPLIED, "True", Reason.IN_PROCESS),
    ]


def _pushed(source: IngestionSource) -> list[Verdict]:
    """A source whose documents are sent: it has a receiver in this process and no runs."""
    taken, suspended = "callers send its documents to this process", source.spec.suspend
    reason = Reason.SUSPENDED if suspended else Reason.IN_PROCESS
    message = "spec.suspend is true: callers are refused" if suspended else taken
    ready = Verdict(ConditionType.RECEIVER_READY, "True", reason, message)
    whole = Reason.SUSPENDED if suspended else Reason.ALL_COMPONENTS_READY
    return [
        Verdict(ConditionType.READY, ready.status, whole, ready.message),
        Verdict(ConditionType.RECONCILING, "False", Reason.STABLE),
        Verdict(ConditionType.STALLED, "False", Reason.STABLE),
        spec_honored(source),
        Verdict(ConditionType.KNOWLEDGE_BASE_FOUND, "True", Reason.KNOWLEDGE_BASE_EXISTS),
        Verdict(ConditionType.SYNCED, "True", Reason.NOT_NEEDED, taken),
        ready,
        Verdict(ConditionType.CONFIG_APPLIED, "True", Reason.IN_PROCESS),
    ]


def _synced(source: IngestionSource, run: LastRun | None, waiting: int | None) -> Verdict:
    kind = ConditionType.SYNCED
    if source.spec.suspend:
        return Verdict(kind, "Unknown", Reason.SUSPENDED, "spec.suspend is true; set it to false to read the source")
    if run is None:
        return Verdict(kind, "Unknown", Reason.NEVER_RUN, "the first run has not begun")
    if run.result == "Running":
        return Verdict(kind, "Unknown", Reason.RUNNING, "a run is under way")
    if run.result == "Failed":
        return Verdict(kind, "False", Reason.RUN_FAILED, run.message)
    if waiting is None:
        return Verdict(kind, "Unknown", Reason.UNKNOWN, "the log has not been read yet")
    if waiting > 0:
        return Verdict(kind, "False", Reason.PROGRESSING, f"{waiting} documents wait to be embedded")
    if run.failed:
        left = f"{run.failed} of {run.listed} documents were left behind and are tried again: {run.message}"
        return Verdict(kind, "False", Reason.RUN_FAILED, left)
    return Verdict(kind, "True", Reason.RUN_SUCCEEDED, f"{run.listed} documents")


def _indexed(letters: DeadLetters | None) -> Verdict:
    """Whether documents were given up; a source does its work nevertheless."""
    kind = ConditionType.DOCUMENTS_INDEXED
    if letters is None:
        return Verdict(kind, "Unknown", Reason.UNKNOWN, "its documents have not been counted yet")
    if not letters.count:
        return Verdict(kind, "True", Reason.NO_DEAD_LETTERS, "no document is given up")
    why = f" (lately: {letters.last_reason})" if letters.last_reason else ""
    what = "1 document is" if letters.count == 1 else f"{letters.count} documents are"
    told = f"{what} given up{why}; to see which: stop `lectern up`, then lectern dlq list -f DIR"
    return Verdict(kind, "False", Reason.DEAD_LETTERS_OPEN, told)


def _endpoint(endpoint: RagEndpoint, observed: Observed) -> list[Verdict]:
    served = observed.url is not None
    states: Mapping[str, KnowledgeBaseState] = observed.knowledge_bases
    open_bases = [
        name
        for name in endpoint.spec.knowledge_base_refs
        if states.get(name, KnowledgeBaseState()).active_generation is None
    ]
    if not served:
        query = Verdict(ConditionType.QUERY_READY, "Unknown", Reason.UNKNOWN, "the server has not started yet")
    elif open_bases:
        query = Verdict(
            ConditionType.QUERY_READY, "False", Reason.COMPONENT_NOT_READY, f"no index yet: {', '.join(open_bases)}"
        )
    else:
        query = Verdict(ConditionType.QUERY_READY, "True", Reason.IN_PROCESS)
    reason = Reason.ALL_COMPONENTS_READY if query.status == "True" else query.reason
    return [
        Verdict(ConditionType.READY, query.status, reason, query.message),
        Verdict(ConditionType.RECONCILING, "False", Reason.STABLE),
        Verdict(ConditionType.STALLED, "False", Reason.STABLE),
        spec_honored(endpoint),
        Verdict(ConditionType.KNOWLEDGE_BASE_FOUND, "True", Reason.KNOWLEDGE_BASE_EXISTS),
        query,
    ]


def spec_honored(resource: KnowledgeBase | IngestionSource | RagEndpoint) -> Verdict:
    """Whether every field that is set is acted on in this release."""
    fields = pending.unread(resource, embedded=True)
    if not fields:
        return Verdict(ConditionType.SPEC_HONORED, "True", Reason.AS_SPECIFIED)
    return Verdict(
        ConditionType.SPEC_HONORED,
        "False",
        Reason.FIELDS_NOT_READ,
        f"this release does not act on: {', '.join(fields)}",
    )
