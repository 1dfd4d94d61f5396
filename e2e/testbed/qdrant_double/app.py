"""The HTTP interface: routes, API key, Qdrant's envelope; every request runs in one worker thread over the store.

Started by `__main__` under uvicorn. Health answers do not pass through the worker thread.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from e2e.testbed.qdrant_double import administration, reads, sharding, writes
from e2e.testbed.qdrant_double.refusals import Refused, internal, unsupported
from e2e.testbed.qdrant_double.store import Call, Store

VERSION = "1.19.0"
LARGEST_BODY = 32 * 1024 * 1024  # service.max_request_size_mb
TRANSFER_SECONDS = 0.3  # a new shard key is Partial for a while, as on a server (there: up to 2 s)

Answer: TypeAlias = Callable[[Store, Call], Any]

_log = logging.getLogger(__name__)

_C = "/collections/{name}"
ROUTES: tuple[tuple[str, str, Answer], ...] = (
    ("GET", "/collections", administration.list_collections),
    ("POST", "/collections/aliases", administration.change_aliases),
    ("GET", "/aliases", administration.list_aliases),
    ("GET", _C, administration.get_collection),
    ("PUT", _C, administration.create_collection),
    ("PATCH", _C, administration.update_collection),
    ("DELETE", _C, administration.delete_collection),
    ("GET", f"{_C}/exists", administration.collection_exists),
    ("GET", f"{_C}/aliases", administration.list_collection_aliases),
    ("PUT", f"{_C}/index", administration.create_index),
    ("DELETE", f"{_C}/index/{{field}}", administration.delete_index),
    ("GET", "/cluster", sharding.cluster_status),
    ("GET", f"{_C}/cluster", sharding.collection_cluster),
    ("POST", f"{_C}/cluster", sharding.change_cluster),
    ("GET", f"{_C}/shards", sharding.list_shard_keys),
    ("PUT", f"{_C}/shards", sharding.create_shard_key),
    ("POST", f"{_C}/shards/delete", sharding.delete_shard_key),
    ("PUT", f"{_C}/points", writes.upsert_points),
    ("POST", f"{_C}/points/delete", writes.delete_points),
    ("POST", f"{_C}/points/batch", writes.batch),
    ("POST", f"{_C}/points/payload", writes.set_payload),
    ("PUT", f"{_C}/points/payload", writes.overwrite_payload),
    ("POST", f"{_C}/points/payload/delete", writes.delete_payload),
    ("POST", f"{_C}/points/payload/clear", writes.clear_payload),
    ("PUT", f"{_C}/points/vectors", writes.update_vectors),
    ("POST", f"{_C}/points/vectors/delete", writes.delete_vectors),
    ("POST", f"{_C}/points", reads.retrieve),
    ("GET", f"{_C}/points/{{id}}", reads.get_point),
    ("POST", f"{_C}/points/scroll", reads.scroll),
    ("POST", f"{_C}/points/count", reads.count),
    ("POST", f"{_C}/facet", reads.facet),
    ("POST", f"{_C}/points/query", reads.query),
    ("POST", f"{_C}/points/query/batch", reads.query_batch),
)


class Server:
    """The store of one process, the thread that works on it, and the transfers that it finishes later."""

    def __init__(self, directory: Path, api_key: str | None) -> None:
        self._store = Store.open(directory)
        self._api_key = api_key
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._transfers: set[asyncio.Task[None]] = set()

    def app(self) -> Starlette:
        """The ASGI application."""
        open_to_all = [
            Route("/", _version, methods=["GET"]),
            *(Route(f"/{name}", _healthy, methods=["GET"]) for name in ("healthz", "livez", "readyz")),
        ]
        routes = [Route(path, self._endpoint(answer), methods=[method]) for method, path, answer in ROUTES]
        methods = ["GET", "PUT", "POST", "PATCH", "DELETE"]
        anything = Route("/{path:path}", self._endpoint(_unsupported), methods=methods)
        return Starlette(routes=[*open_to_all, *routes, anything], lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._begin_transfers()
        yield
        for task in self._transfers:
            task.cancel()
        await asyncio.gather(*self._transfers, return_exceptions=True)
        await self._work(self._store.close)
        self._worker.shutdown()

    def _endpoint(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            began = time.perf_counter()
            denied = self._denied(request)
            if denied is not None:
                return denied
            body = await _body(request)
            if body is None:
                return PlainTextResponse(f"JSON payload is larger than allowed (limit: {LARGEST_BODY} bytes).", 413)
            call = Call(request.path_params, request.query_params, body)
            try:
                result = await self._work(answer, self._store, call)
            except Refused as refused:
                return _error(refused, began)
            except Exception:  # noqa: BLE001  a bug of the double must not look like an answer of Qdrant's
                _log.exception("%s %s failed", request.method, request.url.path)
                return _error(internal("the Qdrant double failed; see its log"), began)
            if answer is sharding.change_cluster:
                self._begin_transfers()
            return JSONResponse({"result": result, "status": "ok", "time": time.perf_counter() - began})

        return endpoint

    def _denied(self, request: Request) -> Response | None:
        if self._api_key is None:
            return None
        bearer = request.headers.get("authorization", "")
        sent = request.headers.get("api-key") or (bearer.removeprefix("Bearer ") if "Bearer " in bearer else "")
        if not sent:
            return PlainTextResponse("Must provide an API key or an Authorization bearer token", 401)
        if not hmac.compare_digest(sent.encode(), self._api_key.encode()):
            return PlainTextResponse("Invalid API key or JWT", 401)
        return None

    def _begin_transfers(self) -> None:
        task = asyncio.get_running_loop().create_task(self._finish_transfers())
        self._transfers.add(task)
        task.add_done_callback(self._transfers.discard)

    async def _finish_transfers(self) -> None:
        await asyncio.sleep(TRANSFER_SECONDS)
        await self._work(sharding.finish_transfers, self._store)

    async def _work(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *args)


async def _version(request: Request) -> Response:
    return JSONResponse({"title": "qdrant - vector search engine", "version": VERSION, "commit": "double"})


async def _healthy(request: Request) -> Response:
    return PlainTextResponse("healthz check passed")


async def _body(request: Request) -> bytes | None:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY:
            return None
        parts.append(part)
    return b"".join(parts)


def _unsupported(store: Store, call: Call) -> None:
    raise unsupported(f"the path /{call.path['path']}")


def _error(refused: Refused, began: float) -> Response:
    body = {"status": {"error": refused.message}, "time": time.perf_counter() - began}
    return JSONResponse(body, refused.status)
