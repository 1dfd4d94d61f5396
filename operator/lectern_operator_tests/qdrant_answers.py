"""A small HTTP server that answers as a test tells it, in Qdrant's envelope, and notes what it was asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from lectern_contract.collection import Owner
from lectern_operator.clients.qdrant import StoreServer, open_stores
from lectern_operator.facts import Fact
from lectern_operator.facts.vector_store import (
    StoreState,
    Subject,
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
SUBJECT = Subject("team.docs", "TenantAndAccessLevel")
OWNER = Owner("team", "docs", 1, "abc")
NAME = "team.docs.g1"


class Double:
    """Answers by method and path, with what was asked; `changes` are the bodies of what was not a look."""

    def __init__(self, answers: Mapping[str, Any] | None = None) -> None:
        self.answers = {
            "GET /collections": {"collections": []},
            "GET /aliases": {"aliases": []},
            **(answers or {}),
        }
        self.asked: list[str] = []
        self.changes: list[tuple[str, Any]] = []
        self.keys: set[str | None] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer in Qdrant's envelope."""
        what = f"{request.method} {request.path}"
        self.asked.append(what)
        self.keys.add(request.headers.get("api-key"))
        body = await request.text()
        if request.method != "GET":
            self.changes.append((what, json.loads(body) if body else None))
        if what not in self.answers:
            error = {"status": {"error": f"Not found: {what}"}, "time": 0.0}
            return web.json_response(error, status=404)
        result = self.answers[what]
        result = result(json.loads(body)) if callable(result) else result
        if isinstance(result, web.Response):
            return result
        return web.json_response({"result": result, "status": "ok", "time": 0.0})


@asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[str]:
    """Serve `answer` for every request; yields the URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def look(answer: Answer, subject: Subject = SUBJECT) -> tuple[Fact[StoreState], str]:
    """Return what the client finds, and the URL."""
    async with served(answer) as url, open_stores() as stores:
        return await stores.look(StoreServer(url, "sesame"), subject), url
