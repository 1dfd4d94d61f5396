"""`/livez`, `/readyz`, `/metrics`, `/configz`: what the platform and the operator ask a replica.

None of them needs credentials, and none tells a secret, a question or a document.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from lectern_contract.errors import LecternError
from lectern_contract.settings import SETTINGS_VERSION, SearchedKnowledgeBase
from lectern_runtime.http.problems import RETRY_SECONDS
from lectern_runtime.query.runtime import Runtime, runtime_of

router = APIRouter()
_PROBE_SECONDS = 2.0


class Component(BaseModel):
    """One thing that answers depend on."""

    name: str
    ready: bool
    detail: str


class Readiness(BaseModel):
    """Whether questions can be answered. One knowledge base that answers is enough; the others are told of."""

    ready: bool
    components: list[Component]


class LoadedKnowledgeBase(BaseModel):
    """A knowledge base as this process searches it."""

    name: str
    alias: str
    collection: str | None
    embedding_model: str
    embedding_revision: str


class Loaded(BaseModel):
    """What this process really loaded; `config_hash` is compared with what was asked for."""

    runtime: Literal["query"] = "query"
    namespace: str
    name: str
    config_hash: str
    settings_version: int
    version: str
    generator: str
    answer_cache: bool
    knowledge_bases: list[LoadedKnowledgeBase]


@router.get("/livez")
async def livez() -> dict[str, Literal["ok"]]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
async def readyz(request: Request) -> Response:
    """Ask every component and say which of them answer."""
    runtime = runtime_of(request)
    bases = runtime.settings.knowledge_bases
    checked = await asyncio.gather(*(_knowledge_base(runtime, kb) for kb in bases))
    components = [component for pair in checked for component in pair]
    if (cache := runtime.pipeline.cache) is not None:
        detail = "events are heard" if cache.usable else "events are not heard; answers are not cached meanwhile"
        components.append(Component(name="answer-cache", ready=cache.usable, detail=detail))
    ready = any(all(component.ready for component in pair) for pair in checked)
    return JSONResponse(
        Readiness(ready=ready, components=components).model_dump(),
        status_code=200 if ready else 503,
        headers={} if ready else {"Retry-After": str(RETRY_SECONDS)},
    )


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Show the metrics of this process."""
    return Response(generate_latest(runtime_of(request).services.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/configz")
async def configz(request: Request) -> Loaded:
    """Say which configuration is loaded, never a secret."""
    runtime = runtime_of(request)
    settings, services = runtime.settings, runtime.services
    collections = await asyncio.gather(*(_collection(runtime, kb) for kb in settings.knowledge_bases))
    return Loaded(
        namespace=settings.namespace,
        name=settings.name,
        config_hash=services.config_hash,
        settings_version=SETTINGS_VERSION,
        version=services.version,
        generator=services.generator.model,
        answer_cache=runtime.pipeline.cache is not None,
        knowledge_bases=[
            LoadedKnowledgeBase(
                name=kb.name,
                alias=kb.alias,
                collection=collection,
                embedding_model=kb.embedder.model,
                embedding_revision=kb.embedder.revision,
            )
            for kb, collection in zip(settings.knowledge_bases, collections, strict=True)
        ],
    )


async def _knowledge_base(runtime: Runtime, kb: SearchedKnowledgeBase) -> tuple[Component, Component]:
    found, embeds = await asyncio.gather(_resolved(runtime, kb), _embeds(runtime, kb))
    collection, answers = found
    detail = f"alias {kb.alias} stands for {collection or 'nothing'}" if answers else "the vector store does not answer"
    return (
        Component(name=f"index/{kb.name}", ready=collection is not None, detail=detail),
        Component(name=f"embedder/{kb.name}", ready=embeds is None, detail=embeds or f"{kb.embedder.model} answers"),
    )


async def _collection(runtime: Runtime, kb: SearchedKnowledgeBase) -> str | None:
    return (await _resolved(runtime, kb))[0]


async def _resolved(runtime: Runtime, kb: SearchedKnowledgeBase) -> tuple[str | None, bool]:
    """The collection behind the alias, and whether the store answered."""
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            return await runtime.services.stores[kb.name].resolve_alias(kb.alias), True
    except (LecternError, TimeoutError):
        return None, False


async def _embeds(runtime: Runtime, kb: SearchedKnowledgeBase) -> str | None:
    """What is wrong with the embedder, or None."""
    if runtime.settings.retrieval.mode == "Sparse":
        return None
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            vectors = await runtime.services.embedders[kb.name].embed([kb.embedder.query_prefix + "ready"])
    except (LecternError, TimeoutError):
        return f"{kb.embedder.model} does not answer"
    if vectors.shape != (1, kb.embedder.dimensions):
        return f"{kb.embedder.model} gives {vectors.shape[-1]} dimensions instead of {kb.embedder.dimensions}"
    return None
