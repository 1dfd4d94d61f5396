"""The embedded mode: log, blobs, store, model, connectors, workers and the query API in one process.

`up` and `demo` open one with a `Plan`; it starts the same runtimes that run in containers, with embedded
adapters behind their ports. Leaving the context stops everything, in reverse order.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from lectern_cli import failures, generations, http_server, pushing, statuses
from lectern_cli.failures import Failures
from lectern_cli.generations import Generation
from lectern_cli.plan import Plan
from lectern_cli.withdrawal import Withdrawal
from lectern_contract import names, wiring
from lectern_contract.errors import DependencyError
from lectern_contract.payload import DocumentState
from lectern_contract.reports import RunReport
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.status import DocumentCounts, LastRun
from lectern_contract.settings import ConnectorSettings, ReceiverSettings, config_hash
from lectern_runtime import topics
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.adapters.extractive import ExtractiveGenerator
from lectern_runtime.adapters.memory import MemoryAnswerCache
from lectern_runtime.adapters.run_scratch import RunScratch
from lectern_runtime.embed.worker import Worker
from lectern_runtime.embed.write import Done
from lectern_runtime.ingest import run as ingest
from lectern_runtime.ports import BlobStore, Embedder, Log, VectorStore
from lectern_runtime.query.app import create_app
from lectern_runtime.query.services import Services
from lectern_runtime.telemetry.ingest_metrics import ConnectorMetrics, WorkerMetrics

logger = logging.getLogger("lectern.embedded")

LOOK_SECONDS = 0.1
"""How often the state of the workers is looked at, for status and progress."""
SHUTDOWN_SECONDS = 10


def now_text() -> str:
    """This moment, RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Adapters:
    """What stands behind the ports in this process."""

    log: Log
    blobs: BlobStore
    store: VectorStore
    embedder: Embedder


@dataclass
class Filling:
    """A knowledge base and the worker that fills one generation of it; `stale` means that counts changed."""

    kb: KnowledgeBase
    generation: Generation
    worker: Worker
    failures: Failures
    stale: bool = True

    def note(self, done: Done) -> None:
        """Take in what became of one document."""
        self.stale = True
        if done.outcome == "failed":
            self.failures.failed(done.document.uri, done.reason)
        elif done.outcome != "skipped":
            self.failures.settled(done.document.uri)


@dataclass
class Embedded:
    """A running embedded mode: its URL, what was observed, and how far ingestion is."""

    plan: Plan
    adapters: Adapters
    url: str
    sync_seconds: float
    observed: statuses.Observed
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    fillings: list[Filling] = field(default_factory=list)
    first_runs: dict[str, asyncio.Event] = field(default_factory=dict)

    async def settled(self) -> None:
        """Wait until every source was read once and every message that it gave was worked on."""
        await self.quiet.wait()

    def progress(self) -> tuple[int, int]:
        """Messages that were worked on and all messages of the newest runs; both 0 before anything is known."""
        runs = [state.last_run for state in self.observed.sources.values() if state.last_run is not None]
        total = sum(run.published + run.deleted for run in runs)
        waiting = sum(state.waiting or 0 for state in self.observed.knowledge_bases.values())
        total = max(total, waiting)
        return total - waiting, total

    def told(self) -> list[dict[str, Any]]:
        """The resources with their status, as the API server would return them."""
        manifests = self.plan.manifests
        return statuses.tell(
            self.observed,
            manifests.knowledge_bases.values(),
            manifests.sources.values(),
            self.plan.endpoint,
            now=now_text(),
        )

    def summary(self) -> list[str]:
        """One line for each knowledge base and for each source that had trouble."""
        lines = []
        for name, state in self.observed.knowledge_bases.items():
            counts = state.documents or DocumentCounts()
            generation = f"generation {state.active_generation}"
            lines.append(f"KnowledgeBase/{name}: {counts.indexed} documents indexed, {generation}")
            if state.trouble:
                lines.append(f"KnowledgeBase/{name}: {state.trouble}")
        if self.plan.receiver is not None:
            lines.append(f"IngestionSource/{self.plan.receiver.name}: takes documents at {self.url}/v1/documents")
        for name, source in self.observed.sources.items():
            run = source.last_run
            if run is not None and (run.result == "Failed" or run.failed):
                lines.append(f"IngestionSource/{name}: {run.message}")
        return lines

    def wind_down(self) -> None:
        """Let workers finish what they have in hand and take nothing new."""
        self.stop.set()


