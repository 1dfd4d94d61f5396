"""The operator's own metrics, in a registry of their own; `serving` shows them at /metrics.

Counters are fed by the boundary and the client; what can be read off at any time (queue, inventory, event loop) is
read at the moment of the scrape. The names are documented in the generated reference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

CONDITION_LABELS = ("kind", "condition", "status")
LAG_SECONDS = 1.0
"""How often the event loop is asked how late it is."""


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
        self.events = Counter(
            "lectern_operator_events_total", "Kubernetes Events that were written.", registry=self.registry
        )
        self.queued = self._gauge("queue_length", "Resources that wait for a pass or have one.")
        self.oldest = self._gauge("queue_age_seconds", "How long the resource that waits longest has been waiting.")
        self.resources = self._gauge("resources", "Resources that are looked after.")
        self.active = self._gauge("active", "Whether this process may write: it holds the Lease, or there is none.")
        self.lag = self._gauge("event_loop_lag_seconds", "How late the event loop woke up at the last look.")

    def called(self, verb: str, kind: str, status: int) -> None:
        """Count one answer of the API server."""
        self.calls.labels(verb=verb, kind=kind, code=str(status)).inc()

    def show_conditions(self, count: Callable[[], Mapping[tuple[str, str, str], int]]) -> None:
        """Show, at each scrape, what `count` says: resources by kind, condition and its status."""
        self.registry.register(_Conditions(count))

    async def watch_loop(self) -> None:
        """Measure the lag of the event loop until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            before = clock()
            await asyncio.sleep(LAG_SECONDS)
            self.lag.set(max(0.0, clock() - before - LAG_SECONDS))

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"lectern_operator_{name}", text, registry=self.registry)


class _Conditions(Collector):
    """Conditions of all resources, counted when asked for."""

    def __init__(self, count: Callable[[], Mapping[tuple[str, str, str], int]]) -> None:
        self._count = count

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield one family: resources by kind, condition and status."""
        family = GaugeMetricFamily(
            "lectern_operator_conditions",
            "Resources by kind, condition and its status.",
            labels=CONDITION_LABELS,
        )
        for labels, count in sorted(self._count().items()):
            family.add_metric(labels, count)
        yield family
