"""What the metrics of workers tell of a source: how fresh its documents are, and how many messages wait. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

from lectern_cli.sources import Freshness

FRESHNESS = "rag_freshness_seconds"
LAG = "lectern_worker_lag_messages"
NOTHING_YET = "its workers have indexed no document of it since they started"


def freshness(texts: Iterable[str], source: str) -> Freshness | str:
    """How fresh the documents of `source` were, over all workers; a text says why nobody knows."""
    counts: dict[float, float] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples if family.name == FRESHNESS else ():
                if sample.name == f"{FRESHNESS}_bucket" and sample.labels.get("source") == source:
                    limit = float(sample.labels["le"])
                    counts[limit] = counts.get(limit, 0) + sample.value
    total = counts.get(float("inf"), 0)
    if not total:
        return NOTHING_YET
    return Freshness(
        documents=int(total), half_within=_within(counts, total * 0.5), most_within=_within(counts, total * 0.95)
    )


def lag(texts: Iterable[str]) -> int | str:
    """Messages that wait for these workers; a text says why nobody knows."""
    found = [
        sample.value
        for text in texts
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == LAG
    ]
    return int(sum(found)) if found else "its workers do not say"


def _within(counts: dict[float, float], wanted: float) -> float | None:
    """The smallest limit below which so many lie; None beyond the last."""
    limit = min(limit for limit, count in counts.items() if count >= wanted)
    return None if limit == float("inf") else limit
