"""Spans reach a collector; one that is away, slow or broken costs a bounded time and says nothing to anybody."""

from __future__ import annotations

import builtins
import logging
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from lectern_contract.settings_parts import TracingSettings
from lectern_runtime.telemetry import exporting, tracing
from lectern_runtime_tests.telemetry.collector import collecting

ALL = 1.0
LAST_SECONDS = 0.5
MOST_END_SECONDS = LAST_SECONDS + 4.0
"""The bound and what a busy machine takes for itself."""
MOST_SPAN_SECONDS = 0.9 * exporting.EXPORT_SECONDS
"""Less than one attempt to reach the collector takes."""


def asked_of(url: str, ratio: float = ALL) -> TracingSettings:
    return TracingSettings(endpoint=url, sample_ratio=ratio)


def closed_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


def test_spans_arrive_with_who_they_are_of() -> None:
    about = {"lectern.knowledge_base": "ns/docs"}
    with (
        collecting() as collector,
        exporting.traces("worker", asked_of(collector.url), attributes=about, environment={}),
        tracing.span("outer"),
        tracing.span("inner", {"lectern.bytes": 3}),
    ):
        pass

    inner, outer = collector.one("inner"), collector.one("outer")
    assert (inner.service, inner.parent, inner.trace, inner.attributes) == (
        "lectern-worker",
        outer.span,
        outer.trace,
        {"lectern.bytes": 3},
    )
    assert not tracing.on()


def test_the_standard_environment_names_the_collector_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
        with exporting.traces("query", None), tracing.span("one"):
            pass
        assert collector.one("one").service == "mine"


def test_another_protocol_than_ours_is_said_to_be_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        with exporting.traces("query", None), tracing.span("one"):
            pass

    assert [each.name for each in collector.spans] == ["one"]
    assert [record.getMessage() for record in caplog.records if record.name == "lectern.tracing"] == [
        "spans are sent by http/protobuf: the environment asks for another protocol, which is not spoken"
    ]


@pytest.mark.parametrize(
    ("settings", "environment"),
    [
        (None, {}),
        (asked_of("http://collector:4318"), {"OTEL_SDK_DISABLED": "true"}),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}),
    ],
)
def test_nobody_who_asks_is_nothing_recorded(settings: TracingSettings | None, environment: Mapping[str, str]) -> None:
    with exporting.traces("worker", settings, environment=environment):
        assert not tracing.on()


@pytest.mark.parametrize(("ratio", "recorded"), [(0.0, 0), (1.0, 20)])
def test_the_share_of_the_resource_is_recorded(ratio: float, recorded: int) -> None:
    with collecting() as collector:
        with exporting.traces("worker", asked_of(collector.url, ratio), environment={}):
            for _ in range(20):
                with tracing.span("one"):
                    pass
        assert len(collector.spans) == recorded


def test_the_sampler_of_the_environment_goes_before_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with collecting() as collector:
        with exporting.traces("worker", asked_of(collector.url)), tracing.span("one"):
            pass
        assert collector.spans == []


def test_without_the_extra_a_program_works_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = builtins.__import__

    def lacking(name: str, *arguments: Any) -> Any:
        if name.startswith(("opentelemetry.exporter", "opentelemetry.sdk")):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with exporting.traces("worker", asked_of("http://collector:4318"), environment={}), tracing.span("one"):
        assert not tracing.on()

    assert [record.getMessage() for record in caplog.records] == [
        "spans are not sent: this installation lacks the extra tracing; install lectern[tracing]"
    ]


@pytest.mark.parametrize("trouble", ["away", "slow", "broken"])
def test_a_collector_in_trouble_holds_nobody_up_and_is_told_of_once(
    trouble: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(exporting, "LAST_SECONDS", LAST_SECONDS)
    with collecting() as collector:
        collector.holds, collector.status = trouble == "slow", 503 if trouble == "broken" else 200
        url = closed_port() if trouble == "away" else collector.url
        longest, ended = _spans_into(url, 3 * exporting.QUEUE_SPANS)
    for left in [each for each in threading.enumerate() if each.name == "last-spans"]:
        left.join(30.0)  # what it still has to say belongs to this test

    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert longest < MOST_SPAN_SECONDS
    assert ended < MOST_END_SECONDS
    # of one that is slow nothing is known before the program ends
    assert told == ["spans cannot be handed over and are dropped"] or (trouble == "slow" and told == [])


def _spans_into(url: str, count: int) -> tuple[float, float]:
    """Seconds of the slowest span, and of the end, of a program that records `count` of them."""
    longest = 0.0
    with exporting.traces("worker", asked_of(url), environment={}):
        for _ in range(count):
            began = time.monotonic()
            with tracing.span("one"):
                pass
            longest = max(longest, time.monotonic() - began)
        began = time.monotonic()
    return longest, time.monotonic() - began
