"""The client of Qdrant against small HTTP servers on loopback: what answers mean, several nodes, connections."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from lectern_operator.clients import qdrant
from lectern_operator.clients.qdrant import Stores, StoreServer, open_stores
from lectern_operator.facts import Known, Unknown
from lectern_operator.facts.outside import Denied, Unauthorised
from lectern_operator.facts.vector_store import (
    Rejected,
    StoreState,
    Unreachable,
)
from lectern_operator_tests.qdrant_answers import SUBJECT, Answer, Double, look, served


def refusal(status: int, said: str, **headers: str) -> Answer:
    """Answer everything with one error."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=said, headers=headers)

    return answer


@pytest.mark.parametrize(
    ("status", "said", "kind", "words"),
    [
        (401, "Invalid API key or JWT", Unauthorised, "{url} refuses the API key (Invalid API key or JWT)"),
        (
            403,
            '{"status": {"error": "Forbidden: Global manage access is required"}}',
            Denied,
            "{url} lets us in but gives no right to our collections (Forbidden: Global manage access is required)",
        ),
        (503, "down\n  for repair", Unreachable, "{url} cannot answer now (HTTP 503: down for repair)"),
        (429, "slow down", Unreachable, "{url} cannot answer now (HTTP 429: slow down)"),
        (404, "no such page", Unreachable, "{url} is no Qdrant (HTTP 404): check spec.vectorStore.url"),
        (400, "", Rejected, "{url} refuses: no reason given (HTTP 400)"),
        (200, "<html>", Unreachable, "{url} does not answer as Qdrant 1.19 or newer does (JSONDecodeError)"),
        (200, '{"result": null}', Unreachable, "{url} does not answer as Qdrant 1.19 or newer does (AssertionError)"),
    ],
)
async def test_what_a_refusal_means(status: int, said: str, kind: type[Unknown], words: str) -> None:
    found, url = await look(refusal(status, said))
    assert found == kind(words.format(url=url))


async def test_a_server_that_asks_for_a_pause_is_told_so() -> None:
    found, url = await look(refusal(429, "{}", **{"Retry-After": "30"}))
    assert found == Unreachable(f"{url} asks to be left alone for 30 s")


async def test_long_words_are_cut() -> None:
    found, _ = await look(refusal(500, "x" * 10_000))
    assert isinstance(found, Unreachable)
    assert len(found.reason) < 400


async def test_nobody_there_is_unreachable() -> None:
    async with served(Double().answer) as url:
        closed = url
    async with open_stores() as stores:
        found = await stores.look(StoreServer(closed), SUBJECT)
    assert found == Unreachable(f"{closed} cannot be reached (ConnectError)")


@pytest.mark.parametrize("url", ["http://[::", "http://%:99999999"])
async def test_a_url_that_is_none_is_told(url: str) -> None:
    async with open_stores() as stores:
        assert isinstance(await stores.look(StoreServer(url), SUBJECT), Unreachable)


async def test_a_silent_server_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    silence = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        await silence.wait()
        return web.Response()

    monkeypatch.setattr(qdrant, "LOOK_SECONDS", 0.2)
    async with served(answer) as url, open_stores() as stores:
        found = await stores.look(StoreServer(url), SUBJECT)
        silence.set()
    assert found == Unreachable(f"{url} keeps silent for 0 s")


async def test_a_ca_that_is_no_certificate_is_told_before_anything_is_sent() -> None:
    async with open_stores() as stores:
        found = await stores.look(StoreServer("https://qdrant:6333", ca="no certificate"), SUBJECT)
    assert isinstance(found, Unknown)
    assert found.reason.startswith("spec.vectorStore.caSecretRef holds no PEM certificate")


def test_the_key_is_in_no_text() -> None:
    assert "sesame" not in repr(StoreServer("http://qdrant", "sesame", "pem")) + repr(Stores())


async def test_the_key_is_sent_and_connections_of_few_servers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant, "MOST_KEPT", 2)
    double = Double()
    async with served(double.answer) as url, open_stores() as stores:
        for number in range(5):
            assert await stores.look(StoreServer(url, f"key-{number}"), SUBJECT) == Known(StoreState())
        assert len(stores._open) == 2
    assert double.keys == {f"key-{number}" for number in range(5)}
