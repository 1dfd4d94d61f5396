"""Spans belong to the trace that was handed in, say no text, and cost nothing where nobody takes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from lectern_contract.errors import DocumentError
from lectern_runtime.telemetry import genai, http_spans, tracing
from lectern_runtime.telemetry.run_spans import RunSpans
from lectern_runtime_tests.telemetry.spans import kept, place

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = "00-11112222333344445555666677778888-1111222233334444-00"
MOST_NANOSECONDS_OFF = 5_000
"""Some thirty times what it takes: the machine may be busy."""
CANARY = "the-canary-sings"


def test_a_span_that_nobody_takes_costs_next_to_nothing() -> None:
    def cost(rounds: int) -> float:
        began = time.process_time()
        for _ in range(rounds):
            with tracing.span("parse"):
                pass
        return (time.process_time() - began) / rounds * 1e9

    assert min(cost(20_000) for _ in range(5)) < MOST_NANOSECONDS_OFF
    assert tracing.span("one") is tracing.span("other")


def test_what_is_begun_inside_is_a_child() -> None:
    with kept() as spans, tracing.span("outer"), tracing.span("inner", {"lectern.bytes": 3}) as inner:
        inner.note({"lectern.hits": 2})

    assert spans.tree() == {"inner": "outer", "outer": None}
    assert dict(spans.one("inner").attributes or {}) == {"lectern.bytes": 3, "lectern.hits": 2}


@pytest.mark.parametrize("given", [None, "", "junk", "00-00000000000000000000000000000000-b7ad6b7169203331-01"])
def test_what_is_no_trace_is_not_continued(given: str | None) -> None:
    with tracing.continued(given):
        assert (tracing.carried(), tracing.headers(), tracing.ids()) == (None, {}, {})


def test_a_trace_is_handed_on_whether_or_not_anything_is_recorded() -> None:
    with tracing.continued(TRACEPARENT, "vendor=1"):
        assert tracing.headers() == {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}
        with kept() as spans, tracing.span("here"):
            carried = tracing.carried()
    assert carried is not None
    assert carried.split("-")[1] == TRACE
    assert carried.split("-")[2] != SPAN
    assert spans.one("here").parent is not None
    assert tracing.carried() is None


def test_an_error_is_told_by_its_class_and_its_reason() -> None:
    with kept() as spans, pytest.raises(DocumentError), tracing.span("parse"):
        raise DocumentError(f"it says {CANARY}", stage="parse", reason="Encrypted")

    span = spans.one("parse")
    assert dict(span.attributes or {}) == {"error.type": "DocumentError", "lectern.reason": "Encrypted"}
    assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())


async def test_what_is_cancelled_is_no_error() -> None:
    async def work() -> None:
        with tracing.span("work"):
            await asyncio.Event().wait()

    with kept() as spans:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))

    assert spans.one("work").status.status_code is StatusCode.UNSET


async def test_a_generator_that_another_task_closes_ends_its_span_and_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def pieces() -> AsyncGenerator[int, None]:
        with tracing.span("generate"):
            yield 1
            yield 2

    with kept() as spans:
        source = pieces()

        async def first() -> int:
            return await anext(source)

        assert await asyncio.create_task(first()) == 1
        await asyncio.create_task(source.aclose())

    assert spans.names() == ["generate"]
    assert caplog.records == []


def test_work_for_many_links_to_each_and_stands_in_the_first_that_is_recorded() -> None:
    with kept() as spans, tracing.of_many("embed", [UNSAMPLED, TRACEPARENT, None, OTHER, TRACEPARENT]):
        pass

    span = spans.one("embed")
    assert f"{place(span).trace_id:032x}" == TRACE
    linked = [f"{each.context.trace_id:032x}" for each in span.links]
    assert linked == [UNSAMPLED.split("-")[1], TRACE, OTHER.split("-")[1]]


def test_work_for_documents_that_nobody_records_is_not_recorded() -> None:
    with kept() as spans, tracing.of_many("embed", [UNSAMPLED]):
        pass
    assert spans.names() == []


def test_work_for_documents_without_a_trace_begins_one() -> None:
    with kept() as spans, tracing.of_many("embed", [None]):
        pass
    assert (spans.one("embed").parent, spans.one("embed").links) == (None, ())


def test_a_caller_who_records_is_recorded_and_others_as_the_sampler_says() -> None:
    with kept(ParentBased(ALWAYS_OFF)) as spans:
        with tracing.span("mine"):
            pass
        with tracing.continued(TRACEPARENT), tracing.span("theirs"):
            pass
    assert spans.names() == ["theirs"]


def test_documents_beyond_the_bound_of_a_trace_have_their_own_linked_with_the_run() -> None:
    documents = RunSpans(most_inside=2)
    with kept() as spans, tracing.span("connector.run"):
        for _ in range(3):
            with documents.document():
                pass

    run = place(spans.one("connector.run"))
    inside = [place(span).trace_id == run.trace_id for span in spans.all() if span.name == "connector.document"]
    last = [span for span in spans.all() if span.name == "connector.document"][-1]
    assert inside == [True, True, False]
    assert [each.context.span_id for each in last.links] == [run.span_id]


def test_a_model_call_is_named_and_described_as_the_conventions_say() -> None:
    with kept() as spans:
        with genai.embeddings("minilm", dimensions=384, texts=2) as span:
            genai.served_by("text-embeddings-inference", address="tei", port=8080)
            span.note(genai.used(input_tokens=17))
        with genai.chat("llama", max_tokens=64) as span:
            span.note(genai.used(input_tokens=9, output_tokens=3, finish_reason="stop"))
        with genai.retrieval("docs", candidates=50), genai.rerank("bge", passages=50):
            pass

    told = {span.name: dict(span.attributes or {}) for span in spans.all()}
    assert {span.kind for span in spans.all()} == {SpanKind.CLIENT}
    assert told == {
        "embeddings minilm": {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.provider.name": "text-embeddings-inference",
            "gen_ai.request.model": "minilm",
            "gen_ai.embeddings.dimension.count": 384,
            "gen_ai.usage.input_tokens": 17,
            "lectern.texts": 2,
            "server.address": "tei",
            "server.port": 8080,
        },
        "chat llama": {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "lectern",
            "gen_ai.request.model": "llama",
            "gen_ai.output.type": "text",
            "gen_ai.request.max_tokens": 64,
            "gen_ai.usage.input_tokens": 9,
            "gen_ai.usage.output_tokens": 3,
            "gen_ai.response.finish_reasons": ("stop",),
        },
        "rerank bge": {
            "gen_ai.operation.name": "rerank",
            "gen_ai.provider.name": "lectern",
            "gen_ai.request.model": "bge",
            "lectern.passages": 50,
        },
        "retrieval docs": {
            "gen_ai.operation.name": "retrieval",
            "gen_ai.provider.name": "lectern",
            "gen_ai.data_source.id": "docs",
            "lectern.candidates": 50,
        },
    }


def test_probes_have_no_span_and_strange_methods_no_name_of_their_own() -> None:
    with kept() as spans:
        for method, path in (("GET", "/readyz"), ("BREW", "/v1/query")):
            scope = {"method": method, "path": path, "headers": [(b"traceparent", TRACEPARENT.encode())]}
            with http_spans.of_request(scope) as traced:
                traced.answered(None, 500)

    span = spans.one("_OTHER")
    assert spans.names() == ["_OTHER"]
    assert f"{place(span).trace_id:032x}" == TRACE
    assert (span.status.status_code, dict(span.attributes or {})["error.type"]) == (StatusCode.ERROR, "500")
