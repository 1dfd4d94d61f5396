"""The embedding worker as a program: `python -m lectern_runtime.embed --settings FILE` works until it is told to stop.

The operator runs it as a Deployment. SIGTERM lets it finish what is embedded; the exit status is 0 then, 1 for
a fault of the world at the start, and 2 for one of the configuration or the data directory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry

from lectern_contract import names, settings
from lectern_contract.errors import LecternError
from lectern_contract.settings import WorkerSettings
from lectern_runtime import programs
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.embed.worker import Worker
from lectern_runtime.telemetry import health
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics

logger = logging.getLogger("lectern.worker")


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until SIGTERM or SIGINT; the exit status of the process."""
    parser = argparse.ArgumentParser(prog="lectern_runtime.embed", description="Fill one index generation.")
    parser.add_argument("--settings", type=Path, default=Path(names.SETTINGS_FILE))
    parser.add_argument("--data-dir", type=Path, default=None, help="where the embedded log, blobs and store lie")
    parser.add_argument("--port", type=int, default=names.RUNTIME_PORT, help="of probes, metrics and /configz")
    parser.add_argument("--once", action="store_true", help="end when everything in the topic is done")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        loaded = programs.load_settings(options.settings, WorkerSettings)
        asyncio.run(_work(loaded, options.data_dir, options.port, once=options.once))
    except LecternError as error:
        logger.error("%s", error)
        return programs.exit_status(error)
    return programs.EXIT_STOPPED


async def _work(loaded: WorkerSettings, data_dir: Path | None, port: int, *, once: bool) -> None:
    stop, ready, registry = asyncio.Event(), asyncio.Event(), CollectorRegistry()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(
            health.serving(
                ("0.0.0.0", port),  # noqa: S104 probes come from the node
                registry=registry,
                configuration=_configuration(loaded),
                ready=ready.is_set,
            )
        )
        data = None
        if data_dir is not None:
            data = stack.enter_context(DataDirectory.open(data_dir, created_by=f"lectern {version('lectern')}"))
        log = await compose.open_log(loaded.log, data)
        stack.push_async_callback(log.close)
        blobs = await compose.open_blobs(loaded.blobs, data)
        stack.push_async_callback(blobs.close)
        store = await compose.open_store(loaded.store, data)
        stack.push_async_callback(store.close)
        embedder = compose.open_embedder(loaded.embedder)
        stack.push_async_callback(embedder.close)
        metrics = WorkerMetrics(registry)
        worker = Worker(loaded, log=log, blobs=blobs, store=store, embedder=embedder, metrics=metrics)
        await worker.ensure()
        ready.set()
        await worker.run(stop, until_caught_up=once)


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
    sys.exit(main())
