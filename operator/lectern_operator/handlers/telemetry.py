"""The operator's own metrics, in a registry of their own; `serving` shows them at /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Telemetry:
    """Counters that the boundary, the client and the queue feed."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.passes = Counter(
            "lectern_operator_reconciles_total",
            "Passes by kind and result.",
            ["kind", "result"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "lectern_operator_reconcile_seconds", "Duration of a pass.", ["kind"], registry=self.registry
        )
        self.calls = Counter(
            "lectern_operator_api_calls_total",
            "Answers of the API server by verb, kind and HTTP status (0: none).",
            ["verb", "kind", "code"],
            registry=self.registry,
        )
        self.queued = Gauge("lectern_operator_queue_length", "Resources that wait for a pass.", registry=self.registry)
        self.resources = Gauge("lectern_operator_resources", "Resources that are looked after.", registry=self.registry)
        self.active = Gauge(
            "lectern_operator_active", "Whether this process may write: it holds the Lease.", registry=self.registry
        )

    def called(self, verb: str, kind: str, status: int) -> None:
        """Count one answer of the API server."""
        self.calls.labels(verb=verb, kind=kind, code=str(status)).inc()
