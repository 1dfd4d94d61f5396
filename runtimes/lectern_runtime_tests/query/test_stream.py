"""Streams: order, the problem before and after the first event, and clients that leave or read slowly."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message

from lectern_runtime.errors import StoreError
from lectern_runtime.ports import AnswerPiece, CitedSpan
from lectern_runtime.query.pipeline import REFUSAL
from lectern_runtime_tests.query.world import World, calling, events_of, query_settings

TWO: dict[str, Any] = {"question": "When is a refund paid to the card?", "stream": True}


@pytest.fixture(autouse=True)
def second_piece(world: World) -> None:
    """The answer has a second piece, from the second passage."""
    world.generator.extra = (AnswerPiece(" Parcels too. [2]", (CitedSpan(2, 0, 7),)),)


class Connection:
    """One request spoken in plain ASGI, so that the client can leave or stop reading at any moment."""

    def __init__(self, app: FastAPI, path: str, body: dict[str, Any]) -> None:
        self._body = json.dumps(body).encode()
        self._sent_body = False
        self.leave = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()
        self.received: list[bytes] = []
        self.first = asyncio.Event()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), (b"host", b"lectern")],
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        if not self._sent_body:
            self._sent_body = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.reading.wait()
        if message["type"] == "http.response.body" and message["body"]:
            self.received.append(message["body"])
            self.first.set()


async def test_pieces_come_in_order_and_the_answer_last(world: World) -> None:
    async with calling(world.app()) as client:
        response = await client.post("/v1/query", json=TWO)
        whole = (await client.post("/v1/query", json={**TWO, "stream": False})).json()
    events = events_of(response.text)
    pieces, (name, answer) = events[:-1], events[-1]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["server-timing"].startswith("resolve;dur=")
    assert [kind for kind, _ in pieces] == ["piece"] * 2
    assert (name, "".join(data["text"] for _, data in pieces)) == ("answer", answer["answer"])
    assert [each["number"] for _, data in pieces for each in data["citations"]] == [1, 2]
    assert {**answer, "timings": 0} == {**whole, "timings": 0}


async def test_a_refusal_is_a_stream_of_one_event(world: World) -> None:
    async with calling(world.app()) as client:
        response = await client.post(
            "/v1/query", json={"question": "What is the capital of Australia?", "stream": True}
        )
    ((name, answer),) = events_of(response.text)
    assert (name, answer["refused"], answer["answer"]) == ("answer", True, REFUSAL)


async def test_the_first_piece_does_not_wait_for_the_last(world: World) -> None:
    world.generator.gate.clear()
    app = world.app()
    async with app.router.lifespan_context(app):
        connection = Connection(app, "/v1/query", TWO)
        await asyncio.wait_for(connection.first.wait(), 5)
        assert [name for name, _ in events_of(b"".join(connection.received).decode())] == ["piece"]
        world.generator.gate.set()
        await asyncio.wait_for(connection.task, 5)
    assert [name for name, _ in events_of(b"".join(connection.received).decode())] == ["piece", "piece", "answer"]


async def test_what_fails_before_the_first_piece_has_its_own_status(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: object) -> object:
        raise StoreError("secret place")

    monkeypatch.setattr(world.store, "search", failing)
    async with calling(world.app()) as client:
        response = await client.post("/v1/query", json=TWO)
    assert (response.status_code, response.json()["code"]) == (503, "dependency_unavailable")


@pytest.mark.parametrize("path", ["/v1/query", "/v1/chat/completions"])
async def test_what_fails_midway_ends_the_stream_with_a_problem(world: World, path: str) -> None:
    world.generator.failure = StoreError("secret place")
    chat = {"model": "desk", "stream": True, "messages": [{"role": "user", "content": TWO["question"]}]}
    async with calling(world.app()) as client:
        response = await client.post(path, json=TWO if path == "/v1/query" else chat)
    events = events_of(response.text)
    problem = events[-1][1] if path == "/v1/query" else events[-1][1]["error"]
    assert response.status_code == 200
    assert problem["code"] == "dependency_unavailable"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert "secret place" not in response.text
    assert "[DONE]" not in response.text


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_the_work(world: World, *, stream: bool) -> None:
    world.generator.gate.clear()
    app = world.app()
    async with app.router.lifespan_context(app):
        connection = Connection(app, "/v1/query", {**TWO, "stream": stream})
        async with asyncio.timeout(5):
            while not world.generator.requests:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        connection.leave.set()
        await asyncio.wait_for(world.generator.ended_early.wait(), 0.2)
        await asyncio.wait_for(connection.task, 1)
    assert world.registry.get_sample_value("rag_active_requests") == 0


async def test_work_that_somebody_else_waits_for_goes_on_when_one_leaves(world: World) -> None:
    world.generator.gate.clear()
    app = world.app()
    async with app.router.lifespan_context(app):
        leaver, stayer = Connection(app, "/v1/query", TWO), Connection(app, "/v1/query", TWO)
        await asyncio.wait_for(asyncio.gather(leaver.first.wait(), stayer.first.wait()), 5)
        leaver.leave.set()
        await asyncio.wait_for(leaver.task, 1)
        world.generator.gate.set()
        await asyncio.wait_for(stayer.task, 5)
    events = events_of(b"".join(stayer.received).decode())
    assert (events[-1][0], len(world.generator.requests)) == ("answer", 1)
    assert not world.generator.ended_early.is_set()


async def test_a_reader_that_stops_reading_is_cut_off_at_the_deadline(world: World) -> None:
    app = world.app(query_settings(timeout_seconds=1))
    async with app.router.lifespan_context(app):
        connection = Connection(app, "/v1/query", TWO)
        connection.reading.clear()
        await asyncio.wait_for(connection.task, 4)
    assert connection.received == []
    assert world.registry.get_sample_value("rag_active_requests") == 0


async def test_a_stream_that_is_late_ends_with_the_problem(world: World) -> None:
    world.generator.gate.clear()
    app = world.app(query_settings(timeout_seconds=1))
    async with app.router.lifespan_context(app):
        connection = Connection(app, "/v1/query", TWO)
        await asyncio.wait_for(connection.task, 4)
    events = events_of(b"".join(connection.received).decode())
    assert [name for name, _ in events] == ["piece", "error"]
    assert events[-1][1]["code"] == "deadline_exceeded"
    assert world.generator.ended_early.is_set()
