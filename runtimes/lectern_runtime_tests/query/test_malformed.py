"""Every malformed request gets the problem that says what is wrong, and nothing of what was sent comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lectern_runtime.query.problems import Problem
from lectern_runtime_tests.query.world import World, calling

CANARY = "canary-7f3a"
LONG = "x" * 8_001
JSON = {"content-type": "application/json"}


def chat(**changes: Any) -> dict[str, Any]:
    return {"model": "desk", "messages": [{"role": "user", "content": "hello"}], **changes}


BODIES: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/query", {}, "question"),
    ("/v1/query", {"question": ""}, "question"),
    ("/v1/query", {"question": " \n\t"}, "question"),
    ("/v1/query", {"question": LONG}, "question"),
    ("/v1/query", {"question": 5}, "question"),
    ("/v1/query", {"question": None}, "question"),
    ("/v1/query", {"question": [CANARY]}, "question"),
    ("/v1/query", {"question": f"{CANARY}\x00"}, "question"),
    ("/v1/query", {"question": "q", "unknown": CANARY}, "unknown"),
    ("/v1/query", {"question": "q", "tenant": "rival"}, "tenant"),
    ("/v1/query", {"question": "q", "top_k": 0}, "top_k"),
    ("/v1/query", {"question": "q", "top_k": 101}, "top_k"),
    ("/v1/query", {"question": "q", "top_k": "5"}, "top_k"),
    ("/v1/query", {"question": "q", "top_k": 1.5}, "top_k"),
    ("/v1/query", {"question": "q", "top_k": True}, "top_k"),
    ("/v1/query", {"question": "q", "stream": "yes"}, "stream"),
    ("/v1/query", {"question": "q", "filters": [CANARY]}, "filters"),
    ("/v1/query", {"question": "q", "filters": {"product": []}}, "filters.product"),
    ("/v1/query", {"question": "q", "filters": {"product": None}}, "filters.product"),
    ("/v1/query", {"question": "q", "filters": {"product": {"$ne": CANARY}}}, "filters.product"),
    ("/v1/query", {"question": "q", "filters": {"product": [[CANARY]]}}, "filters.product"),
    ("/v1/query", {"question": "q", "filters": {"product": 1.5}}, "filters.product"),
    ("/v1/query", {"question": "q", "filters": {"year": 1 << 60}}, "filters.year"),
    ("/v1/query", {"question": "q", "filters": {"product": "v" * 257}}, "filters.product"),
    ("/v1/query", {"question": "q", "filters": {"product": ["v"] * 33}}, "filters.product"),
    ("/v1/query", {"question": "q", "filters": {f"f{n}": 1 for n in range(17)}}, "filters"),
    ("/v1/retrieve", {"question": "q"}, "query"),
    ("/v1/retrieve", {"query": "q", "stream": True}, "stream"),
    ("/v1/chat/completions", chat(messages=[]), "messages"),
    ("/v1/chat/completions", chat(messages=[{"role": "user", "content": LONG}]), ""),
    ("/v1/chat/completions", chat(messages=[{"role": "assistant", "content": "hi"}]), ""),
    ("/v1/chat/completions", chat(messages=[{"role": "tool", "content": "hi"}]), "messages.0.role"),
    ("/v1/chat/completions", chat(messages=[{"role": "user", "content": "hi"}] * 65), "messages"),
    (
        "/v1/chat/completions",
        chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": CANARY}}]}]),
        "messages.0.content",
    ),
    ("/v1/chat/completions", chat(n=2), "n"),
    ("/v1/chat/completions", chat(tools=[]), "tools"),
    ("/v1/chat/completions", chat(temperature=3), "temperature"),
    ("/v1/chat/completions", chat(lectern={"levels": ["secret"]}), "lectern.levels"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}, "model"),
]


@pytest.mark.parametrize(("path", "body", "field"), BODIES)
async def test_a_body_that_does_not_fit_names_the_field(
    world: World, path: str, body: dict[str, Any], field: str
) -> None:
    async with calling(world.app()) as client:
        response = await client.post(path, json=body)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "body_invalid")
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["errors"][0]["field"].startswith(field)
    assert problem["request_id"] == response.headers["x-request-id"]
    assert CANARY not in response.text
    assert world.embedder.calls == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe{}",
        b'{"question": "q", "top_k": ' + b"9" * 5000 + b"}",
        b"[" * 30_000,
        b'{"a":' * 10_000,
    ],
)
async def test_what_is_not_json_is_refused(world: World, content: bytes) -> None:
    async with calling(world.app()) as client:
        response = await client.post("/v1/query", content=content, headers=JSON)
    assert response.status_code in (400, 422)
    assert response.json()["code"] in ("body_not_json", "body_invalid")


@pytest.mark.parametrize("content", [b'{"question": "\\ud800"}', b'{"question": NaN}', b'["question"]', b'"question"'])
async def test_json_that_no_question_can_be_is_refused(world: World, content: bytes) -> None:
    async with calling(world.app()) as client:
        response = await client.post("/v1/query", content=content, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (422, "body_invalid")


async def test_a_form_post_from_another_site_is_no_question(world: World) -> None:
    async with calling(world.app()) as client:
        response = await client.post("/v1/query", content=b'{"question": "q"}', headers={"content-type": "text/plain"})
    assert (response.status_code, response.json()["code"]) == (422, "body_invalid")
    assert world.embedder.calls == []


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_above_64_kib_is_refused(world: World, *, declared: bool) -> None:
    content = json.dumps({"question": "x" * 70_000}).encode()

    async def in_parts() -> Any:
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]

    async with calling(world.app()) as client:
        response = await client.post("/v1/query", content=content if declared else in_parts(), headers=JSON)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/query", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/../../etc/passwd", 404, "not_found"),
    ],
)
async def test_unknown_paths_and_methods_are_problems_too(
    world: World, method: str, path: str, status: int, code: str
) -> None:
    async with calling(world.app()) as client:
        response = await client.request(method, path)
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_another_model_is_unknown(world: World) -> None:
    async with calling(world.app()) as client:
        response = await client.post("/v1/chat/completions", json=chat(model="gpt-9"))
    assert (response.status_code, response.json()["code"]) == (404, "model_unknown")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-1.2_3", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("a\tb", False), ("<i>", False)],
)
async def test_request_ids_are_echoed_when_they_are_harmless(world: World, given: str, *, kept: bool) -> None:
    async with calling(world.app()) as client:
        response = await client.get("/livez", headers={"X-Request-ID": given})
    assert (response.headers["x-request-id"] == given) is kept
    assert len(response.headers["x-request-id"]) <= 128


async def test_an_unforeseen_failure_tells_neither_caller_nor_log_its_text(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.generator.failure = RuntimeError(f"{CANARY} of a document")
    async with calling(world.app()) as client:
        response = await client.post("/v1/query", json={"question": "When is a refund paid?"})
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert CANARY not in response.text
    failed = next(record for record in caplog.records if record.message == "request failed")
    assert failed.__dict__["exception"] == "RuntimeError"
    assert CANARY not in str([record.__dict__ for record in caplog.records])


def test_codes_are_unique_and_say_when_to_come_back() -> None:
    kinds = [problem.value for problem in Problem]
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(kind.retry_after for kind in kinds if kind.status in (429, 503))
    assert [problem.name.lower() for problem in Problem] == [kind.code for kind in kinds]
