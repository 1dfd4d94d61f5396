"""The query runtime as a program: `python -m lectern_runtime.query --settings FILE` serves until it is told to stop.

The operator runs it as a Deployment. Its port answers as soon as the settings are read; what is away in the world is
waited for and told at `/readyz`. SIGTERM ends the waiting, or lets it finish the requests that it has; the exit status
is 0 then, and 2 for a fault of the configuration or the data directory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry

from lectern_contract import names
from lectern_contract.errors import LecternError
from lectern_contract.settings import QuerySettings, config_hash
from lectern_runtime import programs
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.adapters.extractive import ExtractiveGenerator
from lectern_runtime.adapters.memory import MemoryAnswerCache
from lectern_runtime.api_keys import ApiKeys
from lectern_runtime.http.server import serve
from lectern_runtime.opening import Patience, Readiness
from lectern_runtime.ports import Embedder, VectorStore
from lectern_runtime.query.app import create_app
from lectern_runtime.query.opening import Front
from lectern_runtime.query.services import Services
from lectern_runtime.telemetry import exporting
from lectern_runtime.telemetry.logging import configure, last_words

DRAIN_SECONDS = 25  # below Kubernetes' 30 seconds between SIGTERM and SIGKILL
logger = logging.getLogger("lectern.query")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit status of the process."""
    parser = argparse.ArgumentParser(prog="lectern_runtime.query", description="Serve one query API.")
    parser.add_argument("--settings", type=Path, default=Path(names.SETTINGS_FILE))
    parser.add_argument("--data-dir", type=Path, default=None, help="where the embedded log and store lie")
    # Inside a pod every interface is the pod's own; who may reach it is the NetworkPolicy's to say.
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104
    parser.add_argument("--port", type=int, default=names.RUNTIME_PORT)
    options = parser.parse_args(arguments)
    configure("INFO")
    try:
        loaded = programs.load_settings(options.settings, QuerySettings)
        configure(loaded.log_level)
        endpoint = f"{loaded.namespace}/{loaded.name}"
        with exporting.traces("query", loaded.tracing, attributes={"lectern.endpoint": endpoint}):
            asyncio.run(_serve(loaded, options.data_dir, host=options.host, port=options.port))
    except LecternError as error:
        logger.error("%s", error)
        return programs.exit_status(error)
    return programs.EXIT_STOPPED


async def _serve(loaded: QuerySettings, data_dir: Path | None, *, host: str, port: int) -> None:
    """Answer at the port at once, and questions once everything is open; a fault of the configuration ends both."""
    registry, readiness = CollectorRegistry(), Readiness()
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(programs.listening(host, port))
        front = Front(loaded, registry=registry, readiness=readiness)
        behind = _open_behind(front, loaded, data_dir, registry, Patience(readiness), stack)
        await serve(front, listener, behind, drain_seconds=DRAIN_SECONDS)


async def _open_behind(
    front: Front,
    loaded: QuerySettings,
    data_dir: Path | None,
    registry: CollectorRegistry,
    patience: Patience,
    stack: contextlib.AsyncExitStack,
) -> None:
    services = await _open(loaded, data_dir, registry, patience, stack)
    await front.serve(create_app(loaded, services), stack)
    patience.readiness.done()


async def _open(
    loaded: QuerySettings,
    data_dir: Path | None,
    registry: CollectorRegistry,
    patience: Patience,
    stack: contextlib.AsyncExitStack,
) -> Services:
    """Every adapter that the settings ask for, closed with `stack`; equal settings share one. Waits for the world."""
    data = None
    if data_dir is not None:
        data = stack.enter_context(DataDirectory.open(data_dir, created_by=f"lectern {version('lectern')}"))
    log = await patience.opened("log", lambda: compose.open_log(loaded.log, data))
    stack.push_async_callback(log.close)
    stores, embedders = await _open_searched(loaded, data, patience, stack)
    reranker = None
    if loaded.reranker is not None:
        reranker = compose.open_reranker(loaded.reranker)
        stack.push_async_callback(reranker.close)
    signing_keys = compose.open_signing_keys(loaded.auth)
    if signing_keys is not None:
        stack.push_async_callback(signing_keys.close)
    api_keys = loaded.auth.api_keys_directory
    return Services(
        stores=stores,
        embedders=embedders,
        reranker=reranker,
        generator=ExtractiveGenerator(loaded.knowledge_bases[0].sparse_language),
        cache=MemoryAnswerCache() if loaded.cache.exact is not None else None,
        log=log,
        registry=registry,
        config_hash=config_hash(loaded),
        signing_keys=signing_keys,
        api_keys=ApiKeys(Path(api_keys)) if api_keys is not None else None,
    )


async def _open_searched(
    loaded: QuerySettings, data: DataDirectory | None, patience: Patience, stack: contextlib.AsyncExitStack
) -> tuple[dict[str, VectorStore], dict[str, Embedder]]:
    """The store and the embedding model of each knowledge base, by its name."""
    opened_stores: dict[str, VectorStore] = {}
    opened_embedders: dict[str, Embedder] = {}
    stores: dict[str, VectorStore] = {}
    embedders: dict[str, Embedder] = {}
    for kb in loaded.knowledge_bases:
        where, model = kb.store.model_dump_json(), kb.embedder.model_dump_json()
        if where not in opened_stores:
            opened_stores[where] = await patience.opened("vector-store", partial(compose.open_store, kb.store, data))
            stack.push_async_callback(opened_stores[where].close)
        if model not in opened_embedders:
            opened_embedders[model] = compose.open_embedder(kb.embedder)
            stack.push_async_callback(opened_embedders[model].close)
        stores[kb.name], embedders[kb.name] = opened_stores[where], opened_embedders[model]
    return stores, embedders


if __name__ == "__main__":
    last_words()
    sys.exit(main())
