"""What the statuses of a KnowledgeBase and of its sources say about documents: counts, and dead letters that are open.

The catalogue is counted by the pass over the knowledge base, for all sources at once; each source says in its own
status what the knowledge base says of it. What nobody knows is left out and never told as zero.
"""

from __future__ import annotations

from collections.abc import Iterable

from lectern_contract import names
from lectern_contract.conditions import Verdict
from lectern_contract.names import Role
from lectern_contract.resources import IngestionSource, KnowledgeBase
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_contract.resources.status import DeadLetters, DocumentCounts, KnowledgeBaseStatus, SourceDocuments
from lectern_operator.facts import Fact, Known
from lectern_operator.policies.clocks import has_been

MOST_TOLD = 100
"""Sources in the status of one knowledge base."""


def of_sources(
    before: KnowledgeBaseStatus, found: Fact[tuple[SourceDocuments, ...]], *, now: str
) -> tuple[tuple[SourceDocuments, ...], int | None]:
    """Return what the status of a knowledge base says of its sources, and of how many there are.

    What was not counted this time stays as it was told `before`. `now` is RFC 3339 in UTC.
    """
    if not isinstance(found, Known):
        return before.sources, before.source_count
    known = {each.name: each for each in before.sources}
    told = tuple(_since(each, known.get(each.name), now) for each in found.value[:MOST_TOLD])
    return told, len(found.value)


def changed(before: KnowledgeBaseStatus, after: KnowledgeBaseStatus, sources: Iterable[str]) -> tuple[str, ...]:
    """Return those of `sources` of which something else is told than before, in order."""
    different = {each.name for each in set(before.sources) ^ set(after.sources)}
    every = _names_all(before) != _names_all(after)
    return tuple(sorted(name for name in sources if every or name in different))


def of_source(source: IngestionSource, kb: Fact[KnowledgeBase | None]) -> SourceDocuments | None:
    """Return what the knowledge base tells of `source`; None when it does not know."""
    if not isinstance(kb, Known) or kb.value is None:
        return None
    status = kb.value.status
    for each in status.sources:
        if each.name == source.name:
            return each
    return SourceDocuments(name=source.name) if _names_all(status) else None


def counts(told: SourceDocuments | None) -> DocumentCounts | None:
    """Return the counts for the status of a source."""
    return None if told is None else DocumentCounts(indexed=told.indexed, failed=told.failed)


def dead_letters(told: SourceDocuments | None) -> DeadLetters | None:
    """Return the open dead letters for the status of a source."""
    if told is None:
        return None
    return DeadLetters(count=told.failed, since=told.failed_since, last_reason=told.last_reason)


def verdict(source: IngestionSource, told: SourceDocuments | None) -> Verdict:
    """Judge whether workers gave documents of `source` up; a source does its work nevertheless."""
    aspect = ConditionType.DOCUMENTS_INDEXED
    if told is None:
        return Verdict(aspect, "Unknown", Reason.UNKNOWN, "the knowledge base does not say how many documents failed")
    if not told.failed:
        return Verdict(aspect, "True", Reason.NO_DEAD_LETTERS, "no document is given up")
    worker = f"deploy/{names.child(source.spec.knowledge_base_ref, Role.WORKER)}"
    why = f" (lately: {told.last_reason})" if told.last_reason else ""
    look = (
        f"kubectl exec -n {source.namespace} {worker} -- python -m lectern_runtime.maintain list --source {source.name}"
    )
    what = "1 document is" if told.failed == 1 else f"{told.failed} documents are"
    return Verdict(aspect, "False", Reason.DEAD_LETTERS_OPEN, f"{what} given up{why}; to see which: {look}")


def _names_all(status: KnowledgeBaseStatus) -> bool:
    """Say whether a source that `status` does not name has no document."""
    return status.source_count is not None and status.source_count <= len(status.sources)


def _since(found: SourceDocuments, before: SourceDocuments | None, now: str) -> SourceDocuments:
    """Return `found` with the time since when documents have failed; a time that cannot be ours is set anew."""
    if not found.failed:
        return found
    kept = before.failed_since if before is not None and before.failed else None
    since = kept if kept is not None and has_been(kept, now) else now
    return found.model_copy(update={"failed_since": since})
