"""One document in hand: what its log lines and its spans say of it.

Workers enter `of_document` around what they do for one message, and `of_documents` around what they do for several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from opentelemetry.trace import SpanKind

from lectern_contract.messages import DocumentRef
from lectern_runtime.telemetry import tracing
from lectern_runtime.telemetry.logging import about
from lectern_runtime.telemetry.tracing import Span


@contextmanager
def of_document(
    name: str, document: DocumentRef, *, partition: int, offset: int, traceparent: str | None
) -> Iterator[Span]:
    """Work on the message at `partition` and `offset`, as span `name` of the trace that the message carries."""
    identity = document.id
    with (
        about(document_id=identity, source=document.source, partition=partition, offset=offset),
        tracing.continued(traceparent),
        tracing.span(
            name,
            {
                "lectern.document.id": identity,
                "lectern.source": document.source,
                "messaging.destination.partition.id": str(partition),
                "messaging.kafka.offset": offset,
            }
            if tracing.on()
            else tracing.NONE,
            kind=SpanKind.CONSUMER,
        ) as span,
    ):
        yield span


def of_documents(name: str, traceparents: Iterable[str | None]) -> Span:
    """Work that is done for the documents of a batch at once; its span links to each of their traces."""
    carried = list(traceparents) if tracing.on() else []
    if not carried:
        return Span()
    return tracing.of_many(name, carried, {"lectern.documents": len(carried)})
