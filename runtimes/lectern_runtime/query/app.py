"""The query API as an app made of values: `create_app(settings, services)`.

Called by this program's main and by the embedded mode. Opens nothing: adapters come in `services` and belong to the
caller; the app's own background task lives from startup to shutdown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from lectern_contract.settings import QuerySettings
from lectern_runtime.query import problems
from lectern_runtime.query.border import Border
from lectern_runtime.query.limits import Concurrency
from lectern_runtime.query.pipeline import Pipeline
from lectern_runtime.query.problems import FieldFault, Problem, ProblemBody, Refused
from lectern_runtime.query.routes import chat, health, page, query, retrieve
from lectern_runtime.query.runtime import Runtime, request_id_of
from lectern_runtime.query.services import Services
from lectern_runtime.telemetry.query_metrics import QueryMetrics

TITLE = "Lectern query API"
_ROUTERS = (chat.router, health.router, page.router, query.router, retrieve.router)
_MOST_FAULTS = 10


def create_app(settings: QuerySettings, services: Services) -> FastAPI:
    """The app of one endpoint. Raises `ConfigurationError` for settings that cannot work together."""
    metrics = QueryMetrics(services.registry)
    metrics.loaded(endpoint=settings.name, config_hash=services.config_hash, version=services.version)
    pipeline = Pipeline(settings, services, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        listening = asyncio.create_task(pipeline.cache.listen()) if pipeline.cache is not None else None
        try:
            yield
        finally:
            if listening is not None:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    app = _bare(services.version, lifespan=lifespan)
    app.state.runtime = Runtime(settings, services, metrics, pipeline)
    app.add_middleware(Border, services=services, metrics=metrics, concurrency=Concurrency(settings.max_concurrent))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _no_route)
    return app


def openapi_document() -> dict[str, Any]:
    """The API's description, as `/openapi.json` gives it and `docs/reference/openapi.json` holds it."""
    return _bare("0").openapi() | {}


def _bare(version: str, lifespan: Any = None) -> FastAPI:
    """Routes and description without anything behind them."""
    app = FastAPI(
        title=TITLE,
        version=version,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # FastAPI's own telemetry would record exceptions with their text, which may quote a document.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    for router in _ROUTERS:
        app.include_router(router)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = document["components"]["schemas"]
    problem = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas[problem["title"]] = problem
    return document


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """A body that is not JSON or does not fit: which fields, and never what stood in them."""
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return _refuse(request, Refused(Problem.BODY_NOT_JSON, "The body could not be read as JSON."))
    fields = [
        FieldFault(field=".".join(str(part) for part in fault["loc"] if part != "body")[:200], message=_message(fault))
        for fault in faults[:_MOST_FAULTS]
    ]
    first = f"{fields[0].field or 'body'}: {fields[0].message}"
    return _refuse(request, Refused(Problem.BODY_INVALID, first, faults=fields))


def _message(fault: dict[str, Any]) -> str:
    return str(fault["msg"]).removeprefix("Value error, ")[:200]


async def _no_route(request: Request, error: Exception) -> JSONResponse:
    """What the framework itself refuses: paths, methods, bodies that cannot be decoded."""
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            refused = Refused(Problem.NOT_FOUND, "There is nothing at this path; see /openapi.json.")
        case 405:
            refused = Refused(
                Problem.METHOD_NOT_ALLOWED, "This path has other methods; see /openapi.json.", headers=error.headers
            )
        case 400:
            refused = Refused(Problem.BODY_NOT_JSON, "The body could not be read as JSON.")
        case _:
            refused = problems.internal()
    return _refuse(request, refused)


def _refuse(request: Request, refused: Refused) -> JSONResponse:
    request.scope["lectern"]["code"] = refused.problem.value.code
    return problems.response(refused, request_id_of(request))
