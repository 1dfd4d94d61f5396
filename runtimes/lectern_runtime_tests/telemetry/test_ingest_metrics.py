"""However many names a topic carries, a worker's metrics keep few."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from lectern_runtime.telemetry import tracing
from lectern_runtime.telemetry.bounded import MOST_VALUES, OTHER, Bounded
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics
from lectern_runtime_tests.telemetry.spans import kept


def test_names_beyond_the_bound_are_counted_together() -> None:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)

    for number in range(5 * MOST_VALUES):
        metrics.done(source=f"s{number}", status="indexed")
        metrics.shown(source=f"s{number}", seconds=0.1)
        metrics.given_up(f"Reason{number}")

    for name, label in (
        ("rag_ingestion_events_total", "source"),
        ("rag_freshness_seconds_count", "source"),
        ("lectern_worker_dead_letters_total", "reason"),
    ):
        counts = {
            sample.labels[label]: sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name == name
        }
        assert len(counts) == MOST_VALUES + 1, name
        assert counts[OTHER] == 4 * MOST_VALUES, name


def test_what_is_too_long_to_be_a_name_is_none() -> None:
    label = Bounded()
    assert (label("x" * 64), label("files"), label("files")) == (OTHER, "files", "files")


def test_a_stage_is_timed_and_recorded_also_when_it_fails() -> None:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)

    with (
        kept() as spans,
        tracing.span("worker.prepare"),
        pytest.raises(ValueError, match="broken"),
        metrics.stage("parse", {"lectern.bytes": 3}),
    ):
        raise ValueError("broken")
    with kept() as orphans, metrics.stage("commit"):
        pass

    assert registry.get_sample_value("lectern_worker_stage_seconds_count", {"stage": "parse"}) == 1
    assert registry.get_sample_value("lectern_worker_stage_seconds_count", {"stage": "commit"}) == 1
    assert dict(spans.one("parse").attributes or {}) == {"lectern.bytes": 3, "error.type": "ValueError"}
    assert orphans.names() == []
