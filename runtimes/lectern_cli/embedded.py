"""The embedded mode: log, blobs, store, model, connectors, workers and the query API in one process.

`up` and `demo` open one with a `Plan`; it starts the same runtimes that run in containers, with embedded
adapters behind their ports. Leaving the context stops everything, in reverse order.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from lectern_cli import failures, generations, http_server, pushing, routes, statuses
from lectern_cli.counting import Count
from lectern_cli.failures import Failures
from lectern_cli.generations import Generation
from lectern_cli.plan import Plan
from lectern_cli.progress import Reading
from lectern_cli.syncing import Syncing, moment_now
from lectern_cli.withdrawal import Withdrawal
from lectern_contract import names, wiring
from lectern_contract.errors import DependencyError
from lectern_contract.payload import DocumentState
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.status import DocumentCounts
from lectern_contract.settings import ConnectorSettings, ReceiverSettings, config_hash
from lectern_runtime import topics
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.adapters.extractive import ExtractiveGenerator
from lectern_runtime.adapters.memory import MemoryAnswerCache
from lectern_runtime.api_keys import ApiKeys
from lectern_runtime.embed.worker import Worker
from lectern_runtime.embed.write import Done
from lectern_runtime.ports import BlobStore, Embedder, Log, Reranker, VectorStore
from lectern_runtime.query.app import create_app
from lectern_runtime.query.services import Services
from lectern_runtime.signing_keys import SigningKeys
from lectern_runtime.telemetry.ingest_metrics import ConnectorMetrics, WorkerMetrics

logger = logging.getLogger("lectern.embedded")

LOOK_SECONDS = 0.1
"""How often the state of the workers is looked at, for status and progress."""
SHUTDOWN_SECONDS = 10


@dataclass(frozen=True)
class Adapters:
    """What stands behind the ports in this process."""

    log: Log
    blobs: BlobStore
    store: VectorStore
    embedder: Embedder


@dataclass
class Filling:
    """A knowledge base and the worker that fills one generation of it; `stale` means that counts changed.

    `done` counts the messages that were worked on since the start, `failed` those of them that were given up;
    `found_waiting` is what waited then.
    """

    kb: KnowledgeBase
    generation: Generation
    worker: Worker
    failures: Failures
    stale: bool = True
    done: int = 0
    failed: int = 0
    found_waiting: int | None = None
    counted: Count = field(default_factory=Count)

    def note(self, done: Done) -> None:
        """Take in what became of one document."""
        self.stale, self.done = True, self.done + 1
        if done.outcome == "failed":
            self.failed += 1
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
    syncing: dict[str, Syncing] = field(default_factory=dict)

    async def settled(self) -> None:
        """Wait until every source was read once and every message that it gave was worked on."""
        await self.quiet.wait()

    def progress(self) -> Reading:
        """How far ingestion is; nobody knows how much there is before every source was read once."""
        done, failed = (sum(getattr(each, name) for each in self.fillings) for name in ("done", "failed"))
        waiting = sum(state.waiting or 0 for state in self.observed.knowledge_bases.values())
        if not all(each.first.is_set() for each in self.syncing.values()):
            return Reading(done, None, failed)
        said = sum(each.said for each in self.syncing.values())
        total = max(waiting, said + sum(each.found_waiting or 0 for each in self.fillings))
        return Reading(total - waiting, total, failed)

    def writers(self) -> list[ConnectorSettings | ReceiverSettings]:
        """Everything that puts documents onto the log."""
        receiver = [self.plan.receiver] if self.plan.receiver is not None else []
        return [*self.plan.connectors.values(), *receiver]

    def told(self) -> list[dict[str, Any]]:
        """The resources with their status, as the API server would return them."""
        manifests = self.plan.manifests
        return statuses.tell(
            self.observed,
            manifests.knowledge_bases.values(),
            manifests.sources.values(),
            self.plan.endpoint,
            now=moment_now(),
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
            observed=statuses.Observed(started_at=moment_now()),
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
    for name, settings in embedded.plan.connectors.items():
        state = embedded.observed.sources[name] = statuses.SourceState()
        embedded.syncing[name] = Syncing(settings, state, _idle(embedded.plan, name, settings))


def _idle(plan: Plan, name: str, settings: ConnectorSettings) -> str:
    """Why a source is never run; empty when it is."""
    if plan.manifests.sources[name].spec.suspend:
        return "its spec.suspend is true"
    suspended = plan.knowledge_bases[settings.knowledge_base].spec.suspend
    return f"spec.suspend of KnowledgeBase/{settings.knowledge_base} is true" if suspended else ""


async def _filling(embedded: Embedded, kb: KnowledgeBase, metrics: WorkerMetrics) -> Filling:
    """The worker of one knowledge base for the generation that is to be filled."""
    adapters = embedded.adapters
    log_settings = wiring.worker_settings(kb, generation=1).log
    await topics.ensure(adapters.log, log_settings, namespace=kb.namespace, knowledge_base=kb.name)
    generation = await generations.choose(kb, store=adapters.store, log=adapters.log)
    sources = [each for each in embedded.writers() if each.knowledge_base == kb.name]
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
        log, blobs = embedded.adapters.log, embedded.adapters.blobs
        others += [
            group.create_task(
                each.run(log, blobs, metrics, every_seconds=embedded.sync_seconds, look=lambda: look(embedded))
            )
            for each in embedded.syncing.values()
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
        filling.kb, filling.generation.answering, adapters.log, adapters.blobs, adapters.store, moment_now
    )
    await withdrawal.run(lambda: filling.generation.active)


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
    sources_read = all(each.first.is_set() for each in embedded.syncing.values())
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
    if filling.found_waiting is None:
        filling.found_waiting = state.waiting
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
    signing_keys = compose.open_signing_keys(embedded.plan.query.auth)
    if signing_keys is not None:
        stack.push_async_callback(signing_keys.close)
    reranker = None
    if embedded.plan.query.reranker is not None:
        reranker = compose.open_reranker(embedded.plan.query.reranker)
        stack.push_async_callback(reranker.close)
    app, receiver = _app(embedded, signing_keys, reranker), embedded.plan.receiver
    if receiver is None or embedded.plan.manifests.sources[receiver.name].spec.suspend:
        return app
    adapters = embedded.adapters
    receiving = pushing.receiving(receiver, log=adapters.log, blobs=adapters.blobs, registry=embedded.registry)
    return pushing.Beside(await stack.enter_async_context(receiving), app)


def _app(embedded: Embedded, signing_keys: SigningKeys | None, reranker: Reranker | None) -> FastAPI:
    plan, adapters = embedded.plan, embedded.adapters
    bases = [searched.name for searched in plan.query.knowledge_bases]
    cache = MemoryAnswerCache() if plan.query.cache.exact is not None else None
    api_keys = plan.query.auth.api_keys_directory
    services = Services(
        stores=dict.fromkeys(bases, adapters.store),
        embedders=dict.fromkeys(bases, adapters.embedder),
        generator=ExtractiveGenerator(plan.query.knowledge_bases[0].sparse_language),
        reranker=reranker,
        cache=cache,
        log=adapters.log,
        registry=embedded.registry,
        config_hash=config_hash(plan.query),
        signing_keys=signing_keys,
        api_keys=ApiKeys(Path(api_keys)) if api_keys is not None else None,
    )
    app = create_app(plan.query, services)
    routes.add(app, embedded)
    return app
