"""The metrics of the receiver of a push source.

`create_app` makes one on the registry that it was given; labels take only values from fixed, small sets, and the names
of files with API keys.
"""

from __future__ import annotations

from collections.abc import Set

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class ReceiverMetrics:
    """Counters and histograms of one receiver."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "lectern_receiver_requests_total",
            "Requests by route and how they ended.",
            ["route", "outcome"],
            registry=registry,
        )
        self.duration = Histogram(
            "lectern_receiver_request_duration_seconds",
            "Time from the request's arrival to the end of its response.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.active = Gauge("lectern_receiver_active_requests", "Requests that are being worked on.", registry=registry)
        self.errors = Counter(
            "lectern_receiver_errors_total", "Problems answered, by code.", ["code"], registry=registry
        )
        self.documents = Counter(
            "lectern_receiver_documents_total",
            "Documents of requests, by what was asked (put, delete) and the result: accepted, unchanged, rejected.",
            ["action", "result"],
            registry=registry,
        )
        self.held = Gauge("lectern_receiver_held_documents", "Documents that the source holds.", registry=registry)
        self.malformed_keys = Gauge(
            "lectern_api_keys_malformed",
            "1 for each file of the API keys that says nothing usable.",
            ["file"],
            registry=registry,
        )
        self.audit_lost = Counter(
            "lectern_audit_lost_total",
            "Decisions about access that could not be kept until the log had them.",
            registry=registry,
        )

    def working(self, requests: int) -> None:
        """So many requests are being worked on."""
        self.active.set(requests)

    def refused(self, code: str) -> None:
        """Count one problem that was answered."""
        self.errors.labels(code=code).inc()

    def ended(self, *, route: str, outcome: str, seconds: float) -> None:
        """Count one request of `route` (its path template)."""
        self.requests.labels(route=route, outcome=outcome).inc()
        self.duration.labels(route=route).observe(seconds)

    def malformed(self, files: Set[str]) -> None:
        """Name the files of the API keys that say nothing usable, and no others."""
        self.malformed_keys.clear()
        for name in sorted(files):
            self.malformed_keys.labels(file=name[:80]).set(1)
