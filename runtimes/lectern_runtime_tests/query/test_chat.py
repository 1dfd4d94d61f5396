"""The shapes of OpenAI's API."""

from __future__ import annotations

from typing import Any

from lectern_runtime.query.pipeline import REFUSAL
from lectern_runtime_tests.query.conftest import RETURNS, SHIPPING
from lectern_runtime_tests.query.world import World, calling, events_of

QUESTION = "When is a refund paid to the card?"
PASSAGES = len(f"{RETURNS} {SHIPPING}".split())
ANSWER = "A refund is paid to the original card within five working days. [1]"


def asked(content: Any = QUESTION, **more: Any) -> dict[str, Any]:
    return {"model": "desk", "messages": [{"role": "user", "content": content}], **more}


async def test_models_lists_the_endpoint(world: World) -> None:
    async with calling(world.app()) as client:
        body = (await client.get("/v1/models")).json()
    assert body == {
        "object": "list",
        "data": [{"id": "desk", "object": "model", "created": 0, "owned_by": "lectern"}],
    }


async def test_completion_has_openais_fields_and_ours(world: World) -> None:
    async with calling(world.app()) as client:
        body = (await client.post("/v1/chat/completions", json=asked())).json()
    lectern = body.pop("lectern")
    assert (body.pop("id").startswith("chatcmpl-"), body.pop("created") > 0) == (True, True)
    assert body == {
        "object": "chat.completion",
        "model": "desk",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": ANSWER, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 8 + PASSAGES, "completion_tokens": 13, "total_tokens": 21 + PASSAGES},
    }
    assert set(lectern) == {"citations", "refused", "confidence", "degraded", "degradations", "cache", "timings"}
    assert (lectern["refused"], lectern["citations"][0]["uri"]) == (False, "returns.md")


async def test_a_refusal_is_an_ordinary_answer_that_says_so(world: World) -> None:
    async with calling(world.app()) as client:
        body = (await client.post("/v1/chat/completions", json=asked("What is the capital of Australia?"))).json()
    assert body["choices"][0]["message"]["content"] == REFUSAL
    assert (body["choices"][0]["finish_reason"], body["lectern"]["refused"]) == ("stop", True)
    assert body["usage"]["prompt_tokens"] == 6


async def test_stream_has_role_pieces_end_usage_and_done(world: World) -> None:
    body = asked(stream=True, stream_options={"include_usage": True})
    async with calling(world.app()) as client:
        response = await client.post("/v1/chat/completions", json=body)
    chunks = [data for _, data in events_of(response.text)]
    assert chunks[-1] == "[DONE]"
    first, *pieces, end, usage = chunks[:-1]
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in pieces) == ANSWER
    assert (end["choices"][0]["delta"], end["choices"][0]["finish_reason"]) == ({}, "stop")
    assert end["lectern"]["citations"][0]["uri"] == "returns.md"
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 13)
    assert {chunk["object"] for chunk in chunks[:-1]} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks[:-1]}) == 1


async def test_streamed_refusal_carries_its_sentence(world: World) -> None:
    async with calling(world.app()) as client:
        response = await client.post("/v1/chat/completions", json=asked("Capital of Australia?", stream=True))
    chunks = [data for _, data in events_of(response.text)]
    assert chunks[1]["choices"][0]["delta"] == {"content": REFUSAL}
    assert chunks[2]["lectern"]["refused"] is True
    assert chunks[3] == "[DONE]"


async def test_the_last_message_is_the_question_and_parts_are_joined(world: World) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the capital of Australia?"},
        {"role": "assistant", "content": REFUSAL},
        {
            "role": "user",
            "content": [{"type": "text", "text": "When is a refund paid"}, {"type": "text", "text": "to the card?"}],
        },
    ]
    sampling = {"temperature": 0.2, "top_p": 1, "seed": 3, "stop": ["x"], "user": "u", "n": 1, "max_tokens": 64}
    async with calling(world.app()) as client:
        body = (
            await client.post("/v1/chat/completions", json={"model": "desk", "messages": messages, **sampling})
        ).json()
    assert body["choices"][0]["message"]["content"] == ANSWER
    assert [request.max_tokens for request in world.generator.requests] == [64]


async def test_our_options_reach_retrieval(world: World) -> None:
    body = asked(lectern={"top_k": 1, "filters": {"product": "depot"}})
    async with calling(world.app()) as client:
        shown = (await client.post("/v1/chat/completions", json=body)).json()["lectern"]
    assert {each["uri"] for each in shown["citations"]} <= {"shipping.md"}
