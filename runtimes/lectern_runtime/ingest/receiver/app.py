"""The receiver's API as an app made of values: `create_app(reception)`.

Called by the receiver's program and by the embedded mode. Opens nothing: `Reception.attend` does.
"""

from __future__ import annotations

import base64
import logging
import time
from typing import Any

from fastapi import FastAPI
from starlette.types import Scope

from lectern_runtime.http import faults
from lectern_runtime.http.border import Border, Rules, Surroundings
from lectern_runtime.http.limits import Concurrency, Room
from lectern_runtime.ingest.receiver.problems import Problem
from lectern_runtime.ingest.receiver.reception import Reception, new_id
from lectern_runtime.ingest.receiver.routes import documents, health, runs
from lectern_runtime.ingest.receiver.schema import MAX_DOCUMENTS

TITLE = "Lectern push API"
MOST_REQUESTS = 8
MOST_BODY_BYTES = 64 * 1024 * 1024
ROOM_BYTES = 2 * MOST_BODY_BYTES
"""Of all bodies together: a replica holds each about three times while it works on it."""
BODY_SECONDS = 60.0
_AROUND_BYTES = 256 * 1024
"""What a document may have beside its content: uri, title, metadata, JSON."""
_ROUTERS = (documents.router, runs.router, health.router)
_access = logging.getLogger("lectern_runtime.ingest.receiver.access")


def create_app(reception: Reception) -> FastAPI:
    """The app of one push source."""
    app = _bare(reception.version)
    app.state.reception = reception

    async def admit(scope: Scope) -> None:
        action = documents.action_of(scope["method"], scope["path"])
        scope["state"]["holder"] = await reception.rights.caller(scope["headers"], action)

    rules = Rules(
        max_body_bytes=most_body_bytes(reception.settings.max_document_bytes),
        body_seconds=BODY_SECONDS,
        concurrency=Concurrency(MOST_REQUESTS, Problem.OVERLOADED),
        room=Room(ROOM_BYTES, Problem.OVERLOADED),
        place_first=True,
        admit=admit,
    )
    around = Surroundings(clock=time.monotonic, new_id=new_id, metrics=reception.metrics, log=_access)
    app.add_middleware(Border, rules=rules, around=around)
    faults.handle(app)
    return app


def openapi_document() -> dict[str, Any]:
    """The API's description, as `/openapi.json` gives it and `docs/reference/receiver-openapi.json` holds it."""
    return _bare("0").openapi() | {}


def most_body_bytes(max_document_bytes: int) -> int:
    """How large a body may be: room for as many documents as a request takes, up to `MOST_BODY_BYTES`."""
    one = len(base64.b64encode(b"xxx")) * (max_document_bytes // 3 + 1) + _AROUND_BYTES
    return min(MOST_BODY_BYTES, MAX_DOCUMENTS * one)


def _bare(version: str) -> FastAPI:
    """Routes and description without anything behind them."""
    app = FastAPI(
        title=TITLE,
        version=version,
        docs_url=None,
        redoc_url=None,
        # FastAPI's own telemetry would record exceptions with their text, which may quote a document.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    for router in _ROUTERS:
        app.include_router(router)
    faults.described(app, documents.DEFINITIONS)
    return app
