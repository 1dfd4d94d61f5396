"""Calls of a running Lectern: what comes back, and the sentence for everything that does not."""

from __future__ import annotations

import httpx
import pytest

from lectern_cli.client import Client, RequestRefused
from lectern_contract.errors import DependencyError

URL = "http://lectern.test"


def client(answer: httpx.Response | Exception, seen: list[httpx.Request] | None = None) -> Client:
    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Client(URL, httpx.AsyncClient(transport=httpx.MockTransport(handle)))


async def test_a_question_is_posted_and_the_answer_comes_back_as_it_is() -> None:
    seen: list[httpx.Request] = []
    asked = client(httpx.Response(200, json={"answer": "yes"}), seen)

    assert await asked.ask("Is it?", top_k=3) == {"answer": "yes"}
    assert (seen[0].url.path, seen[0].read()) == ("/v1/query", b'{"question":"Is it?","top_k":3}')


async def test_without_top_k_the_endpoint_decides() -> None:
    seen: list[httpx.Request] = []

    await client(httpx.Response(200, json={}), seen).ask("Is it?")

    assert seen[0].read() == b'{"question":"Is it?"}'


async def test_resources_are_the_items_of_the_list() -> None:
    assert await client(httpx.Response(200, json={"items": [{"kind": "A"}]})).resources() == [{"kind": "A"}]


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (httpx.ConnectError("refused"), f"nothing answers at {URL}; start it with: lectern up"),
        (httpx.ReadTimeout("slow"), f"{URL} did not answer within 60 seconds"),
        (httpx.Response(200, text="<html>"), f"{URL} is not a Lectern: /v1/query did not return JSON; check --url"),
        (httpx.Response(200, json=[1]), f"{URL} is not a Lectern: /v1/query did not return an object; check --url"),
    ],
)
async def test_what_is_no_answer_is_said_with_the_next_step(failure: httpx.Response | Exception, words: str) -> None:
    with pytest.raises(DependencyError) as caught:
        await client(failure).ask("Is it?")

    assert words in str(caught.value)


async def test_resources_of_something_else_are_said() -> None:
    with pytest.raises(DependencyError, match="is not an embedded Lectern: /resources has no items; check --url"):
        await client(httpx.Response(200, json={"hello": 1})).resources()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"detail": "question: too long", "code": "BodyInvalid"}, "question: too long"),
        ({"title": "Not found"}, "Not found"),
        ([], "status 422"),
    ],
)
async def test_a_refusal_keeps_the_servers_words_status_and_code(body: object, words: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        await client(httpx.Response(422, json=body)).ask("Is it?")

    assert words in str(caught.value)
    assert caught.value.status == 422
    assert caught.value.code == (body.get("code", "") if isinstance(body, dict) else "")
