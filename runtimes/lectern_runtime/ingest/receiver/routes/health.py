"""`/livez`, `/readyz`, `/metrics`, `/configz`: what the platform and the operator ask the receiver."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from lectern_contract.settings import SETTINGS_VERSION
from lectern_runtime.ingest.receiver.problems import Problem
from lectern_runtime.ingest.receiver.routes.documents import reception_of

router = APIRouter()


class Readiness(BaseModel):
    """Whether documents are taken; `reason` says why not."""

    ready: bool
    reason: str


class Loaded(BaseModel):
    """What this process really loaded; `config_hash` is compared with what was asked for."""

    runtime: Literal["receiver"] = "receiver"
    namespace: str
    name: str
    config_hash: str
    settings_version: int
    version: str


@router.get("/livez")
async def livez() -> dict[str, Literal["ok"]]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
async def readyz(request: Request) -> Response:
    """Say whether documents are taken."""
    reason = reception_of(request).readiness.reason
    wait = {"Retry-After": str(Problem.NOT_READY.value.retry_after)} if reason else {}
    body = Readiness(ready=not reason, reason=reason).model_dump()
    return JSONResponse(body, status_code=503 if reason else 200, headers=wait)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Show the metrics of this process."""
    return Response(generate_latest(reception_of(request).registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/configz")
async def configz(request: Request) -> Loaded:
    """Say which configuration is loaded, never a secret."""
    reception = reception_of(request)
    return Loaded(
        namespace=reception.settings.namespace,
        name=reception.settings.name,
        config_hash=reception.config_hash,
        settings_version=SETTINGS_VERSION,
        version=reception.version,
    )
