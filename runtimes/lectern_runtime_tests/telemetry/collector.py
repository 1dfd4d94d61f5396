"""A double of an OpenTelemetry collector: takes OTLP over HTTP as protobuf, keeps the spans, can be out of order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WAIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Received:
    """One span as it came over the wire, with the service that sent it; ids are hex, `parent` is empty for a root."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    links: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass
class Collector:
    """What came in. `status` is what it answers; while `holds` is set it answers nothing."""

    url: str = ""
    status: int = 200
    spans: list[Received] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    requests: int = 0
    holds: bool = False
    released: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        with self._changed:
            self.bodies.append(body)
            self.spans += list(_received(request))
            self._changed.notify_all()

    def count(self) -> None:
        with self._changed:
            self.requests += 1
            self._changed.notify_all()

    def asked(self) -> bool:
        """Wait for a request."""
        with self._changed:
            return self._changed.wait_for(lambda: self.requests > 0, WAIT_SECONDS)

    def named(self, name: str) -> list[Received]:
        return [each for each in self.spans if each.name == name]

    def one(self, name: str) -> Received:
        (found,) = self.named(name)
        return found

    def parent(self, of: Received) -> str:
        """Name of the span that `of` is a child of; empty for a root, "missing" for one that did not come."""
        names = {each.span: each.name for each in self.spans}
        return names.get(of.parent, "missing") if of.parent else ""


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listen on a free port of this machine."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.count()
            if collector.holds:
                collector.released.wait(WAIT_SECONDS)
            if collector.status == 200 and self.path == "/v1/traces":
                collector.take(body)
            self.send_response(collector.status if self.path == "/v1/traces" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 the base class chooses the name
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that left."""

    server = Server(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.released.set()
        server.shutdown()
        server.server_close()
        thread.join(WAIT_SECONDS)


def _received(request: Any) -> Iterator[Received]:
    for resource in request.resource_spans:
        about = {each.key: _value(each.value) for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Received(
                    service=str(about.get("service.name")),
                    name=span.name,
                    trace=span.trace_id.hex(),
                    span=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    links=tuple(link.span_id.hex() for link in span.links),
                    attributes={each.key: _value(each.value) for each in span.attributes},
                )


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)