@contextlib.asynccontextmanager
async def running(
    plan: Plan, *, data_directory: Path, server: socket.socket, sync_seconds: float
) -> AsyncIterator[Embedded]:
    """Open the data directory, start everything, and yield once the query API answers."""
    created_by = f"lectern {importlib.metadata.version('lectern')}"
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(contextlib.closing(server))
        for kb in plan.knowledge_bases.values():
            compose.check_embedded(wiring.worker_settings(kb, generation=1))
        data = stack.enter_context(DataDirectory.open(data_directory, created_by=created_by))
        adapters = await _open(plan, data, stack)
        embedded = Embedded(
            plan=plan,
            adapters=adapters,
            url=http_server.url_of(server),
            sync_seconds=sync_seconds,
            observed=statuses.Observed(started_at=now_text()),
        )
        await _prepare(embedded)
        await look(embedded)
        await stack.enter_async_context(_tasks(embedded))
        await stack.enter_async_context(http_server.serving(await _served(embedded, stack), server))
        embedded.observed.url = embedded.url
        yield embedded


async def _open(plan: Plan, data: DataDirectory, stack: contextlib.AsyncExitStack) -> Adapters:
    """One adapter for each port, shared by all knowledge bases, whose settings all ask for the same."""
    first = wiring.worker_settings(next(iter(plan.knowledge_bases.values())), generation=1)
    embedder = compose.open_embedder(first.embedder)
    stack.push_async_callback(embedder.close)
    log = await compose.open_log(first.log, data)
    stack.push_async_callback(log.close)
    blobs = await compose.open_blobs(first.blobs, data)
    stack.push_async_callback(blobs.close)
    store = await compose.open_store(first.store, data)
    stack.push_async_callback(store.close)
    return Adapters(log=log, blobs=blobs, store=store, embedder=embedder)


async def _prepare(embedded: Embedded) -> None:
    """Choose each knowledge base's generation and make its worker; nothing runs yet."""
    metrics = WorkerMetrics(embedded.registry)
    for kb in embedded.plan.knowledge_bases.values():
        embedded.observed.knowledge_bases[kb.name] = statuses.KnowledgeBaseState()
        embedded.fillings.append(await _filling(embedded, kb, metrics))
    for name in embedded.plan.connectors:
        embedded.observed.sources[name] = statuses.SourceState()
        embedded.first_runs[name] = asyncio.Event()


async def _filling(embedded: Embedded, kb: KnowledgeBase, metrics: WorkerMetrics) -> Filling:
    """The worker of one knowledge base for the generation that is to be filled."""
    adapters = embedded.adapters
    log_settings = wiring.worker_settings(kb, generation=1).log
    await topics.ensure(adapters.log, log_settings, namespace=kb.namespace, knowledge_base=kb.name)
    generation = await generations.choose(kb, store=adapters.store, log=adapters.log)
    sources = [each for each in _writers(embedded.plan) if each.knowledge_base == kb.name]
    known = await failures.read(adapters.store, generation.collection, failures.partitions(sources))
    worker = Worker(
        wiring.worker_settings(kb, generation=generation.number),
        log=adapters.log,
        blobs=adapters.blobs,
        store=adapters.store,
        embedder=adapters.embedder,
        metrics=metrics,
        on_progress=lambda done: filling.note(done),
    )
    filling = Filling(kb, generation, worker, known)
    await worker.ensure()
    return filling


def _writers(plan: Plan) -> list[ConnectorSettings | ReceiverSettings]:
    """Everything that puts documents onto the log."""
    return [*plan.connectors.values(), *([plan.receiver] if plan.receiver is not None else [])]


@contextlib.asynccontextmanager
async def _tasks(embedded: Embedded) -> AsyncIterator[None]:
    """Workers, connectors and the watch; an unexpected failure of one ends the whole process."""
    metrics = ConnectorMetrics(embedded.registry)
    async with asyncio.TaskGroup() as group:
        workers = [
            group.create_task(filling.worker.run(embedded.stop))
            for filling in embedded.fillings
            if not filling.kb.spec.suspend
        ]
        others = [group.create_task(_watch(embedded))]
        others += [
            group.create_task(_withdraw(embedded, filling))
            for filling in embedded.fillings
            if not filling.generation.active
        ]
        others += [
            group.create_task(_connect(embedded, name, settings, metrics))
            for name, settings in embedded.plan.connectors.items()
        ]
        try:
            yield
        finally:
            embedded.stop.set()
            for task in others:
                task.cancel()
            if workers:
                await asyncio.wait(workers, timeout=SHUTDOWN_SECONDS)
            for task in workers:
                task.cancel()


async def _withdraw(embedded: Embedded, filling: Filling) -> None:
    """Take deleted documents out of the generation that answers, while another one is built."""
    adapters = embedded.adapters
    withdrawal = Withdrawal(
        filling.kb, filling.generation.answering, adapters.log, adapters.blobs, adapters.store, now_text
    )
    await withdrawal.run(lambda: filling.generation.active)


