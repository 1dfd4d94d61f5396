"""Malformed, large, slow and repeated requests get the problem that says what is wrong, and not what they sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import httpx
import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from lectern_runtime.ingest.receiver import app as receiver_app
from lectern_runtime.ingest.receiver import schema
from lectern_runtime.ingest.receiver.app import create_app, most_body_bytes
from lectern_runtime.telemetry.receiver_metrics import ReceiverMetrics
from lectern_runtime_tests.ingest.receiver.world import Serving, World, base64_of, bearer, document

FIELDS = st.sampled_from([*schema.PushedDocument.model_fields, *schema.PushedDocuments.model_fields, "uris"])
CANARY = "canary-7f3a"
BODIES: list[tuple[Any, str]] = [
    ({"text": "x", "media_type": "text/plain"}, "uri"),
    (document(unknown=CANARY), "unknown"),
    (document(tenant="rival"), "tenant"),
    (document(uri=""), "uri"),
    (document(uri="x" * 4097), "uri"),
    (document(uri=f"{CANARY}\n"), "uri"),
    (document(uri=f" {CANARY}"), "uri"),
    (document(uri=f"hr/../{CANARY}"), "uri"),
    (document(uri=5), "uri"),
    (document(title="x" * 513), "title"),
    (document(text=None), ""),
    (document(text=7), "text"),
    (document(content_base64=""), ""),
    (document(text=None, content_base64=f"{CANARY}!"), "content_base64"),
    (document(media_type="x" * 128), "media_type"),
    (document(partition={"tenant": "acme"}), "partition.access_level"),
    (document(partition={"tenant": "acme", "access_level": "public", "more": 1}), "partition.more"),
    (document(metadata={"a": [CANARY]}), "metadata.a"),
    (document(metadata={"a": 1.5}), "metadata.a"),
    (document(metadata={"a": None}), "metadata.a"),
    (document(metadata={"a": "x" * 1025}), "metadata"),
    (document(metadata={"a": 1 << 60}), "metadata"),
    (document(metadata={"no-name": 1}), "metadata"),
    (document(metadata={f"f{number}": 1 for number in range(33)}), "metadata"),
    ({"documents": []}, "documents"),
    ({"documents": [document(f"{number}") for number in range(101)]}, "documents"),
    ({"documents": [document(), document("b", more=1)]}, "documents.1.more"),
    ({"documents": [document()], "more": 1}, "more"),
    ([document()], ""),
    ("text", ""),
]


@pytest.mark.parametrize(("body", "field"), BODIES, ids=range(len(BODIES)))
async def test_a_body_that_does_not_fit_is_refused_with_the_field(world: World, body: Any, field: str) -> None:
    async with world.serving() as serving:
        answer = await serving.http.post("/v1/documents", json=body, headers=bearer(world.key()))
    told = answer.json()
    assert (answer.status_code, told["code"]) == (422, "body_invalid")
    assert any(each["field"].startswith(field) for each in told["errors"]), told
    assert CANARY not in json.dumps([told["detail"], [each["message"] for each in told["errors"]]])
    assert answer.headers["content-type"] == "application/problem+json"
    assert told["request_id"] == answer.headers["x-request-id"]
    assert world.said() == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"uri": NaN}', b'{"uri": "\\ud800"}', b"[" * 5000])
async def test_what_is_not_json_is_refused(world: World, body: bytes) -> None:
    async with world.serving() as serving:
        answer = await serving.http.post("/v1/documents", content=body, headers=bearer(world.key()))
    assert (answer.status_code, answer.json()["code"]) == (400, "body_not_json")


async def test_unknown_paths_methods_and_parameters_are_problems(world: World) -> None:
    async with world.serving() as serving:
        head = bearer(world.key())
        answers = [
            await serving.http.get("/v1/nothing", headers=head),
            await serving.http.patch("/v1/documents", headers=head),
            await serving.http.get("/v1/documents", params={"more": "1"}, headers=head),
            await serving.http.get("/v1/documents", params={"limit": "0"}, headers=head),
            await serving.http.delete("/v1/documents", headers=head),
            await serving.http.delete("/v1/documents", params={"uri": "a/../b"}, headers=head),
            await serving.http.post("/v1/documents/delete", json={"uris": ["a", "./b"]}, headers=head),
        ]
    assert [(each.status_code, each.json()["code"]) for each in answers] == [
        (404, "not_found"),
        (405, "method_not_allowed"),
        *[(422, "body_invalid")] * 5,
    ]


async def test_a_request_of_which_nothing_is_taken_is_refused_with_every_reason(world: World) -> None:
    async with world.serving() as serving:
        sent = (document("a.md", media_type="image/png"), document("b.md", text="x" * 10_001))
        key = world.key()
        answer = await serving.put(*sent, key=key)
        long = await serving.put(document("é" * 4000), key=key)
    told = answer.json()
    assert (answer.status_code, told["code"]) == (422, "documents_rejected")
    assert [each["field"] for each in told["errors"]] == ["documents.0", "documents.1"]
    assert [each["message"].partition(":")[0] for each in told["errors"]] == ["media_type_not_accepted", "too_large"]
    assert long.json()["errors"][0]["message"].startswith("message_invalid")


async def test_a_body_has_room_for_what_the_source_takes_and_no_more(world: World) -> None:
    assert most_body_bytes(50 * 1024 * 1024) == receiver_app.MOST_BODY_BYTES
    limit = most_body_bytes(10)
    async with world.serving(max_document_bytes=10) as serving:
        key = world.key()
        answer = await serving.http.post("/v1/documents", content=b" " * (limit + 1), headers=bearer(key))
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        documents = [document(f"{number}", text=None, content_base64=base64_of(b"x" * 10)) for number in range(100)]
        assert (await serving.put(*documents, key=key)).json()["accepted"] == 100


async def test_a_ninth_request_at_once_is_told_to_come_back(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        world.log.gate.clear()
        going = [asyncio.create_task(serving.put(document(f"{number}"), key=key)) for number in range(8)]
        async with asyncio.timeout(10):
            while "lectern_receiver_active_requests 8.0" not in (await serving.http.get("/metrics")).text:
                await asyncio.sleep(0.005)
        ninth = await serving.put(document("9"), key=key)
        world.log.gate.set()
        codes = {(await each).status_code for each in going}
    assert (ninth.status_code, ninth.json()["code"], ninth.headers["retry-after"]) == (429, "overloaded", "1")
    assert codes == {202}


async def test_bodies_that_are_too_much_together_are_told_to_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_app, "ROOM_BYTES", 20_000)
    async with world.serving() as serving:
        app, head, going = create_app_again(serving), bearer(world.key()), asyncio.Event()
        held = asyncio.Event()

        async def waiting() -> Any:
            yield b" " * 15_000
            held.set()
            await going.wait()
            yield json.dumps(document()).encode()

        first = asyncio.create_task(app.post("/v1/documents", content=waiting(), headers=head))
        async with asyncio.timeout(10):
            await held.wait()
        answer = await app.post("/v1/documents", content=b" " * 15_000, headers=head)
        going.set()
        assert (answer.json()["code"], (await first).status_code) == ("overloaded", 202)
        assert (await app.post("/v1/documents", content=b" " * 19_000, headers=head)).status_code == 400


async def test_a_body_that_dawdles_is_cut_off_and_leaves_its_place(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_app, "BODY_SECONDS", 0.05)
    never = asyncio.Event()

    async def dawdling() -> Any:
        yield b"{"
        await never.wait()

    async with world.serving() as serving:
        app, head = create_app_again(serving), bearer(world.key())
        answer = await app.post("/v1/documents", content=dawdling(), headers=head)
        assert (answer.status_code, answer.json()["code"]) == (408, "body_too_slow")
        assert (await app.get("/v1/documents", headers=head)).status_code == 200


def create_app_again(serving: Serving) -> httpx.AsyncClient:
    """A second app of the same reception, made under changed bounds."""
    serving.reception.metrics = ReceiverMetrics(CollectorRegistry())
    transport = httpx.ASGITransport(app=create_app(serving.reception))
    return httpx.AsyncClient(transport=transport, base_url="http://receiver")


async def test_the_same_key_gets_the_same_answer_and_does_nothing_twice(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        first = await serving.put(document(), key=key, idempotency_key="once")
        await serving.delete("a.md", key=key)
        second = await serving.put(document(), key=key, idempotency_key="once")
        other = await serving.put(document(text="other"), key=key, idempotency_key="once")
        bad = await serving.put(document(), key=key, idempotency_key="two words")
        assert await serving.uris(key) == []
    assert (second.status_code, second.content) == (202, first.content)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    assert (bad.status_code, bad.json()["code"]) == (400, "idempotency_key_invalid")


async def test_a_key_of_a_request_that_failed_or_goes_on_is_not_used_up(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        world.log.before = ".documents"
        assert (await serving.put(document(), key=key, idempotency_key="k")).status_code == 503
        world.log.before = None
        world.log.gate.clear()
        going = asyncio.create_task(serving.put(document(), key=key, idempotency_key="k"))
        async with asyncio.timeout(10):
            while not serving.reception.answers._going_on:
                await asyncio.sleep(0.005)
        again = await serving.put(document(), key=key, idempotency_key="k")
        world.log.gate.set()
        assert (again.status_code, again.json()["code"]) == (409, "idempotency_key_in_use")
        assert (await going).status_code == 202


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(FIELDS | st.text(max_size=8), inside, max_size=6),
    max_leaves=15,
)


@given(ANY_JSON)
def test_no_json_does_anything_but_fit_or_be_refused_with_fields(value: Any) -> None:
    for read in (schema.pushed, schema.deleted):
        with contextlib.suppress(RequestValidationError):
            read(json.dumps(value).encode())


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_fit_or_be_refused(body: bytes) -> None:
    with contextlib.suppress(RequestValidationError):
        schema.pushed(body)
