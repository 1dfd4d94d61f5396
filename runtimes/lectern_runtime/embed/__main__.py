"""The embedding worker as a program: `python -m lectern_runtime.embed --settings FILE` works until it is told to stop.

The operator runs it as a Deployment. Its port answers as soon as the settings are read; what is away in the world is
waited for and told at `/readyz`. SIGTERM ends the waiting, or lets it finish what is embedded; the exit status is 0
then, and 2 for a fault of the configuration or the data directory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry

from lectern_contract import names, settings
from lectern_contract.errors import DependencyError, LecternError
from lectern_contract.settings import WorkerSettings
from lectern_runtime import failpoints, programs
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.embed.worker import Worker
from lectern_runtime.opening import Patience, Readiness, unless_stopped
from lectern_runtime.telemetry import exporting, health
from lectern_runtime.telemetry import logging as log_lines
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics

LONG_RUN_SECONDS = 60.0
"""A worker that ran as long and then failed is tried again soon, as one that fails for the first time."""
logger = logging.getLogger("lectern.worker")


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until SIGTERM or SIGINT; the exit status of the process."""
    parser = argparse.ArgumentParser(prog="lectern_runtime.embed", description="Fill one index generation.")
    parser.add_argument("--settings", type=Path, default=Path(names.SETTINGS_FILE))
    parser.add_argument("--data-dir", type=Path, default=None, help="where the embedded log, blobs and store lie")
    parser.add_argument("--port", type=int, default=names.RUNTIME_PORT, help="of probes, metrics and /configz")
    parser.add_argument("--once", action="store_true", help="end when everything in the topic is done")
    options = parser.parse_args(arguments)
    log_lines.configure("INFO")
    try:
        loaded = programs.load_settings(options.settings, WorkerSettings)
        with _told(loaded):
            asyncio.run(_work(loaded, options.data_dir, options.port, once=options.once))
    except LecternError as error:
        logger.error("%s", error)
        return programs.exit_status(error)
    return programs.EXIT_STOPPED


def member(environment: Mapping[str, str]) -> str | None:
    """The name of the pod, which no other process has and which outlives a crash of its container; None elsewhere."""
    return environment.get("HOSTNAME") if "KUBERNETES_SERVICE_HOST" in environment else None


@contextlib.contextmanager
def _told(loaded: WorkerSettings) -> Iterator[None]:
    """Let every log line and every span say whose worker this is."""
    base = f"{loaded.namespace}/{loaded.knowledge_base}"
    attributes = {"lectern.knowledge_base": base, "lectern.generation": str(loaded.generation)}
    with (
        log_lines.about(knowledge_base=base, generation=loaded.generation),
        exporting.traces("worker", loaded.tracing, attributes=attributes),
    ):
        yield


async def _work(loaded: WorkerSettings, data_dir: Path | None, port: int, *, once: bool) -> None:
    stop, readiness, registry = asyncio.Event(), Readiness(), CollectorRegistry()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    patience = Patience(readiness)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(
            health.serving(
                ("0.0.0.0", port),  # noqa: S104 probes come from the node
                registry=registry,
                configuration=_configuration(loaded),
                not_ready=lambda: readiness.reason,
            )
        )
        worker = await unless_stopped(stop, _open(loaded, data_dir, registry, patience, stack))
        if worker is not None:
            await _run(worker, stop, patience, once=once)


async def _open(
    loaded: WorkerSettings,
    data_dir: Path | None,
    registry: CollectorRegistry,
    patience: Patience,
    stack: contextlib.AsyncExitStack,
) -> Worker:
    """The worker with every adapter that the settings ask for, closed with `stack`; waits for what is away."""
    data = None
    if data_dir is not None:
        data = stack.enter_context(DataDirectory.open(data_dir, created_by=f"lectern {version('lectern')}"))
    log = await patience.opened("log", lambda: compose.open_log(loaded.log, data, member=member(os.environ)))
    stack.push_async_callback(log.close)
    blobs = await patience.opened("blob-store", lambda: compose.open_blobs(loaded.blobs, data))
    stack.push_async_callback(blobs.close)
    failpoint = failpoints.from_environment(os.environ)
    store = await patience.opened("vector-store", lambda: compose.open_store(loaded.store, data, failpoint=failpoint))
    stack.push_async_callback(store.close)
    embedder = compose.open_embedder(loaded.embedder)
    stack.push_async_callback(embedder.close)
    metrics = WorkerMetrics(registry)
    caches = compose.open_embedding_cache(loaded)
    for cache in caches:
        stack.push_async_callback(cache.close)
    worker = Worker(
        loaded,
        log=log,
        blobs=blobs,
        store=store,
        embedder=embedder,
        caches=caches,
        metrics=metrics,
        failpoint=failpoint,
    )
    await patience.opened("vector-store", worker.ensure)
    return worker


async def _run(worker: Worker, stop: asyncio.Event, patience: Patience, *, once: bool) -> None:
    """Work until `stop`; what the worker could not wait for by itself is waited for here, and it begins anew."""
    attempt = 0
    while not stop.is_set():
        patience.readiness.done()
        began = time.monotonic()
        try:
            await worker.run(stop, until_caught_up=once)
            return
        except DependencyError as error:
            attempt = 0 if time.monotonic() - began > LONG_RUN_SECONDS else attempt + 1
            await unless_stopped(stop, patience.pause(attempt, error))


def _configuration(loaded: WorkerSettings) -> dict[str, str]:
    """What `/configz` tells: which settings this process really loaded."""
    return {
        "runtime": loaded.runtime,
        "namespace": loaded.namespace,
        "name": loaded.knowledge_base,
        "config_hash": settings.config_hash(loaded),
        "settings_version": str(loaded.schema_version),
        "version": version("lectern"),
    }


if __name__ == "__main__":
    log_lines.last_words()
    sys.exit(main())
