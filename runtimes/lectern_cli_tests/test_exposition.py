"""Freshness and lag out of the metrics that real workers' counters give."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from lectern_cli import exposition
from lectern_cli.sources import Freshness
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics


def worker(*seconds: float, source: str = "guides", lag: float = 0) -> str:
    """The metrics of a worker whose documents took so long."""
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    metrics.lag.set(lag)
    for each in seconds:
        metrics.freshness_seconds.labels(source=source).observe(each)
    return generate_latest(registry).decode()


def test_freshness_is_that_of_all_workers_together() -> None:
    texts = [worker(*[0.4] * 90), worker(*[4.0] * 10), worker(2000, source="other")]
    assert exposition.freshness(texts, "guides") == Freshness(documents=100, half_within=0.5, most_within=5)


def test_documents_that_took_longer_than_is_counted_are_said_to_have_taken_longer() -> None:
    found = exposition.freshness([worker(0.2, 90_000)], "guides")
    assert found == Freshness(documents=2, half_within=0.25, most_within=None)


def test_a_source_of_which_nothing_was_indexed_has_no_freshness() -> None:
    assert exposition.freshness([worker(1, source="other")], "guides") == exposition.NOTHING_YET


def test_lag_is_the_sum_of_the_workers_shares_and_unknown_without_any() -> None:
    assert exposition.lag([worker(lag=3), worker(lag=4)]) == 7
    assert exposition.lag(["# nothing\n"]) == "its workers do not say"
