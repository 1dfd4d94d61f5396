"""What the query port answers while the process opens its adapters, and the handing over to the app after that.

The program's main serves a `Front` from the start: probes, `/metrics` and `/configz` answer at once, every other path
is refused with 503 until `serve` gives it the app.
"""

from __future__ import annotations

import contextlib
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send

from lectern_contract.settings import SETTINGS_VERSION, QuerySettings, config_hash
from lectern_runtime.http import problems
from lectern_runtime.http.problems import RETRY_SECONDS, Refused
from lectern_runtime.opening import Readiness
from lectern_runtime.query.problems import Problem
from lectern_runtime.query.routes.health import Component, Loaded, LoadedKnowledgeBase
from lectern_runtime.query.routes.health import Readiness as Ready


class Front:
    """An ASGI app that answers for another one until that is there; it has no lifespan of its own."""

    def __init__(self, settings: QuerySettings, *, registry: CollectorRegistry, readiness: Readiness) -> None:
        self._loaded = _loaded(settings)
        self._registry = registry
        self._readiness = readiness
        self._app: ASGIApp | None = None

    async def serve(self, app: FastAPI, stack: contextlib.AsyncExitStack) -> None:
        """Start `app`, which ends with `stack`, and let it answer from now on."""
        await stack.enter_async_context(app.router.lifespan_context(app))
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the app do so."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope["path"])(scope, receive, send)

    def _answer(self, path: str) -> Response:
        match path:
            case "/livez":
                return JSONResponse({"status": "ok"})
            case "/readyz":
                opening = Component(name="opening", ready=False, detail=self._readiness.reason)
                body = Ready(ready=False, components=[opening]).model_dump()
                return JSONResponse(body, status_code=503, headers={"Retry-After": str(RETRY_SECONDS)})
            case "/metrics":
                return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
            case "/configz":
                return JSONResponse(self._loaded.model_dump())
            case _:
                starting = Refused(Problem.DEPENDENCY_UNAVAILABLE, "The service is starting; try again shortly.")
                return problems.response(starting, "")


def _loaded(settings: QuerySettings) -> Loaded:
    """What is loaded while nothing is open: no collection is known, and no generator."""
    return Loaded(
        namespace=settings.namespace,
        name=settings.name,
        config_hash=config_hash(settings),
        settings_version=SETTINGS_VERSION,
        version=version("lectern"),
        generator="",
        answer_cache=settings.cache.exact is not None,
        knowledge_bases=[
            LoadedKnowledgeBase(
                name=kb.name,
                alias=kb.alias,
                collection=None,
                embedding_model=kb.embedder.model,
                embedding_revision=kb.embedder.revision,
            )
            for kb in settings.knowledge_bases
        ],
    )


async def _lifespan(receive: Receive, send: Send) -> None:
    """Let the server start and stop; what has a life of its own is the program's."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
