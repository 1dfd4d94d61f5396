"""The metrics of the query runtime, under the names that dashboards and alerts use.

`create_app` makes one on the registry that it was given; routes and pipeline record into it, `/metrics` shows it.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class QueryMetrics:
    """Counters and histograms of one query process. Labels take only values from fixed, small sets."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queries = Counter(
            "rag_queries_total", "Requests by route and how they ended.", ["route", "outcome"], registry=registry
        )
        self.duration = Histogram(
            "rag_query_duration_seconds",
            "Time from the request's arrival to the end of its response.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.stage = Histogram(
            "rag_stage_duration_seconds", "Time in one stage.", ["stage"], buckets=_SECONDS, registry=registry
        )
        self.cache_hits = Counter("rag_cache_hits_total", "Answers from the cache.", ["tier"], registry=registry)
        self.cache_misses = Counter(
            "rag_cache_misses_total", "Questions that the cache had no answer for.", registry=registry
        )
        self.active = Gauge("rag_active_requests", "Requests that are being worked on.", registry=registry)
        self.errors = Counter("rag_errors_total", "Problems answered, by code.", ["code"], registry=registry)
        self.config = Gauge(
            "rag_config_info",
            "1 for the loaded configuration.",
            ["endpoint", "config_hash", "version"],
            registry=registry,
        )

    def loaded(self, *, endpoint: str, config_hash: str, version: str) -> None:
        """Say which configuration this process runs."""
        self.config.labels(endpoint=endpoint, config_hash=config_hash, version=version).set(1)

    def working(self, requests: int) -> None:
        """So many requests are being worked on."""
        self.active.set(requests)

    def refused(self, code: str) -> None:
        """Count one problem that was answered."""
        self.errors.labels(code=code).inc()

    def ended(self, *, route: str, outcome: str, seconds: float) -> None:
        """Count one request of `route` (its path template)."""
        self.queries.labels(route=route, outcome=outcome).inc()
        self.duration.labels(route=route).observe(seconds)

    def stages(self, milliseconds: dict[str, float]) -> None:
        """Observe each stage of one request."""
        for name, value in milliseconds.items():
            self.stage.labels(stage=name).observe(value / 1000)
