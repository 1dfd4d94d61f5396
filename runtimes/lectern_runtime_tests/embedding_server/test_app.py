"""The embedding server as an app: what it answers when the model fails, is full, or is asked nonsense."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_runtime.embedding_server import bodies
from lectern_runtime.embedding_server.app import create_app
from lectern_runtime.embedding_server.engine import Limits
from lectern_runtime.embedding_server.refusals import Unreadable
from lectern_runtime_tests.contracts.tei_contract import counters
from lectern_runtime_tests.embedding_server.model import WordModel, memory_ran_out

PATIENCE = 20.0
LIMITS = Limits(max_concurrent_requests=2, max_client_batch_size=3, max_batch_tokens=8, payload_limit=300)


@pytest.fixture
def model() -> WordModel:
    return WordModel()


@pytest.fixture
async def client(model: WordModel) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(model, LIMITS, threads=1)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://embedder") as opened,
    ):
        yield opened
        model.free.set()


async def metric(client: httpx.AsyncClient, name: str) -> float:
    return counters((await client.get("/metrics")).text).get(name, 0)


async def test_a_fault_of_the_model_is_no_fault_of_the_input(client: httpx.AsyncClient, model: WordModel) -> None:
    model.fault = memory_ran_out()
    answer = await client.post("/embed", json={"inputs": "secret words"})
    assert (answer.status_code, answer.json()) == (
        424,
        {"error": "Backend error: acme/words could not run; free memory", "error_type": "Backend"},
    )
    spoken = await client.post("/v1/embeddings", json={"input": "secret words"})
    assert spoken.json() == {"message": answer.json()["error"], "code": 424, "type": "Backend"}
    assert await metric(client, 'te_request_failure{err="inference"}') == 2


async def test_it_is_unwell_until_the_model_works_again(client: httpx.AsyncClient, model: WordModel) -> None:
    assert (await client.get("/health")).status_code == 200
    model.fault = memory_ran_out()
    await client.post("/embed", json={"inputs": "a"})
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()) == (503, {"error": "unhealthy", "error_type": "Unhealthy"})
    model.fault = None
    assert (await client.get("/health")).status_code == 200


async def test_beyond_so_many_inputs_it_asks_to_come_again(client: httpx.AsyncClient, model: WordModel) -> None:
    model.free.clear()
    waiting = asyncio.create_task(client.post("/embed", json={"inputs": ["a", "b", "c"]}))
    async with asyncio.timeout(PATIENCE):
        while await metric(client, "te_embed_count") < 3:
            await asyncio.sleep(0.005)
    answer = await client.post("/embed", json={"inputs": "d"})
    assert (answer.status_code, answer.json()) == (
        429,
        {"error": "Model is overloaded", "error_type": "Overloaded"},
    )
    assert int(answer.headers["retry-after"]) >= 1
    assert await metric(client, 'te_request_failure{err="overloaded"}') == 1
    model.free.set()
    assert (await waiting).status_code == 200
    assert (await client.post("/embed", json={"inputs": "d"})).status_code == 200


async def test_the_bodies_of_all_requests_together_have_a_limit(model: WordModel) -> None:
    app = create_app(model, Limits(payload_limit=300), threads=1)
    body = {"inputs": "a", "filler": "x" * 260}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://embedder") as client,
    ):
        for done in (0, 33):
            model.free.clear()
            asked = [asyncio.create_task(client.post("/embed", json=body)) for _ in range(40)]
            async with asyncio.timeout(PATIENCE):
                while await metric(client, "te_embed_count") - done + sum(task.done() for task in asked) < 40:
                    await asyncio.sleep(0.005)
            model.free.set()
            statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
            assert (statuses.count(200), statuses.count(429)) == (33, 7)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/embed", {"inputs": "a", "normalize": False}, 424, "`normalize` false is not available"),
        ("/embed_all", {"inputs": "a"}, 424, "`embed_all` is not available"),
        ("/embed_sparse", {"inputs": "a"}, 424, "Model is not an embedding model with SPLADE pooling"),
        ("/rerank", {"query": "a", "texts": ["b"] * 4}, 422, "batch size 4 > maximum allowed batch size 3"),
        ("/rerank", {"query": "a", "texts": []}, 400, "`texts` cannot be empty"),
        ("/decode", {"ids": []}, 400, "`input_ids` cannot be empty"),
        ("/embed", {"inputs": "a b c d e f g"}, 422, "`inputs` must have less than 8 tokens. Given: 9"),
        ("/v1/embeddings", {"input": "a b c d e f g"}, 422, "`inputs` must have less than 8 tokens. Given: 9"),
    ],
)
async def test_what_cannot_be_done_is_refused(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, words: str
) -> None:
    answer = await client.post(path, json=body)
    assert answer.status_code == status
    assert words in answer.text


async def test_a_text_is_cut_only_where_the_request_or_the_server_says(model: WordModel) -> None:
    app = create_app(model, Limits(auto_truncate=True), threads=1)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://embedder") as client,
    ):
        long = {"inputs": "a b c d e f g"}
        assert [
            (await client.post("/embed", json=body)).status_code
            for body in (long, {**long, "truncate": None}, {**long, "truncate": False})
        ] == [200, 200, 422]


async def test_a_body_of_parts_is_measured_as_one(client: httpx.AsyncClient) -> None:
    async def parts(count: int) -> AsyncIterator[bytes]:
        yield b'{"inputs": "a", "filler": "'
        for _ in range(count):
            yield b"x" * 10
        yield b'"}'

    headers = {"content-type": "application/json; charset=utf-8"}
    answers = [await client.post("/embed", content=parts(count), headers=headers) for count in (5, 50, 5_000)]
    assert [answer.status_code for answer in answers] == [200, 413, 413]


async def test_a_deep_body_is_refused(client: httpx.AsyncClient) -> None:
    app = create_app(WordModel(), Limits(), threads=1)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://embedder") as other:
        deep = b'{"inputs": ' + b"[" * 500_000
        answer = await other.post("/embed", content=deep, headers={"content-type": "application/json"})
    assert answer.status_code == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**33) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["inputs", "truncate", "truncation_direction", "prompt_name", "normalize", "parameters"]


@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_a_request_is_read_or_refused(body: dict[str, Any]) -> None:
    for read in (bodies.embedding, bodies.similarity):
        with contextlib.suppress(Unreadable):  # any other error would be an answer 500
            asked = read(body)
            assert all(isinstance(each, str) or bodies.is_ids(each) for each in asked.inputs.items)
