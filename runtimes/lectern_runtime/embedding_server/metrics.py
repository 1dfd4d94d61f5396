"""The server's metrics under TEI's names, so that dashboards and alerts need not know which of the two runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric

SECONDS = tuple(0.00001 * 1.5**step for step in range(1, 36))
STAGES = ("tokenization", "queue", "inference")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TOTAL = re.compile(r"_total$")


class Metrics:
    """Counters and histograms of one server."""

    def __init__(self, *, longest: int, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry or CollectorRegistry()
        self.requests = self._counter("te_request_count", "Requests.", "method")
        self.successes = self._counter("te_request_success", "Requests that were answered.", "method")
        self.failures = self._counter("te_request_failure", "Requests and inputs that failed.", "err")
        self.inputs = self._counter("te_embed_count", "Inputs.")
        self.embedded = self._counter("te_embed_success", "Inputs that were embedded.")
        self.queued = Gauge("te_queue_size", "Inputs that wait for a batch.", registry=self._registry)
        lengths = [2.0**power for power in range(20) if 2**power <= longest]
        self.lengths = self._histogram("te_request_input_length", "Tokens of an input.", lengths)
        self.batch_sizes = self._histogram(
            "te_batch_next_size", "Inputs of a batch.", [2.0**step for step in range(13)]
        )
        self.batch_tokens = self._histogram(
            "te_batch_next_tokens", "Tokens of a batch.", [2.0**step for step in range(21)]
        )
        self.request_seconds = self._durations("te_request", "a request")
        self.input_seconds = self._durations("te_embed", "an input")

    def page(self) -> str:
        """Return all metrics as text."""
        return "".join(line for family in self._registry.collect() for line in _lines(family))

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(name, words, labels, registry=self._registry)

    def _histogram(self, name: str, words: str, buckets: list[float]) -> Histogram:
        return Histogram(name, words, buckets=buckets, registry=self._registry)

    def _durations(self, prefix: str, what: str) -> dict[str, Histogram]:
        """Histograms of the whole time (`total`) and of each stage, in seconds."""
        made = {"total": self._histogram(f"{prefix}_duration", f"Time of {what}.", list(SECONDS))}
        for stage in STAGES:
            name = f"{prefix}_{stage}_duration"
            made[stage] = self._histogram(name, f"Time of {what} in {stage}.", list(SECONDS))
        return made


def _lines(family: Metric) -> Iterator[str]:
    """A family in the text format; the client library would end a counter's name in _total, which TEI does not."""
    yield f"# HELP {family.name} {family.documentation}\n# TYPE {family.name} {family.type}\n"
    for sample in family.samples:
        if sample.name.endswith("_created"):
            continue
        name = _TOTAL.sub("", sample.name) if family.type == "counter" else sample.name
        labels = ",".join(f'{key}="{value}"' for key, value in sample.labels.items())
        yield f"{name}{{{labels}}} {sample.value}\n" if labels else f"{name} {sample.value}\n"
