"""A question is one trace, from the caller's own span to the words of the answer; it says no text."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from lectern_runtime.query.runtime import Runtime
from lectern_runtime_tests.query.world import World, cached, calling, query_settings
from lectern_runtime_tests.telemetry.spans import Kept, kept, place

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
QUESTION = "When is a refund paid to the card?"


async def heard(app: FastAPI) -> None:
    """Wait until the cache hears which documents change: it keeps nothing before."""
    runtime: Runtime = app.state.runtime
    assert runtime.pipeline.cache is not None
    async with asyncio.timeout(20):
        while not runtime.pipeline.cache.usable:
            await asyncio.sleep(0.005)


def said(span: ReadableSpan) -> str:
    return f"{span.name} {dict(span.attributes or {})} {span.events} {span.status.description}"


def no_text(spans: Kept) -> bool:
    everything = " ".join(map(said, spans.all())).lower()
    return not any(word in everything for word in ("refund", "card", "working"))


async def test_a_question_is_one_trace_below_the_callers_span(world: World) -> None:
    settings = query_settings(cache=cached())
    with kept() as spans:
        async with calling(world.app(settings)) as client:
            response = await client.post("/v1/query", json={"question": QUESTION}, headers={"traceparent": TRACEPARENT})

    request = spans.one("POST /v1/query")
    assert response.status_code == 200
    assert response.headers["traceparent"] == f"00-{TRACE}-{place(request).span_id:016x}-01"
    assert spans.traces() == {TRACE}
    assert spans.tree() == {
        "POST /v1/query": "remote",
        "resolve": "POST /v1/query",
        "cache": "POST /v1/query",
        "embed": "POST /v1/query",
        "embeddings stub": "embed",
        "retrieve": "POST /v1/query",
        "retrieval guides": "retrieve",
        "judge": "POST /v1/query",
        "generate": "POST /v1/query",
        "chat extractive": "generate",
    }
    assert (request.kind, dict(request.attributes or {})["http.response.status_code"]) == (SpanKind.SERVER, 200)
    assert dict(spans.one("retrieval guides").attributes or {})["lectern.hits"] == 2
    assert no_text(spans)


async def test_an_answer_from_the_cache_says_so_and_asks_no_model(world: World) -> None:
    app = world.app(query_settings(cache=cached()))
    async with calling(app) as client:
        await heard(app)
        await client.post("/v1/query", json={"question": QUESTION})
        with kept() as spans:
            answer = (await client.post("/v1/query", json={"question": QUESTION})).json()

    assert answer["cache"] == "exact"
    assert spans.names() == ["resolve", "cache", "POST /v1/query"]
    assert dict(spans.one("cache").attributes or {}) == {"lectern.cache.hit": True, "lectern.cache.tier": "exact"}


async def test_a_streamed_answer_is_one_trace_that_ends_with_the_stream(world: World) -> None:
    with kept() as spans:
        async with calling(world.app()) as client:
            response = await client.post("/v1/query", json={"question": QUESTION, "stream": True})

    assert response.status_code == 200
    assert len(spans.traces()) == 1
    assert spans.names()[-1] == "POST /v1/query"
    assert spans.parent(spans.one("chat extractive")) == "generate"


async def test_a_refused_body_is_a_span_without_its_words(world: World) -> None:
    with kept() as spans:
        async with calling(world.app()) as client:
            response = await client.post("/v1/query", json={"question": QUESTION, "refund_card": 1})

    assert response.status_code == 422
    assert dict(spans.one("POST /v1/query").attributes or {})["http.response.status_code"] == 422
    assert no_text(spans)


async def test_where_nothing_is_recorded_the_callers_trace_is_still_handed_back(world: World) -> None:
    async with calling(world.app()) as client:
        with_trace = await client.post("/v1/query", json={"question": QUESTION}, headers={"traceparent": TRACEPARENT})
        without = await client.post("/v1/query", json={"question": QUESTION})
        junk = await client.post("/v1/query", json={"question": QUESTION}, headers={"traceparent": "00-zz"})

    assert with_trace.headers["traceparent"] == TRACEPARENT
    assert "traceparent" not in without.headers
    assert "traceparent" not in junk.headers
