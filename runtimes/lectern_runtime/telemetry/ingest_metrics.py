"""Counters of the ingestion side: what connectors hand over and what workers make of it.

Each program's main makes one of these on its own registry and hands it to the run or the worker; nothing
is registered at import. Labels name knowledge base, source, result and stage, never a document.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from lectern_runtime.telemetry import tracing
from lectern_runtime.telemetry.bounded import Bounded
from lectern_runtime.telemetry.tracing import Attributes, Span

STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
FRESHNESS_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
"""Seconds."""


class ConnectorMetrics:
    """What runs of connectors handed over, by result."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.documents = Counter(
            "lectern_connector_documents_total",
            "Documents seen by runs of a connector, by result: published, deleted, unchanged, failed.",
            ["source", "result"],
            registry=registry,
        )
        self.runs = Counter("lectern_connector_runs_total", "Runs by result.", ["source", "result"], registry=registry)
        self.bytes = Counter(
            "lectern_connector_read_bytes_total", "Bytes read from the source.", ["source"], registry=registry
        )


class EmbeddingCacheMetrics:
    """What the tiers of the embedding cache spared a worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.hits = Counter(
            "lectern_worker_embedding_cache_hits_total",
            "Texts whose vector was kept from before, by tier: memory, redis.",
            ["tier"],
            registry=registry,
        )
        self.misses = Counter(
            "lectern_worker_embedding_cache_misses_total", "Texts that no tier had a vector of.", registry=registry
        )
        self.errors = Counter(
            "lectern_worker_embedding_cache_errors_total",
            "Times that a tier was passed over because it did not answer.",
            ["tier"],
            registry=registry,
        )


class WorkerMetrics:
    """What a worker made of document messages, and how long each stage took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._source, self._reason = Bounded(), Bounded()
        self.documents = Counter(
            "rag_ingestion_events_total",
            "Document messages by source and result: indexed, unchanged, deleted, failed, skipped, unreadable.",
            ["source", "status"],
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "lectern_worker_stage_seconds",
            "Seconds of a stage: fetch, parse, chunk for a document, embed for a call, write and commit for a batch.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self.chunks = Counter(
            "lectern_worker_chunks_total",
            "Chunks written, by where their vector came from: embedded or known.",
            ["vector"],
            registry=registry,
        )
        self.embedded_tokens = Counter(
            "lectern_worker_embedded_tokens_total", "Tokens handed to the embedding model.", registry=registry
        )
        self.retries = Counter(
            "lectern_worker_retries_total",
            "Attempts that failed and were tried again, by dependency.",
            ["dependency"],
            registry=registry,
        )
        self.dead_letters = Counter(
            "lectern_worker_dead_letters_total", "Documents given up, by reason.", ["reason"], registry=registry
        )
        self.cache = EmbeddingCacheMetrics(registry)
        self.freshness_seconds = Histogram(
            "rag_freshness_seconds",
            "Seconds from a document's message on the log until the index shows it, by source.",
            ["source"],
            buckets=FRESHNESS_BUCKETS,
            registry=registry,
        )
        self.parked = Gauge(
            "lectern_worker_parked_documents",
            "Documents that the world fails while others go through, and that are tried again later.",
            registry=registry,
        )
        self.lag = Gauge(
            "lectern_worker_lag_messages", "Messages between the committed place and the end.", registry=registry
        )

    def done(self, *, source: str, status: str) -> None:
        """Count a document message by what became of it."""
        self.documents.labels(source=self._source(source), status=status).inc()

    def shown(self, *, source: str, seconds: float) -> None:
        """Observe how long a document took from the log to the index."""
        self.freshness_seconds.labels(source=self._source(source)).observe(seconds)

    def given_up(self, reason: str) -> None:
        """Count a document that went to the dead letters."""
        self.dead_letters.labels(reason=self._reason(reason)).inc()

    @contextmanager
    def stage(self, name: str, attributes: Attributes = tracing.NONE) -> Iterator[Span]:
        """Time what happens inside as one observation of the stage `name`, and as a span of what is under way."""
        began = perf_counter()
        try:
            with tracing.inside(name, attributes) as span:
                yield span
        finally:
            self.stage_seconds.labels(stage=name).observe(perf_counter() - began)
