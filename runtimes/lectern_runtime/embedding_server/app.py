"""The embedding server as an ASGI app: routes, who may call them, and how errors are said."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lectern_runtime.embedding_server.engine import Engine, Limits
from lectern_runtime.embedding_server.refusals import Refusal, Unreadable
from lectern_runtime.embedding_server.routes import Routes
from lectern_runtime.embedding_server.service import Service

Handler = Callable[[Request], Awaitable[Response]]
ReadKey = Callable[[], bytes | None]
OPENAI = frozenset({"/embeddings", "/v1/embeddings"})


def create_app(engine: Engine, limits: Limits, *, threads: int, read_key: ReadKey = lambda: None) -> FastAPI:
    """Return the app; its lifespan makes one pass through the model, so that it answers only when it can.

    `read_key` gives the key that clients must show, asked for at each request; None lets everybody in.
    """
    service = Service(engine, limits, threads=threads)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for each in engine.plan([engine.encode("warm-up", special=True)]):
            engine.forward(each.ids)
        service.batcher.start()
        yield
        await service.batcher.close()

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    _add_routes(app, service, read_key)
    app.add_exception_handler(HTTPException, _nothing_there)
    return app


def _add_routes(app: FastAPI, service: Service, read_key: ReadKey) -> None:
    routes = Routes(service)
    everybody: dict[str, Handler] = dict.fromkeys(("/health", "/", "/ping"), routes.health)
    everybody["/metrics"] = routes.metrics
    for path, handler in everybody.items():
        app.add_route(path, _answered(handler, service, path), methods=["GET"])
    app.add_route("/info", _answered(_with_key(routes.info, read_key), service, "/info"), methods=["GET"])
    posted: dict[str, Handler] = {
        "/": routes.embed,
        "/decode": routes.decode,
        "/embed": routes.embed,
        "/embed_all": routes.embed_all,
        "/embed_sparse": routes.embed_sparse,
        "/embeddings": routes.openai,
        "/invocations": routes.embed,
        "/predict": routes.predict,
        "/rerank": routes.rerank,
        "/similarity": routes.similarity,
        "/tokenize": routes.tokenize,
        "/v1/embeddings": routes.openai,
    }
    for path, handler in posted.items():
        app.add_route(path, _answered(_with_key(handler, read_key), service, path), methods=["POST"])


def _with_key(handler: Handler, read_key: ReadKey) -> Handler:
    async def keyed(request: Request) -> Response:
        key = read_key()
        if key is not None:
            shown = request.headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(shown, b"Bearer " + key):
                return Response(status_code=401)
        return await handler(request)

    return keyed


def _answered(handler: Handler, service: Service, path: str) -> Handler:
    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except Unreadable as error:
            return error.response()
        except Refusal as refusal:
            if refusal.cause is not None:
                service.metrics.failures.labels(refusal.cause).inc()
            return refusal.response(openai=path in OPENAI)
        finally:
            service.held.release(request)

    return answered


async def _nothing_there(_: Request, error: Exception) -> Response:
    """No such path or method: TEI answers that without a body."""
    assert isinstance(error, HTTPException)
    return Response(status_code=error.status_code, headers=error.headers)
