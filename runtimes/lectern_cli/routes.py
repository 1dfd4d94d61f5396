"""What a running `lectern up` tells, and is asked, beside the query API: for programs on the same machine alone.

What is told names documents of every reader, so that nobody else is told. A page in a browser on this machine cannot
ask for a run: a request must say that it carries JSON, which a page of another origin may not.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError

from lectern_cli import sources_running
from lectern_cli.syncing import moment_now
from lectern_contract.errors import ConfigurationError
from lectern_contract.reports import RunMode

if TYPE_CHECKING:
    from lectern_cli.embedded import Embedded

MOST_BODY = 1024


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    mode: RunMode = RunMode.SYNC


def add(app: FastAPI, embedded: Embedded) -> None:
    """Add the routes to `app`."""

    @app.get("/resources", include_in_schema=False)
    async def resources(request: Request) -> JSONResponse:
        """The resources with their status, as a Kubernetes list: for `lectern status`."""
        if (refused := _refused(request)) is not None:
            return refused
        await sources_running.counted(embedded, now=moment_now())
        return JSONResponse({"apiVersion": "v1", "kind": "List", "items": embedded.told()})

    @app.get("/sources", include_in_schema=False)
    async def told(request: Request) -> JSONResponse:
        """What is known of each source: for `lectern sources status`."""
        if (refused := _refused(request)) is not None:
            return refused
        found = await sources_running.tell(embedded, now=moment_now())
        return JSONResponse({"items": [each.model_dump(mode="json", by_alias=True) for each in found]})

    @app.post("/sources/{name}/sync", include_in_schema=False)
    async def sync(name: str, request: Request) -> JSONResponse:
        """Ask for a run of one source: for `lectern sources sync`."""
        if (refused := _refused(request)) is not None:
            return refused
        asked = await _asked(request)
        if isinstance(asked, JSONResponse):
            return asked
        syncing = embedded.syncing.get(name)
        if syncing is None:
            return _not_run(embedded, name)
        try:
            return JSONResponse({"name": name, "finishedRuns": syncing.ask(asked.mode)}, 202)
        except ConfigurationError as error:
            return _problem(409, str(error))


async def _asked(request: Request) -> _Asked | JSONResponse:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return _problem(415, "say content-type: application/json")
    if int(request.headers.get("content-length") or MOST_BODY + 1) > MOST_BODY:
        return _problem(413, f"the body may have {MOST_BODY} bytes, and has to say how many")
    try:
        asked = _Asked.model_validate_json(await request.body())
    except ValidationError:
        return _problem(422, 'the body is no {"mode": "Sync"} or {"mode": "Full"}')
    if asked.mode is RunMode.REPLAY:
        return _problem(422, "dead letters are replayed by `lectern dlq replay`")
    return asked


def _not_run(embedded: Embedded, name: str) -> JSONResponse:
    if name in embedded.plan.manifests.sources:
        return _problem(409, f"IngestionSource/{name} is not run: callers send its documents")
    offer = ", ".join(sorted(embedded.plan.manifests.sources)) or "none"
    return _problem(404, f"there is no IngestionSource {name} here; there are: {offer}")


def _refused(request: Request) -> JSONResponse | None:
    if request.client is not None and ipaddress.ip_address(request.client.host).is_loopback:
        return None
    return _problem(403, "only callers on this machine are told")


def _problem(status: int, detail: str) -> JSONResponse:
    body: dict[str, Any] = {"title": detail, "detail": detail, "status": status}
    return JSONResponse(body, status)