async def _connect(embedded: Embedded, name: str, settings: ConnectorSettings, metrics: ConnectorMetrics) -> None:
    """Run one source now and again every `sync_seconds`."""
    source = embedded.plan.manifests.sources[name]
    state = embedded.observed.sources[name]
    if source.spec.suspend or embedded.plan.knowledge_bases[settings.knowledge_base].spec.suspend:
        embedded.first_runs[name].set()
        return
    while True:
        started = now_text()
        if state.last_run is None:
            state.last_run = LastRun(started_at=started, result="Running")
        report = await ingest.run(
            settings,
            log=embedded.adapters.log,
            blobs=embedded.adapters.blobs,
            scratch=RunScratch.open,
            metrics=metrics,
        )
        await look(embedded)  # what it published waits from now on: nobody may see the run's end without that
        state.last_run = _last_run(report)
        embedded.first_runs[name].set()
        await look(embedded)
        await asyncio.sleep(embedded.sync_seconds)


def _last_run(report: RunReport) -> LastRun:
    shared = LastRun.model_fields.keys() & RunReport.model_fields.keys()
    return LastRun(**{name: getattr(report, name) for name in shared})


async def _watch(embedded: Embedded) -> None:
    """Look at the workers again and again; a complete new generation takes over."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await look(embedded)
        except DependencyError as error:
            logger.warning("the state of the workers could not be read, trying again: %s", error)


async def look(embedded: Embedded) -> None:
    """Bring what was observed up to date; `quiet` is set while there is nothing left to do."""
    sources_read = all(event.is_set() for event in embedded.first_runs.values())
    for filling in embedded.fillings:
        await _look_at(embedded, filling, sources_read=sources_read)
    states = embedded.observed.knowledge_bases
    working = [states[filling.kb.name] for filling in embedded.fillings if not filling.kb.spec.suspend]
    if sources_read and all(state.waiting == 0 and state.building_generation is None for state in working):
        embedded.quiet.set()
    else:
        embedded.quiet.clear()


async def _look_at(embedded: Embedded, filling: Filling, *, sources_read: bool) -> None:
    """One knowledge base: what waits, which generation answers, how many documents there are."""
    state, store = embedded.observed.knowledge_bases[filling.kb.name], embedded.adapters.store
    state.waiting = await embedded.adapters.log.lag(filling.worker.topic, group=filling.worker.group)
    if not filling.generation.active and state.waiting == 0 and sources_read:
        filling.generation = await generations.activate(filling.kb, store, filling.generation)
        filling.stale = True
    state.active_generation = filling.generation.answering
    state.building_generation = None if filling.generation.active else filling.generation.number
    if filling.stale:
        filling.stale = False
        answering = names.collection(filling.kb.namespace, filling.kb.name, filling.generation.answering)
        counts = await store.count_documents(answering)
        state.documents = DocumentCounts(
            indexed=counts.get(DocumentState.INDEXED, 0), failed=counts.get(DocumentState.FAILED, 0)
        )
        state.trouble = filling.failures.sentence(state.documents.failed)


async def _served(embedded: Embedded, stack: contextlib.AsyncExitStack) -> ASGIApp:
    """The query API, and beside it the push API where a source is pushed to."""
    app, receiver = _app(embedded), embedded.plan.receiver
    if receiver is None or embedded.plan.manifests.sources[receiver.name].spec.suspend:
        return app
    adapters = embedded.adapters
    receiving = pushing.receiving(receiver, log=adapters.log, blobs=adapters.blobs, registry=embedded.registry)
    return pushing.Beside(await stack.enter_async_context(receiving), app)


def _app(embedded: Embedded) -> FastAPI:
    plan, adapters = embedded.plan, embedded.adapters
    bases = [searched.name for searched in plan.query.knowledge_bases]
    cache = MemoryAnswerCache() if plan.query.exact_cache_ttl_seconds is not None else None
    services = Services(
        stores=dict.fromkeys(bases, adapters.store),
        embedders=dict.fromkeys(bases, adapters.embedder),
        generator=ExtractiveGenerator(plan.query.knowledge_bases[0].sparse_language),
        cache=cache,
        log=adapters.log,
        registry=embedded.registry,
        config_hash=config_hash(plan.query),
    )
    app = create_app(plan.query, services)

    @app.get("/resources", include_in_schema=False)
    async def resources(request: Request) -> JSONResponse:
        """The resources with their status, as a Kubernetes list; `lectern status` reads it on the same machine.

        It names documents of every reader, so that nobody else is told.
        """
        if request.client is None or not ipaddress.ip_address(request.client.host).is_loopback:
            return JSONResponse({"title": "only callers on this machine are told", "status": 403}, 403)
        return JSONResponse({"apiVersion": "v1", "kind": "List", "items": embedded.told()})

    return app
