"""The exact cache: what is kept, for whom, and when it is forgotten. Real log, real events, real cache."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from lectern_contract.messages import Change
from lectern_runtime.errors import LogError
from lectern_runtime.query.runtime import Runtime
from lectern_runtime_tests.query.conftest import RETURNS
from lectern_runtime_tests.query.world import ACME_SECRET, World, anonymous, cached, calling, query_settings

QUESTION = "When is a refund paid to the card?"
CACHED = query_settings(cache=cached())


async def heard(app: FastAPI) -> None:
    """Wait until the events are being read."""
    runtime: Runtime = app.state.runtime
    assert runtime.pipeline.cache is not None
    async with asyncio.timeout(5):
        while not runtime.pipeline.cache.usable:
            await asyncio.sleep(0.005)


async def ask(client: Any, question: str = QUESTION, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = (await client.post("/v1/query", json={"question": question, **more})).json()
    return body


async def test_the_same_question_again_is_answered_from_the_cache(world: World) -> None:
    app = world.app(CACHED)
    async with calling(app) as client:
        await heard(app)
        first, again = await ask(client), await ask(client, f" {QUESTION.lower()}  ")
        streamed = (await client.post("/v1/query", json={"question": QUESTION, "stream": True})).text
    assert (first["cache"], again["cache"]) == ("miss", "exact")
    assert {**again, "cache": 0, "timings": 0} == {**first, "cache": 0, "timings": 0}
    assert set(again["timings"]) == {"resolve", "cache", "total"}
    assert '"cache":"exact"' in streamed
    assert len(world.generator.requests) == 1
    assert world.registry.get_sample_value("rag_cache_hits_total", {"tier": "exact"}) == 2
    assert world.registry.get_sample_value("rag_cache_misses_total") == 1


@pytest.mark.parametrize("change", [Change.UPDATED, Change.DELETED])
async def test_a_document_event_makes_the_answer_go(world: World, change: Change) -> None:
    app = world.app(CACHED)
    async with calling(app) as client:
        await heard(app)
        await ask(client)
        await world.put("returns.md", RETURNS.replace("five", "nine"), version=2)
        await world.tell("returns.md", change)
        async with asyncio.timeout(5):
            while (answer := await ask(client))["cache"] == "exact":
                await asyncio.sleep(0.01)
    assert "within nine working days" in answer["answer"]


async def test_an_event_while_the_answer_is_made_keeps_it_out(world: World) -> None:
    world.generator.gate.clear()
    app = world.app(CACHED)
    async with calling(app) as client:
        await heard(app)
        asking = asyncio.create_task(ask(client))
        async with asyncio.timeout(10):
            while not world.generator.requests:
                await asyncio.sleep(0.005)
        before = await world.cache.mark()
        await world.tell("returns.md", Change.UPDATED)
        async with asyncio.timeout(5):
            while await world.cache.mark() == before:
                await asyncio.sleep(0.005)
        world.generator.gate.set()
        await asking
        assert (await ask(client))["cache"] == "miss"


async def test_who_asks_after_an_event_does_not_share_what_was_found_before(world: World) -> None:
    world.generator.gate.clear()
    app = world.app(CACHED)
    async with calling(app) as client:
        await heard(app)
        asking = [asyncio.create_task(ask(client))]
        async with asyncio.timeout(10):
            while not world.generator.requests:
                await asyncio.sleep(0.005)
            before = await world.cache.mark()
            await world.put("returns.md", RETURNS.replace("five", "nine"), version=2)
            await world.tell("returns.md", Change.UPDATED)
            while await world.cache.mark() == before:
                await asyncio.sleep(0.005)
        asking.append(asyncio.create_task(ask(client)))
        await asyncio.sleep(0.05)
        world.generator.gate.set()
        old, new = await asyncio.gather(*asking)
    assert "five working days" in old["answer"]
    assert "nine working days" in new["answer"]


async def test_other_readers_never_share_an_answer(world: World) -> None:
    await world.put("returns.md", RETURNS.replace("five", "two"), partition=ACME_SECRET)
    for levels, days in ((("public",), "five"), (("secret",), "two"), (("public",), "five")):
        settings = query_settings(cache=cached(), auth=anonymous("acme", *levels))
        app = world.app(settings)
        async with calling(app) as client:
            await heard(app)
            assert f"within {days} working days" in (await ask(client))["answer"]


@pytest.mark.parametrize(
    ("question", "more"),
    [
        ("What is the capital of Australia?", {}),
        ("When is a refund paid to the card? " * 60, {}),
    ],
    ids=["refused", "degraded"],
)
async def test_refused_and_degraded_answers_are_not_kept(world: World, question: str, more: dict[str, Any]) -> None:
    app = world.app(CACHED)
    async with calling(app) as client:
        await heard(app)
        tiers = [(await ask(client, question, **more))["cache"] for _ in range(2)]
    assert tiers == ["miss", "miss"]


async def test_a_new_generation_is_asked_anew(world: World) -> None:
    app = world.app(CACHED)
    async with calling(app) as client:
        await heard(app)
        await ask(client)
        await world.index(generation=2)
        await world.put("returns.md", RETURNS, version=2)
        assert (await ask(client))["cache"] == "miss"


async def test_while_events_are_not_heard_nothing_is_cached_and_old_answers_stay_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = world.app(CACHED)
    async with calling(app) as client:
        await heard(app)
        await ask(client)
        consumers = []
        subscribe = world.log.subscribe

        async def recorded(*args: Any, **kwargs: Any) -> Any:
            consumers.append(await subscribe(*args, **kwargs))
            return consumers[-1]

        monkeypatch.setattr(world.log, "subscribe", recorded)
        runtime: Runtime = app.state.runtime
        assert runtime.pipeline.cache is not None
        before = runtime.pipeline.cache.revision

        async def failing(self: object, **_: Any) -> Any:
            raise LogError("broker gone")

        monkeypatch.setattr("lectern_runtime.adapters.sqlite_log.SqliteConsumer.poll", failing)
        await world.tell("other.md", Change.UPDATED)
        async with asyncio.timeout(5):
            while runtime.pipeline.cache.usable:
                await asyncio.sleep(0.005)
        tiers = [(await ask(client))["cache"] for _ in range(2)]
        ready = (await client.get("/readyz")).json()
        monkeypatch.undo()
        await heard(app)
        assert runtime.pipeline.cache.revision != before
        tiers += [(await ask(client))["cache"] for _ in range(2)]
    assert tiers == ["miss", "miss", "miss", "exact"]
    assert ready["ready"] is True
    assert {each["name"]: each["ready"] for each in ready["components"]}["answer-cache"] is False
