"""The client against a server that misbehaves: pauses, odd answers, streams that end in every way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from lectern_contract.errors import DependencyError
from lectern_operator.clients import kinds, kube
from lectern_operator.clients.errors import Outdated, Refused
from lectern_operator.facts import Known, Unknown

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[kube.Kube]:
    """Answer every request by `answer` and yield a client."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with kube.connect(Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")) as client:
            yield client
    finally:
        await runner.cleanup()


def stream(*parts: bytes, cut: bool = False) -> Answer:
    """Return the answer that sends `parts`, and then ends or is cut."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0.001)
        if cut:
            assert request.transport is not None
            request.transport.abort()
        return response

    return answer


async def told(client: kube.Kube) -> list[tuple[str, dict[str, Any]]]:
    """Watch ScaledObjects until the stream ends."""
    return [each async for each in client.watch("ScaledObject", "team", "7")]


def event(kind: str, body: dict[str, Any]) -> bytes:
    """Return one line of a watch."""
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


async def test_everybody_waits_when_the_server_asks_for_a_pause() -> None:
    asked: list[float] = []
    clock = asyncio.get_running_loop().time

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(clock())
        if len(asked) == 1:
            return web.json_response({"message": "slow down"}, status=429, headers={"Retry-After": "0.2"})
        return web.json_response({"items": []})

    async with server(answer) as client:
        with pytest.raises(DependencyError) as error:
            await client.owners("KnowledgeBase", None)
        assert error.value.retry_after_seconds == 0.2
        await asyncio.gather(*(client.children("Service", "team", "uid") for _ in range(3)))
    assert min(asked[1:]) - asked[0] >= 0.2


async def test_a_long_pause_is_told_at_once_and_nothing_is_sent() -> None:
    requests = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal requests
        requests += 1
        return web.json_response({}, status=503, headers={"Retry-After": "60"})

    async with server(answer) as client:
        for _ in range(3):
            with pytest.raises(DependencyError) as error:
                await client.get("Service", "team", "s")
            assert 55 < (error.value.retry_after_seconds or 0) <= 60
    assert requests == 1


async def test_events_are_read_whatever_the_parts_they_come_in() -> None:
    long = {"metadata": {"resourceVersion": "9", "annotations": {"a": "x" * 300_000}}}
    lines = event("ADDED", {"metadata": {"resourceVersion": "8"}}) + event("MODIFIED", long)
    parts = [lines[at : at + 70_001] for at in range(0, len(lines), 70_001)]
    async with server(stream(*parts)) as client:
        found = await told(client)
    head = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"}
    assert found == [
        ("ADDED", {**head, "metadata": {"resourceVersion": "8"}}),
        ("MODIFIED", {**head, **long}),
    ]


@pytest.mark.parametrize(("code", "error"), [(410, Outdated), (500, DependencyError), (403, Refused)])
async def test_an_error_in_the_stream_is_an_error(code: int, error: type[Exception]) -> None:
    async with server(stream(event("ERROR", {"code": code, "message": "m"}))) as client:
        with pytest.raises(error):
            await told(client)


async def test_a_stream_that_is_cut_is_an_error_and_one_that_ends_is_none() -> None:
    first = event("ADDED", {"metadata": {"resourceVersion": "8"}})
    async with server(stream(first)) as client:
        assert len(await told(client)) == 1
    async with server(stream(first, cut=True)) as client:
        with pytest.raises(DependencyError, match="gave no answer"):
            await told(client)


async def test_a_silent_stream_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "SILENCE_SECONDS", 0.05)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(5)
        return response

    async with server(answer) as client, asyncio.timeout(2):
        with pytest.raises(DependencyError):
            await told(client)


async def test_a_watch_asks_for_bookmarks_and_for_what_may_be_ours() -> None:
    asked: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(dict(request.query))
        return web.Response(text="")

    async with server(answer) as client:
        await told(client)
    assert asked == [
        {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": "7",
            "labelSelector": "lectern.dev/owner-uid",
            "timeoutSeconds": "290",
        }
    ]


async def test_kinds_are_found_on_a_server_without_aggregated_discovery() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/apis":
            versions = [{"groupVersion": "keda.sh/v1alpha1"}, {"groupVersion": "example.com/v1"}]
            return web.json_response({"kind": "APIGroupList", "groups": [{"versions": versions}]})
        assert request.path == "/apis/keda.sh/v1alpha1"
        return web.json_response({"resources": [{"name": "scaledobjects"}, {"name": "scaledobjects/status"}]})

    async with server(answer) as client:
        found = await client.served_kinds()
        core = {kind.name for kind in kinds.ALL.values() if kind.api_version == "v1"}
        assert found == {"ScaledObject", *core}
        assert await client.served("TriggerAuthentication") == Known(value=False)


async def test_discovery_that_fails_leaves_it_unknown() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"message": "no"}, status=500)

    async with server(answer) as client:
        assert isinstance(await client.served("ScaledObject"), Unknown)


async def test_a_list_without_items_is_empty() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"items": None, "metadata": {"resourceVersion": "5"}})

    async with server(answer) as client:
        assert [page async for page in client.pages("Service", None, heads=True)] == [kube.Page((), "5")]


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "api.example"}, None),
    ],
)
async def test_the_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], proxy: str | None
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [context],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example:6443"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(body))
    assert (await kube.load(tmp_path / "kubeconfig")).proxy == proxy
