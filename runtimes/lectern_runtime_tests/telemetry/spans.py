"""Spans that the code under test recorded, kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import SpanContext

from lectern_runtime.telemetry import tracing


class Kept:
    """What was recorded, oldest end first."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def names(self) -> list[str]:
        return [span.name for span in self.all()]

    def one(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.all() if span.name == name]
        return found

    def parent(self, span: ReadableSpan) -> str | None:
        """Name of the span that `span` is a child of; "remote" for one that is not recorded here."""
        if span.parent is None:
            return None
        by_id = {place(each).span_id: each.name for each in self.all()}
        return by_id.get(span.parent.span_id, "remote")

    def tree(self) -> dict[str, str | None]:
        """Each name with the name of its parent."""
        return {span.name: self.parent(span) for span in self.all()}

    def traces(self) -> set[str]:
        return {f"{place(span).trace_id:032x}" for span in self.all()}


def place(span: ReadableSpan) -> SpanContext:
    """Ids of a recorded span."""
    found = span.get_span_context()
    assert isinstance(found, SpanContext)
    return found


@contextmanager
def kept(sampler: Sampler | None = None) -> Iterator[Kept]:
    """Record what happens inside."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracing.recording(provider.get_tracer("tests")):
        yield Kept(exporter)
