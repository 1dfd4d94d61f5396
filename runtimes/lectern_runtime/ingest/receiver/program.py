"""The receiver as a program: `python -m lectern_runtime.ingest --serve --settings FILE`, until it is told to stop.

The operator runs it as a Deployment. Its port answers at once; what is away in the world is waited for and told at
`/readyz`. SIGTERM lets it finish the requests that it has.
"""

from __future__ import annotations

import asyncio
import contextlib
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry

from lectern_contract.settings import ReceiverSettings
from lectern_runtime import programs
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.adapters.push_catalogue import PushCatalogue
from lectern_runtime.http.server import serve
from lectern_runtime.ingest.receiver.app import create_app
from lectern_runtime.ingest.receiver.reception import Reception
from lectern_runtime.opening import Patience, Readiness
from lectern_runtime.telemetry import exporting

DRAIN_SECONDS = 50
"""Below the 60 seconds that the operator gives between SIGTERM and SIGKILL."""


def run(settings_file: Path, data_dir: Path | None, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. Raises `LecternError` for faults that no waiting mends."""
    loaded = programs.load_settings(settings_file, ReceiverSettings)
    base = f"{loaded.namespace}/{loaded.knowledge_base}"
    with exporting.traces("receiver", loaded.tracing, attributes={"lectern.knowledge_base": base}):
        asyncio.run(_serve(loaded, data_dir, host=host, port=port))


async def _serve(loaded: ReceiverSettings, data_dir: Path | None, *, host: str, port: int) -> None:
    readiness = Readiness()
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(programs.listening(host, port))
        reception = Reception(loaded, registry=CollectorRegistry(), readiness=readiness)
        behind = _behind(reception, data_dir, Patience(readiness), stack)
        await serve(create_app(reception), listener, behind, drain_seconds=DRAIN_SECONDS)


async def _behind(
    reception: Reception, data_dir: Path | None, patience: Patience, stack: contextlib.AsyncExitStack
) -> None:
    """Open the adapters, closed with `stack`, and attend to the reception; waits for what is away."""
    loaded, data = reception.settings, None
    if data_dir is not None:
        data = stack.enter_context(DataDirectory.open(data_dir, created_by=f"lectern {version('lectern')}"))
    log = await patience.opened("log", lambda: compose.open_log(loaded.log, data))
    stack.push_async_callback(log.close)
    blobs = await patience.opened("blob-store", lambda: compose.open_blobs(loaded.blobs, data))
    stack.push_async_callback(blobs.close)
    await reception.attend(log, blobs, PushCatalogue.open, patience)
