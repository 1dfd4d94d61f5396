"""Hands spans to an OpenTelemetry collector, where one is named: by the resource, or by the standard environment.

Called once by each program's main. Needs the extra `tracing`; without it, or without a collector, programs work as
they do without tracing. Spans wait in a bounded queue that a thread of its own empties: when the collector is away they
are dropped, and nobody waits for it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from lectern_contract.settings_parts import TracingSettings
from lectern_runtime.telemetry import tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

logger = logging.getLogger("lectern.tracing")
QUEUE_SPANS, BATCH_SPANS = 4096, 512
EXPORT_SECONDS = 5.0
"""Of one attempt to hand a batch over."""
LAST_SECONDS = 3.0
"""Given at the end of a program for spans that still wait."""
SEND_SECONDS = 2.0
"""How long spans are gathered."""
PROTOCOL = "http/protobuf"
SILENCE_SECONDS = 60.0
"""A collector that is away is worth one line in so many."""
_PLACES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@contextmanager
def traces(
    runtime: str,
    settings: TracingSettings | None,
    *,
    attributes: Mapping[str, str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Iterator[None]:
    """Record and hand over the spans of this program, the `runtime`, until the context is left.

    The resource's `settings` go before the environment; `attributes` say more about the program. Raises nothing of its
    own: what keeps spans from being sent is told in the log.
    """
    made = _processor(settings, environment)
    if made is None:
        yield
        return
    provider = _provider(runtime, settings, attributes or {}, environment)
    provider.add_span_processor(made)
    try:
        with tracing.recording(provider.get_tracer("lectern", version("lectern"))):
            yield
    finally:
        _ended(made)


def place(settings: TracingSettings | None, environment: Mapping[str, str]) -> str | None:
    """Where spans go, as the sentence of a log names it; None when nobody says so, or says not to."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    if settings is not None:
        return f"{settings.endpoint.rstrip('/')}/v1/traces"
    return next((environment[name] for name in _PLACES if environment.get(name)), None)


def _processor(settings: TracingSettings | None, environment: Mapping[str, str]) -> BatchSpanProcessor | None:
    if place(settings, environment) is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        logger.warning("spans are not sent: this installation lacks the extra tracing; install lectern[tracing]")
        return None
    protocol = _says(environment, "PROTOCOL")
    if settings is None and protocol not in ("", PROTOCOL):
        logger.warning("spans are sent by %s: the environment asks for another protocol, which is not spoken", PROTOCOL)
    _seldom()
    # given by hand, an endpoint is the whole URL; the environment's own rules hold for everything else
    endpoint = place(settings, environment) if settings is not None else None
    timeout = None if _says(environment, "TIMEOUT") else EXPORT_SECONDS
    return processor(OTLPSpanExporter(endpoint=endpoint, timeout=timeout))


def processor(exporter: SpanExporter) -> BatchSpanProcessor:
    """The queue in front of `exporter`; the standard OTEL_BSP_* environment is not asked, so that it stays bounded."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(
        exporter,
        max_queue_size=QUEUE_SPANS,
        schedule_delay_millis=SEND_SECONDS * 1000,
        max_export_batch_size=BATCH_SPANS,
    )


def _provider(
    runtime: str, settings: TracingSettings | None, attributes: Mapping[str, str], environment: Mapping[str, str]
) -> TracerProvider:
    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased

    sampler: Sampler | None = None
    if settings is not None and not environment.get("OTEL_TRACES_SAMPLER"):
        sampler = ParentBased(TraceIdRatioBased(settings.sample_ratio))
    about = {
        SERVICE_NAME: environment.get("OTEL_SERVICE_NAME") or f"lectern-{runtime}",
        SERVICE_VERSION: version("lectern"),
        SERVICE_INSTANCE_ID: environment.get("HOSTNAME") or str(os.getpid()),
        **attributes,
    }
    return TracerProvider(sampler=sampler, resource=Resource.create(about), shutdown_on_exit=False)


def _ended(made: BatchSpanProcessor) -> None:
    """Send what waits, for a bounded time: the processor's own bound is 30 s, longer than a pod has."""
    ending = threading.Thread(target=made.shutdown, name="last-spans", daemon=True)
    ending.start()
    ending.join(LAST_SECONDS)
    if ending.is_alive():
        made.span_exporter.shutdown()


def _says(environment: Mapping[str, str], what: str) -> str:
    """What the environment says of spans, or of everything that is exported; empty when nothing."""
    said = (environment.get(f"OTEL_EXPORTER_OTLP{part}_{what}") for part in ("_TRACES", ""))
    return next((each for each in said if each), "")


class _Seldom(logging.Filter):
    """Lets one line a while through: a collector that is away fails every batch."""

    def __init__(self) -> None:
        super().__init__()
        self._last = -SILENCE_SECONDS
        self._lock = threading.Lock()  # batches are handed over by one thread, and the last of them by another

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        with self._lock:
            if now - self._last < SILENCE_SECONDS:
                return False
            self._last = now
        record.msg, record.args, record.exc_info = "spans cannot be handed over and are dropped", (), None
        return True


def _seldom() -> None:
    seldom = _Seldom()
    for name in (
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
        "opentelemetry.sdk._shared_internal",
        "opentelemetry.sdk.trace.export",
    ):
        chosen = logging.getLogger(name)
        for filter_ in [each for each in chosen.filters if isinstance(each, _Seldom)]:
            chosen.removeFilter(filter_)
        chosen.addFilter(seldom)
