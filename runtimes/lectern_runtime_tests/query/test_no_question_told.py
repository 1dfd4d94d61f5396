"""No word of a question, of a passage or of a key reaches a log line or a span, whatever breaks."""

from __future__ import annotations

from typing import Any

import pytest

from lectern_runtime_tests.query.world import World, calling, query_settings
from lectern_runtime_tests.telemetry.logged import Lines, logged
from lectern_runtime_tests.telemetry.spans import Kept, kept

CANARY, PASSAGE, KEY = "thecanarysings", "thepassagespeaks", "thekeyopens"
QUESTION = f"When is a refund of {CANARY} paid to the card?"
COOKIE, TOKEN = {"cookie": f"session={KEY}"}, {"authorization": f"Bearer {KEY}"}


def nothing_told(lines: Lines, spans: Kept) -> None:
    recorded = " ".join(f"{span.name} {dict(span.attributes or {})} {span.status.description}" for span in spans.all())
    for told in (lines.text(), recorded):
        assert [word for word in (CANARY, PASSAGE, KEY) if word in told] == []


async def asked(world: World, body: dict[str, Any], headers: dict[str, str] = COOKIE) -> tuple[int, Lines, Kept]:
    await world.put("passage.md", f"A refund of {CANARY} {PASSAGE} is paid to the card.")
    with logged() as lines, kept() as spans:
        async with calling(world.app(query_settings(log_level="DEBUG"))) as client:
            response = await client.post("/v1/query", json=body, headers=headers)
    return response.status_code, lines, spans


@pytest.mark.parametrize("stream", [False, True])
async def test_a_question_that_is_answered_leaves_its_ids_alone(world: World, stream: bool) -> None:
    status, lines, spans = await asked(world, {"question": QUESTION, "stream": stream})

    nothing_told(lines, spans)
    (line,) = [each for each in lines.all() if each["message"] == "request"]
    assert (status, line["route"], line["status"], line["characters"]) == (200, "/v1/query", 200, len(QUESTION))
    assert {"request_id", "trace_id", "span_id", "milliseconds"} <= set(line)


@pytest.mark.parametrize("part", ["embedder", "store", "generator"])
async def test_an_error_that_quotes_the_question_is_told_by_its_class(
    world: World, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_arguments: Any, **_named: Any) -> Any:
        raise ValueError(f"{QUESTION} {PASSAGE} {KEY}")

    if part == "generator":
        world.generator.failure = ValueError(f"{QUESTION} {PASSAGE} {KEY}")
    else:
        monkeypatch.setattr(getattr(world, part), {"embedder": "embed", "store": "search"}[part], broken)
    status, lines, spans = await asked(world, {"question": QUESTION})

    nothing_told(lines, spans)
    (line,) = [each for each in lines.all() if each["message"] == "request failed"]
    assert (status, line["level"], line["exception"]) == (500, "ERROR", "ValueError")
    assert any(span.status.status_code.name == "ERROR" for span in spans.all())


@pytest.mark.parametrize("body", [{"question": QUESTION, CANARY: 1}, {"question": [QUESTION]}, {"query": QUESTION}])
async def test_a_body_that_is_refused_is_not_repeated(world: World, body: dict[str, Any]) -> None:
    status, lines, spans = await asked(world, body)

    nothing_told(lines, spans)
    assert status == 422


async def test_a_credential_that_is_refused_is_not_repeated(world: World) -> None:
    status, lines, spans = await asked(world, {"question": QUESTION}, TOKEN)

    nothing_told(lines, spans)
    assert status == 401
