"""The query API as an app made of values: `create_app(settings, services)`.

Called by this program's main and by the embedded mode. Opens nothing: adapters come in `services` and belong to the
caller; the app's own background task lives from startup to shutdown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import Scope

from lectern_contract.errors import ConfigurationError
from lectern_contract.settings import QuerySettings
from lectern_runtime.http import faults
from lectern_runtime.http.border import Border, Rules, Surroundings
from lectern_runtime.http.limits import Concurrency
from lectern_runtime.query.pipeline import Pipeline
from lectern_runtime.query.principals import Callers, NotLetIn
from lectern_runtime.query.problems import Problem
from lectern_runtime.query.routes import chat, health, page, query, retrieve
from lectern_runtime.query.runtime import Runtime
from lectern_runtime.query.schema import MAX_BODY_BYTES
from lectern_runtime.query.services import Services
from lectern_runtime.query.tokens import Tokens
from lectern_runtime.telemetry.query_metrics import QueryMetrics

TITLE = "Lectern query API"
_ROUTERS = (chat.router, health.router, page.router, query.router, retrieve.router)
_BODY_SECONDS = 10.0
_access = logging.getLogger("lectern_runtime.query.access")


def create_app(settings: QuerySettings, services: Services) -> FastAPI:
    """The app of one endpoint. Raises `ConfigurationError` for settings that cannot work together."""
    metrics = QueryMetrics(services.registry)
    metrics.loaded(endpoint=settings.name, config_hash=services.config_hash, version=services.version)
    pipeline = Pipeline(settings, services, metrics)
    callers = _callers(settings, services)

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

    async def admit(scope: Scope) -> None:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        try:
            scope["state"]["caller"] = await callers.authenticate(headers)
        except NotLetIn as refused:
            scope["lectern"]["refusal"] = refused.reason
            raise

    concurrency = Concurrency(settings.resilience.max_concurrent, Problem.OVERLOADED)
    around = Surroundings(clock=services.clock, new_id=services.new_id, metrics=metrics, log=_access)
    rules = Rules(max_body_bytes=MAX_BODY_BYTES, body_seconds=_BODY_SECONDS, concurrency=concurrency, admit=admit)
    app.add_middleware(Border, rules=rules, around=around)
    faults.handle(app)
    return app


def _callers(settings: QuerySettings, services: Services) -> Callers:
    """Who may call, by what the settings declare and the services bring."""
    auth, signing_keys, keys = settings.auth, services.signing_keys, services.api_keys
    if (auth.jwt is None) != (signing_keys is None) or (auth.api_keys_directory is None) != (keys is None):
        raise ConfigurationError(
            f"RagEndpoint/{settings.name}: spec.auth and what opens it do not agree on tokens or API keys; "
            "compose both from the same settings"
        )
    tokens = Tokens(auth.jwt, signing_keys, now=services.now) if auth.jwt and signing_keys else None
    return Callers(auth.anonymous, tokens=tokens, keys=keys)


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

    faults.described(app)
    return app
