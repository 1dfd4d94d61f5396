"""One run of a connector: what its log lines and spans say of it, and how many documents its trace holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lectern_runtime.telemetry import tracing
from lectern_runtime.telemetry.logging import about
from lectern_runtime.telemetry.tracing import Attributes, Span

MOST_INSIDE = 1000
"""Documents in the trace of their run; each further one has a trace of its own, linked with the run's."""


@contextmanager
def of_run(source: str, *, mode: str, run: str) -> Iterator[Span]:
    """One run of `source` (namespace/name), as the span `connector.run`; `run` is its id."""
    attributes: Attributes = {"lectern.source": source, "lectern.run": run, "lectern.mode": mode}
    with about(source=source, run=run), tracing.span("connector.run", attributes) as span:
        yield span


class RunSpans:
    """Gives each document of a run its span."""

    def __init__(self, most_inside: int = MOST_INSIDE) -> None:
        self._left = most_inside

    def document(self, attributes: Attributes = tracing.NONE) -> Span:
        """The span `connector.document`, in which a document is fetched, stored and made a message of."""
        if not tracing.on():
            return tracing.span("connector.document")
        if self._left > 0:
            self._left -= 1
            return tracing.span("connector.document", attributes)
        return tracing.apart("connector.document", attributes)
