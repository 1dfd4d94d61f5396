"""The clients of model servers, pods and users' Secrets, against small real HTTP servers on loopback."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from lectern_contract.errors import DependencyError
from lectern_operator.clients.contents import KEPT_SECONDS, Contents
from lectern_operator.clients.embedder import EmbedderServer, open_embedders
from lectern_operator.clients.errors import NotFound, Refused
from lectern_operator.clients.runtime import open_runtimes
from lectern_operator.facts import Known, Unknown
from lectern_operator.facts.outside import Content, Denied, EmbedderFacts, Loaded, Unauthorised

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[int]:
    """Serve `answer` for every request; yields the port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def tei(dimensions: int, *, key: str | None = None) -> Answer:
    """Answer as TEI does."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if key is not None and request.headers.get("Authorization") != f"Bearer {key}":
            return web.Response(status=401)
        if request.path == "/info":
            return web.json_response({"max_input_length": 512, "max_client_batch_size": 32, "model_id": "m"})
        assert (request.path, await request.json()) == ("/embed", {"inputs": ["dimensions"]})
        return web.json_response([[0.5] * dimensions])

    return answer


async def look(port: int, protocol: Any = "TEI", key: str | None = None, path: str = "") -> object:
    """Return what the client finds at `port`."""
    async with open_embedders() as embedders:
        return await embedders.look(EmbedderServer(f"http://127.0.0.1:{port}{path}", protocol, "m", key))


async def test_tei_is_measured_and_asked() -> None:
    async with server(tei(384)) as port:
        assert await look(port) == Known(EmbedderFacts(384, 512, 32))


async def test_a_refused_key_is_told_from_other_failures() -> None:
    async with server(tei(384, key="right")) as port:
        found = await look(port, key="wrong")
        assert isinstance(found, Unauthorised)
        assert "wrong" not in repr(found)
        assert isinstance(await look(port, key="right"), Known)


@pytest.mark.parametrize("path", ["", "/v1"])
async def test_openai_tells_the_longest_input_where_the_server_does(path: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/models":
            return web.json_response({"data": [{"id": "m", "max_model_len": 8192}]})
        assert request.path == "/v1/embeddings"
        return web.json_response({"data": [{"embedding": [0.1, 0.2]}]})

    async with server(answer) as port:
        assert await look(port, "OpenAI", path=path) == Known(EmbedderFacts(2, 8192, None))


async def test_openai_without_a_list_of_models_is_measured_all_the_same() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/embeddings":
            return web.json_response({"data": [{"embedding": [0.1]}]})
        return web.Response(status=404)

    async with server(answer) as port:
        assert await look(port, "OpenAI") == Known(EmbedderFacts(1, None, None))


@pytest.mark.parametrize("body", ["[]", "[[]]", "{}", "no json", '[["a"]]'])
async def test_garbage_is_unknown(body: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/info":
            return web.json_response({"max_input_length": 512, "max_client_batch_size": 32})
        return web.Response(text=body, content_type="application/json")

    async with server(answer) as port:
        assert await look(port) == Unknown(f"http://127.0.0.1:{port} does not speak the protocol TEI")


async def test_nobody_there_is_unknown() -> None:
    async with server(tei(1)) as port:
        closed = port
    assert await look(closed) == Unknown(f"http://127.0.0.1:{closed} does not answer (ConnectError)")


def pod(*, restarts: int = 0, address: str | None = "127.0.0.1", running: bool = True) -> dict[str, Any]:
    """Return a pod as the API server tells of it."""
    state: dict[str, Any] = {"running": {}} if running else {"waiting": {}}
    container = {"name": "worker", "state": state, "restartCount": restarts, "containerID": f"c{restarts}"}
    return {"metadata": {"uid": "u"}, "status": {"podIP": address, "containerStatuses": [container]}}


async def test_a_container_is_asked_until_it_has_answered_once() -> None:
    asked = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        if asked == 1:
            return web.Response(status=503)
        return web.json_response({"config_hash": f"h{asked}", "settings_version": "1"})

    async with server(answer) as port, open_runtimes(port=port) as runtimes:
        assert await runtimes.loaded(pod()) == Unknown("/configz does not answer (HTTPStatusError)")
        assert await runtimes.loaded(pod()) == Known(Loaded("h2", 1))
        assert await runtimes.loaded(pod()) == Known(Loaded("h2", 1))
        assert await runtimes.loaded(pod(restarts=1)) == Known(Loaded("h3", 1))
    assert asked == 3


async def test_a_pod_that_has_not_started_is_not_asked() -> None:
    async with open_runtimes(port=1) as runtimes:
        assert await runtimes.loaded(pod(running=False)) == Unknown("its container has not started")
        assert await runtimes.loaded(pod(address=None)) == Unknown("its container has not started")


class Reads:
    """Answers of the API server, counted."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked = 0

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """Return or raise the answer."""
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return dict(self.answer)


SECRET = {"kind": "Secret", "data": {"key": base64.b64encode(b"value\n").decode()}}


async def test_a_secret_is_decoded_and_kept_for_a_short_while() -> None:
    now = 0.0
    reads = Reads(SECRET)
    contents = Contents(reads, lambda: now)
    found = await contents.read("Secret", "team", "a")
    assert isinstance(found, Known)
    assert isinstance(found.value, Content)
    assert found.value.text("key") == "value"
    await contents.read("Secret", "team", "a")
    assert reads.asked == 1
    now = KEPT_SECONDS + 0.1
    reads.answer = NotFound("gone")
    assert await contents.read("Secret", "team", "a") == Known(None)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(Refused("forbidden", status=403), Denied), (DependencyError("away", dependency="kubernetes"), Unknown)],
)
async def test_what_cannot_be_read_says_why(error: Exception, kind: type) -> None:
    found = await Contents(Reads(error), lambda: 0.0).read("Secret", "team", "a")
    assert type(found) is kind


async def test_a_config_map_has_text_and_binary_values() -> None:
    body = {"kind": "ConfigMap", "data": {"a": "text"}, "binaryData": {"b": base64.b64encode(b"\xff").decode()}}
    found = await Contents(Reads(body), lambda: 0.0).read("ConfigMap", "team", "a")
    assert found == Known(Content({"a": b"text", "b": b"\xff"}))
    assert isinstance(found, Known)
    assert found.value is not None
    assert found.value.text("b") is None
    assert json.dumps(repr(found)) == '"Known(value=Content(a, b))"'
