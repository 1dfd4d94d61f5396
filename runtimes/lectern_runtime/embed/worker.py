"""The embedding worker: reads document messages and makes one index generation show what they say.

Run as a Deployment by the operator and as a task by `lectern up`. It composes the parts of a run (`flow.py`) from its
settings and adapters; each `run` begins where the last one committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import CollectorRegistry

from lectern_contract import names
from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_contract.names import Topic
from lectern_contract.settings import WorkerSettings
from lectern_runtime import topics
from lectern_runtime.embed.attempts import Attempts
from lectern_runtime.embed.chunk import ChunkRules
from lectern_runtime.embed.epoch import epoch_of
from lectern_runtime.embed.flow import TAKEN_OVER, Flow
from lectern_runtime.embed.late import Late
from lectern_runtime.embed.masking import Masking
from lectern_runtime.embed.parked import Parked
from lectern_runtime.embed.prepare import Preparer
from lectern_runtime.embed.reading import Reading
from lectern_runtime.embed.sandbox import Limits, Parser, ParserSandbox
from lectern_runtime.embed.vector_cache import VectorCache, model_digest
from lectern_runtime.embed.vectors import Vectorizer
from lectern_runtime.embed.write import Done, Writer
from lectern_runtime.failpoints import Failpoint, no_failpoint
from lectern_runtime.moments import rfc3339
from lectern_runtime.ports import (
    BlobStore,
    CollectionSpec,
    Consumer,
    Embedder,
    EmbedderInfo,
    EmbeddingCache,
    Log,
    VectorStore,
)
from lectern_runtime.retries import Retries
from lectern_runtime.sparse import SparseEncoder
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics

FIRST_PAUSE_SECONDS = 0.5
"""The first pause of a document that is parked is at most as long; the next ones may be twice as long each."""
logger = logging.getLogger("lectern.worker")


class Worker:
    """Fills the collection of one generation. `ensure` once, then `run`; both may be called again."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        log: Log,
        blobs: BlobStore,
        store: VectorStore,
        embedder: Embedder,
        parser: Parser | None = None,
        caches: Sequence[EmbeddingCache] = (),
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        metrics: WorkerMetrics | None = None,
        on_progress: Callable[[Done], None] | None = None,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        """Without `parser` a sandbox of its own is started for each `run`. `clock` gives seconds since 1970 UTC.

        `monotonic` gives seconds that never go backwards, by which parked documents are due.
        `caches` are the tiers of the embedding cache, in the order in which they are asked.
        """
        self._settings = settings
        self._log, self._blobs, self._store, self._embedder = log, blobs, store, embedder
        self._parser = parser
        self._clock = clock
        self._metrics = metrics or WorkerMetrics(CollectorRegistry())
        self._cache = VectorCache(model_digest(settings.embedder), tuple(caches), self._metrics)
        self._on_progress = on_progress or _unheard
        self._failpoint = failpoint
        self._monotonic = monotonic
        self._attempts = Attempts(
            Retries(first_seconds=FIRST_PAUSE_SECONDS, told=self._failed_attempt, sleep=sleep, chance=chance)
        )
        self._sparse = SparseEncoder(settings.sparse_language) if settings.sparse_language else None
        self._masking = Masking(settings.masking)
        kb = (settings.namespace, settings.knowledge_base)
        self.topic = names.topic(*kb, Topic.DOCUMENTS)
        self.group = names.consumer_group(*kb, settings.generation)
        self.collection = names.collection(*kb, settings.generation)

    async def ensure(self) -> None:
        """Make topics (embedded log only) and collection. Raises `ConfigurationError` when the model is another one."""
        settings = self._settings
        await topics.ensure(
            self._log, settings.log, namespace=settings.namespace, knowledge_base=settings.knowledge_base
        )
        info = await self._embedder.info()
        if info.dimensions != settings.embedder.dimensions:
            raise ConfigurationError(
                f"KnowledgeBase/{settings.knowledge_base}: spec.embedding.dimensions is "
                f"{settings.embedder.dimensions}, but {info.model} gives vectors of {info.dimensions}; "
                "correct the field or the model"
            )
        await self._store.ensure_collection(
            CollectionSpec(
                name=self.collection,
                dimensions=info.dimensions,
                sparse=self._sparse is not None,
                identity=settings.index_identity,
            )
        )

    async def run(self, stop: asyncio.Event, *, until_caught_up: bool = False) -> None:
        """Work until `stop` is set or, if asked, until everything in the topic is done and committed.

        On `stop`, what is already embedded is written and committed, the rest is left to the next start. Raises
        `ConfigurationError` and `DataDirectoryError`, for which no retry can help.
        """
        epoch = await epoch_of(await self._log.topic_id(self.topic), self._blobs, collection=self.collection)
        async with contextlib.AsyncExitStack() as stack:
            parser = self._parser
            if parser is None:
                parsing = self._settings.parsing
                limits = Limits(parsing.timeout_seconds, parsing.max_document_bytes)
                sandbox = ParserSandbox(limits, ocr_languages=parsing.ocr_languages)
                parser = await stack.enter_async_context(sandbox)
            consumer = await self._log.subscribe(self.topic, group=self.group)
            stack.push_async_callback(consumer.close)
            info = await self._embedder.info()
            flow = self._flow(consumer, parser, info, epoch, until_caught_up=until_caught_up)
            await flow.run(stop)

    def _flow(
        self, consumer: Consumer, parser: Parser, info: EmbedderInfo, epoch: int, *, until_caught_up: bool
    ) -> Flow:
        settings, late = self._settings, Late(TAKEN_OVER, self._monotonic)
        return Flow(
            consumer=consumer,
            reading=Reading(settings.namespace, settings.knowledge_base, epoch, self._metrics),
            preparer=self._preparer(parser, info),
            vectorizer=Vectorizer(self._embedder, info, self._cache, self._attempts, self._metrics, self._failpoint),
            writer=self._writer(late),
            parked=Parked(settings.max_attempts, self._attempts.retries.delay, self._monotonic),
            late=late,
            attempts=self._attempts,
            metrics=self._metrics,
            failpoint=self._failpoint,
            clock=self._clock,
            on_progress=self._on_progress,
            until_caught_up=until_caught_up,
        )

    def _preparer(self, parser: Parser, info: EmbedderInfo) -> Preparer:
        return Preparer(
            collection=self.collection,
            rules=self._rules(info.max_input_tokens),
            parsing=self._settings.parsing,
            masking=self._masking,
            blobs=self._blobs,
            store=self._store,
            embedder=self._embedder,
            parser=parser,
            attempts=self._attempts,
            metrics=self._metrics,
            failpoint=self._failpoint,
        )

    def _rules(self, model_limit: int) -> ChunkRules:
        chunking, embedder = self._settings.chunking, self._settings.embedder
        return ChunkRules(
            strategy=chunking.strategy,
            size=chunking.size,
            overlap=chunking.overlap,
            max_input_tokens=min(embedder.max_input_tokens, model_limit),
            prefix=embedder.document_prefix,
        )

    def _writer(self, late: Late) -> Writer:
        kb = (self._settings.namespace, self._settings.knowledge_base)
        return Writer(
            collection=self.collection,
            events_topic=names.topic(*kb, Topic.EVENTS),
            dead_letters_topic=names.topic(*kb, Topic.DEAD_LETTERS),
            origin=f"lectern/worker/{kb[0]}/{kb[1]}/g{self._settings.generation}",
            log=self._log,
            store=self._store,
            sparse=self._sparse,
            late=late,
            attempts=self._attempts,
            metrics=self._metrics,
            failpoint=self._failpoint,
            now=lambda: rfc3339(self._clock()),
        )

    def _failed_attempt(self, error: DependencyError) -> None:
        self._metrics.retries.labels(dependency=error.dependency).inc()
        logger.warning("%s is not available, trying again: %s", error.dependency, error)


def _unheard(_done: Done) -> None:
    """Nobody asked for progress."""
