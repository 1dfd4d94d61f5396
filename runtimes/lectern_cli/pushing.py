"""The receiver of a push source inside the embedded mode: its routes under the port of the query API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send

from lectern_contract.settings import ReceiverSettings
from lectern_runtime.adapters.push_catalogue import PushCatalogue
from lectern_runtime.ingest.receiver.app import create_app
from lectern_runtime.ingest.receiver.reception import Reception
from lectern_runtime.opening import Patience, Readiness
from lectern_runtime.ports import BlobStore, Log

READY_SECONDS = 5.0
_PATHS = ("/v1/documents", "/v1/runs")


class Beside:
    """An ASGI app that gives the routes of a push source to its own app and all else to another one."""

    def __init__(self, receiver: ASGIApp, everything_else: ASGIApp) -> None:
        self._receiver = receiver
        self._else = everything_else

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand one request, or the lifespan, to the app that it is for."""
        path = scope.get("path", "")
        pushed = scope["type"] == "http" and any(path == each or path.startswith(f"{each}/") for each in _PATHS)
        await (self._receiver if pushed else self._else)(scope, receive, send)


@contextlib.asynccontextmanager
async def receiving(
    settings: ReceiverSettings, *, log: Log, blobs: BlobStore, registry: CollectorRegistry
) -> AsyncIterator[ASGIApp]:
    """The app of a push source that takes documents while the context lasts. Raises `ConfigurationError`.

    A large log is read on beside; until then callers are told to try again.
    """
    readiness = Readiness()
    reception = Reception(settings, registry=registry, readiness=readiness)
    app = create_app(reception)
    async with asyncio.TaskGroup() as group:
        attending = group.create_task(reception.attend(log, blobs, PushCatalogue.open, Patience(readiness)))
        ready = group.create_task(reception.ready.wait())
        try:
            await asyncio.wait((attending, ready), timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            yield app
        finally:
            attending.cancel()
            ready.cancel()
