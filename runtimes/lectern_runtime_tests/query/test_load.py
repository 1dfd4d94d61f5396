"""Many at once: nothing mixes, identical questions share one run, a full replica and a late answer say so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lectern_runtime_tests.query.world import World, calling, query_settings

QUESTION = "When is a refund paid to the card?"


async def test_different_questions_at_once_do_not_mix(world: World) -> None:
    words = ["apricot", "bluebell", "cedar", "dandelion", "elder", "foxglove", "gorse", "hawthorn"]
    for word in words:
        await world.put(f"{word}.md", f"The {word} flowers in month {len(word)}. It grows by the river.")
    async with calling(world.app()) as client:
        responses = await asyncio.gather(
            *(
                client.post(
                    "/v1/query",
                    json={"question": f"When flowers the {word}?", "top_k": 1 + number % 3},
                    headers={"X-Request-ID": f"{word}-{number}"},
                )
                for number, word in enumerate(words * 4)
            )
        )
    for number, (word, response) in enumerate(zip(words * 4, responses, strict=True)):
        body = response.json()
        assert body["citations"][0]["uri"] == f"{word}.md"
        assert f"The {word} flowers in month {len(word)}." in body["answer"]
        assert response.headers["x-request-id"] == f"{word}-{number}"


async def test_identical_questions_at_once_are_one_run(world: World) -> None:
    world.embedder.gate.clear()
    async with calling(world.app(query_settings(max_concurrent=100))) as client:
        spellings = [QUESTION, QUESTION.upper(), f"  {QUESTION} "]
        asking = [
            asyncio.create_task(client.post("/v1/query", json={"question": spellings[number % 3]}))
            for number in range(60)
        ]
        async with asyncio.timeout(10):
            while world.registry.get_sample_value("rag_active_requests") != 60:
                await asyncio.sleep(0.005)
        world.embedder.gate.set()
        bodies = [response.json() for response in await asyncio.gather(*asking)]
    assert (len(world.generator.requests), len(world.embedder.calls)) == (1, 1)
    assert {body["answer"] for body in bodies} == {bodies[0]["answer"]}
    assert sorted(body["cache"] for body in bodies) == ["off"] + ["shared"] * 59


async def test_equal_questions_with_other_filters_or_sizes_are_runs_of_their_own(world: World) -> None:
    bodies: list[dict[str, Any]] = [
        {},
        {"top_k": 1},
        {"filters": {"product": "shop"}},
        {"filters": {"product": ["shop"]}},
    ]
    world.embedder.gate.clear()
    async with calling(world.app()) as client:
        asking = [asyncio.create_task(client.post("/v1/query", json={"question": QUESTION, **body})) for body in bodies]
        await asyncio.sleep(0.05)
        world.embedder.gate.set()
        await asyncio.gather(*asking)
    assert len(world.generator.requests) == 3


async def test_bodies_that_are_slow_to_arrive_keep_nobody_out(world: World) -> None:
    arriving = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"question":'
        await arriving.wait()
        yield b'"When is a refund paid?"}'

    async with calling(world.app(query_settings(max_concurrent=1))) as client:
        waiting = asyncio.create_task(client.post("/v1/query", content=slow()))
        await asyncio.sleep(0.05)
        assert (await client.post("/v1/query", json={"question": QUESTION})).status_code == 200
        arriving.set()
        await waiting


async def test_a_full_replica_refuses_at_once_and_says_when_to_return(world: World) -> None:
    world.embedder.gate.clear()
    async with calling(world.app(query_settings(max_concurrent=2))) as client:
        asking = [
            asyncio.create_task(client.post("/v1/query", json={"question": f"{QUESTION} {number}"}))
            for number in range(2)
        ]
        async with asyncio.timeout(10):
            while world.registry.get_sample_value("rag_active_requests") != 2:
                await asyncio.sleep(0.005)
        refused = await client.post("/v1/query", json={"question": QUESTION})
        alive = await client.get("/livez")
        world.embedder.gate.set()
        done = await asyncio.gather(*asking)
        after = await client.post("/v1/query", json={"question": QUESTION})
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "overloaded", "1")
    assert [alive.status_code, *(each.status_code for each in done), after.status_code] == [200] * 4


@pytest.mark.parametrize("path", ["/v1/query", "/v1/retrieve"])
async def test_an_answer_that_is_late_is_a_504(world: World, path: str) -> None:
    world.embedder.gate.clear()
    async with calling(world.app(query_settings(timeout_seconds=1))) as client:
        response = await client.post(path, json={"question" if path == "/v1/query" else "query": QUESTION})
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
    assert world.registry.get_sample_value("rag_errors_total", {"code": "deadline_exceeded"}) == 1
