"""Spans, and how the trace that they belong to travels: in HTTP headers and in the messages of the log.

Nothing is recorded until `exporting.traces` hands in a tracer: then a span is a shared object that does nothing. A
trace that a caller began is handed on in either case. Names and attributes say ids, sizes, models and stages, never a
text; of an error they say its class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Token
from types import TracebackType

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from lectern_contract.errors import DocumentError

Attribute = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, Attribute]
NONE: Attributes = {}
_W3C = TraceContextTextMapPropagator()
_NO_ERRORS = (asyncio.CancelledError, GeneratorExit, StopAsyncIteration)
"""What ends a piece of work without being its fault."""
_tracer: Tracer | None = None


class Span:
    """A span that is not recorded: enter it, note things, leave it; nothing happens."""

    __slots__ = ()

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say nothing: nothing began."""

    def note(self, attributes: Attributes) -> None:
        """Add what became known meanwhile."""

    def renamed(self, name: str) -> None:
        """Give it the name that is known by now."""

    def failed(self, kind: str) -> None:
        """Say that it failed, and how in one word."""


_OFF = Span()


class _Recorded(Span):
    """A span between enter and exit; what is begun inside is its child."""

    __slots__ = ("_attributes", "_kind", "_links", "_name", "_parent", "_span", "_token", "_tracer")

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        attributes: Attributes,
        kind: SpanKind,
        parent: Context | None,
        links: Sequence[Link],
    ) -> None:
        self._tracer, self._name, self._attributes, self._kind = tracer, name, attributes, kind
        self._parent, self._links = parent, links

    def __enter__(self) -> Span:
        self._span = self._tracer.start_span(
            self._name,
            context=self._parent,
            kind=self._kind,
            attributes=self._attributes,
            links=self._links,
            record_exception=False,
            set_status_on_exception=False,
        )
        self._token = contexts.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, _NO_ERRORS):
            self.failed(type(error).__name__)
            if isinstance(error, DocumentError):
                self._span.set_attribute("lectern.reason", error.reason)
        _left(self._token)
        self._span.end()

    def note(self, attributes: Attributes) -> None:
        """Add what became known meanwhile."""
        self._span.set_attributes(attributes)

    def renamed(self, name: str) -> None:
        """Give it the name that is known by now."""
        self._span.update_name(name)

    def failed(self, kind: str) -> None:
        """Say that it failed, and how in one word."""
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR))


def span(name: str, attributes: Attributes = NONE, *, kind: SpanKind = SpanKind.INTERNAL) -> Span:
    """A span below the one that is under way here."""
    if _tracer is None:
        return _OFF
    return _Recorded(_tracer, name, attributes, kind, None, ())


def inside(name: str, attributes: Attributes = NONE) -> Span:
    """A span below the one that is under way here, and none where there is none."""
    if _tracer is None or not trace.get_current_span().get_span_context().is_valid:
        return _OFF
    return _Recorded(_tracer, name, attributes, SpanKind.INTERNAL, None, ())


def apart(name: str, attributes: Attributes = NONE, *, kind: SpanKind = SpanKind.INTERNAL) -> Span:
    """A span that begins a trace of its own, linked with the one that is under way here."""
    if _tracer is None:
        return _OFF
    here = trace.get_current_span().get_span_context()
    return _Recorded(_tracer, name, attributes, kind, Context(), [Link(here)] if here.is_valid else ())


def of_many(name: str, traceparents: Iterable[str | None], attributes: Attributes = NONE) -> Span:
    """A span of work that is done for several traces at once; it links to each of them.

    It stands in the first of those that are recorded, so that sampling never keeps documents without the work that
    was done for them.
    """
    if _tracer is None:
        return _OFF
    found = [each for each in map(_span_context, dict.fromkeys(traceparents)) if each is not None]
    first = next((each for each in found if each.trace_flags.sampled), found[0] if found else None)
    parent = trace.set_span_in_context(trace.NonRecordingSpan(first), Context()) if first is not None else None
    return _Recorded(_tracer, name, attributes, SpanKind.INTERNAL, parent, [Link(each) for each in found])


@contextmanager
def continued(traceparent: str | None, tracestate: str | None = None) -> Iterator[None]:
    """Let what happens inside belong to the trace that somebody handed in; nothing where it is none."""
    if not traceparent:
        yield
        return
    carrier = {"traceparent": traceparent} | ({"tracestate": tracestate} if tracestate else {})
    token = contexts.attach(_W3C.extract(carrier))
    try:
        yield
    finally:
        _left(token)


def carried() -> str | None:
    """The trace that is under way here, as a W3C `traceparent`; None when there is none."""
    return headers().get("traceparent")


def headers() -> dict[str, str]:
    """HTTP headers that hand on the trace that is under way here; none when there is none."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier


def ids() -> dict[str, str]:
    """Ids of the trace and the span that are under way here, for log lines; none when there are none."""
    here = trace.get_current_span().get_span_context()
    if not here.is_valid:
        return {}
    return {"trace_id": f"{here.trace_id:032x}", "span_id": f"{here.span_id:016x}"}


def note(attributes: Attributes) -> None:
    """Add to the span that is under way here."""
    if _tracer is not None:
        trace.get_current_span().set_attributes(attributes)


def on() -> bool:
    """Say whether spans are recorded."""
    return _tracer is not None


@contextmanager
def recording(tracer: Tracer) -> Iterator[None]:
    """Record all spans of this process with `tracer` until the context is left."""
    global _tracer
    before, _tracer = _tracer, tracer
    try:
        yield
    finally:
        _tracer = before


def _span_context(traceparent: str | None) -> SpanContext | None:
    if not traceparent:
        return None
    found = trace.get_current_span(_W3C.extract({"traceparent": traceparent}, Context())).get_span_context()
    return found if found.is_valid else None


def _left(token: Token[Context]) -> None:
    """Go back to the span before. A generator that is closed by another task than it ran in has nothing to go back to.

    The library's own `detach` would log that as an error.
    """
    try:
        token.var.reset(token)
    except ValueError:
        return
