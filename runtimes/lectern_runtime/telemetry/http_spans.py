"""The span of an HTTP request that a runtime answers, and the trace that its caller began.

Used by the border of the query API and of the push API. Probes and scrapes have no span.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from opentelemetry.trace import SpanKind

from lectern_runtime.telemetry import tracing
from lectern_runtime.telemetry.tracing import Span

TRACED = "/v1/"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


@dataclass(frozen=True, slots=True)
class Traced:
    """A request in its span; `headers` tell the caller which trace it belongs to, and are empty when to none."""

    method: str
    span: Span
    headers: Mapping[str, str]

    def answered(self, route: str | None, status: int | None) -> None:
        """Say which route (its template) answered, and with which status."""
        if route is not None:
            self.span.renamed(f"{self.method} {route}")
            self.span.note({"http.route": route})
        if status is not None:
            self.span.note({"http.response.status_code": status})
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                self.span.failed(str(status))


_UNTRACED = Traced("", Span(), {})


@contextmanager
def of_request(scope: Mapping[str, Any]) -> Iterator[Traced]:
    """Continue the trace that the request names, and record the request as a span of it."""
    if not scope["path"].startswith(TRACED):
        yield _UNTRACED
        return
    given = {name: value for name, value in scope["headers"] if name in (b"traceparent", b"tracestate")}
    if not given and not tracing.on():
        yield _UNTRACED
        return
    method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
    carried = {name.decode(): value.decode("latin-1") for name, value in given.items()}
    attributes = {"http.request.method": method, "url.scheme": str(scope.get("scheme", "http"))}
    with (
        tracing.continued(carried.get("traceparent"), carried.get("tracestate")),
        tracing.span(method, attributes, kind=SpanKind.SERVER) as span,
    ):
        yield Traced(method, span, tracing.headers())
