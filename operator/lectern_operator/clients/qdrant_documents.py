"""Which documents a Qdrant collection holds, by state and by source: counts of the catalogue, as facts.

Imported by `qdrant` on first use. A dead letter is open as long as its document's record says that it failed, so that
the records alone tell how many are open; the topic of dead letters holds the closed ones too.
"""

from __future__ import annotations

from qdrant_client import AsyncQdrantClient, models

from lectern_contract.payload import DocumentState, Field, PayloadKind
from lectern_contract.resources.status import DocumentCounts, SourceDocuments
from lectern_operator.clients.qdrant_reading import where
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.vector_store import ObservedCollection

MOST_SOURCES = 1_000
"""Sources that one look counts; of a collection with more nobody says which has how many."""
MOST_READ = 256
"""Failed documents whose reasons one look reads."""
_LONGEST_REASON = 64


async def documents(qdrant: AsyncQdrantClient, found: ObservedCollection) -> Fact[DocumentCounts]:
    """Return how many documents `found` has by state, as their records tell."""
    if (twice := _twice(found)) is not None:
        return twice
    wanted = where({Field.KIND: PayloadKind.RECORD.value})
    hits = (await qdrant.facet(found.name, key=Field.STATE, facet_filter=wanted, limit=16, exact=True)).hits
    counts = {str(hit.value): hit.count for hit in hits}
    indexed, failed = counts.get(DocumentState.INDEXED, 0), counts.get(DocumentState.FAILED, 0)
    return Known(DocumentCounts(indexed=indexed, failed=failed))


async def by_source(qdrant: AsyncQdrantClient, found: ObservedCollection) -> Fact[tuple[SourceDocuments, ...]]:
    """Return what each source has, by name; why documents failed is read of `MOST_READ` of them."""
    if (twice := _twice(found)) is not None:
        return twice
    indexed = await _of_state(qdrant, found.name, DocumentState.INDEXED)
    failed = await _of_state(qdrant, found.name, DocumentState.FAILED)
    if max(len(indexed), len(failed)) > MOST_SOURCES:
        return Unknown(f"more than {MOST_SOURCES} sources have documents in {found.name}")
    reasons = await _reasons(qdrant, found.name) if failed else {}
    return Known(
        tuple(
            SourceDocuments(
                name=name,
                indexed=indexed.get(name, 0),
                failed=failed.get(name, 0),
                last_reason=reasons.get(name, ""),
            )
            for name in sorted(indexed.keys() | failed.keys())
        )
    )


def _twice(found: ObservedCollection) -> Unknown | None:
    """Return why records cannot be counted once each; None where they can."""
    if isinstance(found.shared, Unknown):
        return found.shared
    if any(found.answers(key) for key in found.shared.value):
        return Unknown("a partition lies in two places until its copies are deleted")
    return None


async def _of_state(qdrant: AsyncQdrantClient, name: str, state: DocumentState) -> dict[str, int]:
    answer = await qdrant.facet(
        name, key=Field.SOURCE, facet_filter=_records(state), limit=MOST_SOURCES + 1, exact=True
    )
    return {hit.value: hit.count for hit in answer.hits if isinstance(hit.value, str)}


async def _reasons(qdrant: AsyncQdrantClient, name: str) -> dict[str, str]:
    """Return, by source, the class of the failure with the highest version among the records that are read."""
    wanted = [Field.SOURCE, Field.VERSION, "reason"]
    points, _ = await qdrant.scroll(
        name, scroll_filter=_records(DocumentState.FAILED), limit=MOST_READ, with_payload=wanted, with_vectors=False
    )
    told = [each.payload for each in points if each.payload is not None]
    told.sort(key=lambda payload: (int(payload.get(Field.VERSION) or 0), str(payload.get("reason") or "")))
    return {
        str(payload.get(Field.SOURCE)): str(payload.get("reason") or "").partition(":")[0][:_LONGEST_REASON]
        for payload in told
    }


def _records(state: DocumentState) -> models.Filter:
    return where({Field.KIND: PayloadKind.RECORD.value, Field.STATE: state.value})
