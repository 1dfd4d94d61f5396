"""The world of the query runtime's tests: the real embedded store, log and cache, and a stub model that says it is one.

`World.app` makes the app; documents are written as the worker writes them. The stub embedder turns words into
directions, so that equal words are near and nothing else is.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from lectern_contract import ids, messages, names
from lectern_contract import query_settings as of_query
from lectern_contract import settings as contract
from lectern_contract.ids import DocumentId
from lectern_contract.messages import Change, DocumentEvent, DocumentRef, Envelope
from lectern_contract.names import Topic
from lectern_contract.payload import ChunkPayload, DocumentRecord, DocumentState, MetadataValue
from lectern_contract.scope import Partition, Scope
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.adapters.extractive import ExtractiveGenerator
from lectern_runtime.adapters.memory import MemoryAnswerCache
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.api_keys import ApiKeys
from lectern_runtime.errors import InputTooLong
from lectern_runtime.ports import (
    AnswerPiece,
    Chunk,
    CollectionSpec,
    DocumentWrite,
    EmbedderInfo,
    GenerationRequest,
    OutgoingRecord,
    Reranker,
    Vectors,
)
from lectern_runtime.query.app import create_app
from lectern_runtime.query.services import Services
from lectern_runtime.signing_keys import SigningKeys
from lectern_runtime.sparse import SparseEncoder

DIMENSIONS = 256
NAMESPACE = "ns"
ENCODER = SparseEncoder("en")
ACME = Partition("acme", "public")
ACME_SECRET = Partition("acme", "secret")
RIVAL = Partition("rival", "public")
_WORD = re.compile(r"\w+")


class StubEmbedder:
    """No model: a text's vector is the direction of its word counts. Counts its calls; can be told to wait."""

    def __init__(self, *, max_input_tokens: int = 256) -> None:
        self.calls: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._limit = max_input_tokens

    async def info(self) -> EmbedderInfo:
        return EmbedderInfo("stub", "1", DIMENSIONS, self._limit, 64, 64 * self._limit)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(list(texts))
        await self.gate.wait()
        rows = np.zeros((len(texts), DIMENSIONS), np.float32)
        for row, text in enumerate(texts):
            found = _WORD.findall(text.lower())
            if len(found) + 2 > self._limit:
                raise InputTooLong(index=row, tokens=len(found) + 2, limit=self._limit)
            for word, count in Counter(found).items():
                rows[row, zlib.crc32(word.encode()) % DIMENSIONS] += count
            rows[row, 0] += 1e-3
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    async def tokenize(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        return [[match.span() for match in _WORD.finditer(text)] for text in texts]

    async def close(self) -> None:
        """Nothing to release."""


class WatchedGenerator:
    """The extractive generator, with its requests counted, a gate between pieces, and a note of early ends."""

    def __init__(self) -> None:
        self._inner = ExtractiveGenerator("en")
        self.requests: list[GenerationRequest] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.ended_early = asyncio.Event()
        self.failure: Exception | None = None
        self.extra: tuple[AnswerPiece, ...] = ()

    @property
    def model(self) -> str:
        return self._inner.model

    async def generate(self, request: GenerationRequest) -> AsyncIterator[AnswerPiece]:
        self.requests.append(request)
        try:
            async for piece in self._inner.generate(request):
                yield piece
                await self.gate.wait()
            if self.failure is not None:
                raise self.failure
            for piece in self.extra:
                yield piece
        except (asyncio.CancelledError, GeneratorExit):
            self.ended_early.set()
            raise

    async def close(self) -> None:
        """Nothing to release."""


@dataclass
class World:
    """Adapters, and the documents that were written."""

    store: EdgeStore
    log: SqliteLog
    embedder: StubEmbedder = field(default_factory=StubEmbedder)
    generator: WatchedGenerator = field(default_factory=WatchedGenerator)
    cache: MemoryAnswerCache = field(default_factory=MemoryAnswerCache)
    reranker: Reranker | None = None
    signing_keys: SigningKeys | None = None
    api_keys: ApiKeys | None = None
    now: Callable[[], float] = time.time
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def app(self, settings: contract.QuerySettings | None = None) -> FastAPI:
        """A new app over these adapters."""
        settings = settings or query_settings()
        bases = [kb.name for kb in settings.knowledge_bases]
        self.registry = CollectorRegistry()
        return create_app(
            settings,
            Services(
                stores=dict.fromkeys(bases, self.store),
                embedders=dict.fromkeys(bases, self.embedder),
                generator=self.generator,
                reranker=self.reranker,
                cache=self.cache,
                log=self.log,
                registry=self.registry,
                config_hash="c0ffee",
                signing_keys=self.signing_keys,
                api_keys=self.api_keys,
                now=self.now,
                version="1.2.3",
            ),
        )

    async def index(self, kb: str = "guides", generation: int = 1) -> str:
        """An empty collection behind the knowledge base's alias."""
        name = names.collection(NAMESPACE, kb, generation)
        await self.store.ensure_collection(CollectionSpec(name, DIMENSIONS, sparse=True, identity="i"))
        await self.store.point_alias(names.alias(NAMESPACE, kb), name)
        return name

    async def put(
        self,
        uri: str,
        *texts: str,
        partition: Partition = ACME,
        kb: str = "guides",
        version: int = 1,
        metadata: Mapping[str, MetadataValue] | None = None,
    ) -> DocumentId:
        """Write one version of a document into the knowledge base, a chunk for each text."""
        document = reference(uri, partition, kb).id
        title = uri.removesuffix(".md").capitalize()
        shared: dict[str, Any] = {
            "tenant": partition.tenant,
            "access_level": partition.access_level,
            "document_id": document,
            "version": version,
            "source": "files",
            "uri": uri,
            "title": title,
        }
        dense = await StubEmbedder(max_input_tokens=100_000).embed([f"{title}\n{text}" for text in texts])
        chunks, start = [], 0
        for number, text in enumerate(texts):
            payload = ChunkPayload(
                **shared,
                number=number,
                text=text,
                text_digest=ids.text_digest(text),
                section=title,
                start=start,
                end=start + len(text),
                tokens=len(text.split()),
                metadata=dict(metadata or {}),
            )
            chunks.append(Chunk(ids.chunk_id(document, number), payload, dense[number], ENCODER.document(text)))
            start += len(text) + 1
        collection = await self.store.resolve_alias(names.alias(NAMESPACE, kb))
        assert collection is not None
        record = DocumentRecord(**shared, state=DocumentState.INDEXED, sha256="ab" * 32, chunks=len(chunks))
        await self.store.write_documents(collection, Scope.of_writer(partition), [DocumentWrite(record, chunks)])
        return document

    async def tell(self, uri: str, change: Change, *, partition: Partition = ACME, kb: str = "guides") -> None:
        """Publish the worker's event about a document."""
        event = DocumentEvent(document=reference(uri, partition, kb), change=change, version=2)
        envelope = Envelope(id=f"{uri}-{change}", source="test", time="2026-01-01T00:00:00Z", data=event)
        topic = names.topic(NAMESPACE, kb, Topic.EVENTS)
        await self.log.publish(topic, [OutgoingRecord(envelope.key, messages.encode(envelope))])


def reference(uri: str, partition: Partition, kb: str = "guides") -> DocumentRef:
    return DocumentRef(
        namespace=NAMESPACE,
        knowledge_base=kb,
        tenant=partition.tenant,
        access_level=partition.access_level,
        source="files",
        uri=uri,
    )


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[World]:
    """A world in an empty directory, with the topics of two knowledge bases."""
    store = await EdgeStore.open(path / "store")
    log = await SqliteLog.open(path / "log.sqlite3")
    for kb in ("guides", "manuals"):
        await log.ensure_topic(names.topic(NAMESPACE, kb, Topic.EVENTS), partitions=2, compacted=False)
    try:
        yield World(store, log)
    finally:
        await log.close()
        await store.close()


@asynccontextmanager
async def calling(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a started app; what the app raises is raised here."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://lectern") as client,
    ):
        yield client


def knowledge_base(name: str = "guides", **changes: Any) -> contract.SearchedKnowledgeBase:
    given: dict[str, Any] = {
        "name": name,
        "alias": names.alias(NAMESPACE, name),
        "events_topic": names.topic(NAMESPACE, name, Topic.EVENTS),
        "audit_topic": names.topic(NAMESPACE, name, Topic.AUDIT),
        "access_levels": ("public", "secret"),
        "filterable_fields": ("product", "year"),
        "embedder": contract.EmbedderSettings(
            model="stub",
            revision="1",
            dimensions=DIMENSIONS,
            max_input_tokens=256,
            query_prefix="",
            document_prefix="",
            source=contract.InProcessModel(),
        ),
        "sparse_language": "en",
        "store": contract.EmbeddedStore(),
    }
    return contract.SearchedKnowledgeBase(**{**given, **changes})


def anonymous(tenant: str, *levels: str) -> of_query.AuthSettings:
    """What lets everybody read those levels of the tenant, and nobody anything else."""
    everybody = of_query.AnonymousSettings(tenant=tenant, access_levels=levels)
    return of_query.AuthSettings(anonymous=everybody, jwt=None, api_keys_directory=None)


def cached(*, seconds: int = 60) -> of_query.AnswerCacheSettings:
    """A cache of exact answers in memory."""
    exact = of_query.ExactCacheSettings(ttl_seconds=seconds, stale_seconds=0)
    return of_query.AnswerCacheSettings(redis=None, exact=exact, semantic=None)


def query_settings(**changes: Any) -> contract.QuerySettings:
    """Settings of the endpoint `desk`; fields of `retrieval` and `resilience` may be changed by their own names."""
    retrieval: dict[str, Any] = {
        "mode": "Hybrid",
        "candidates": 50,
        "top_k": 5,
        "rrf_k": 2,
        "sparse_weight": 1.5,
        "min_score": 0.3,
        "context_token_budget": 2048,
        "follow_ups": "Join",
        "variants": 1,
    }
    resilience: dict[str, Any] = {
        "timeout_seconds": 30,
        "max_concurrent": 64,
        "failure_threshold": 5,
        "open_seconds": 60,
        "fallbacks": ("StaleCache", "Extractive"),
    }
    for part in (retrieval, resilience):
        part.update({name: changes.pop(name) for name in list(changes) if name in part})
    given: dict[str, Any] = {
        "namespace": NAMESPACE,
        "name": "desk",
        "knowledge_bases": (knowledge_base(),),
        "retrieval": of_query.RetrievalSettings(**retrieval),
        "reranker": None,
        "generation": None,
        "cache": of_query.AnswerCacheSettings(redis=None, exact=None, semantic=None),
        "auth": anonymous("acme", "public"),
        "rate_limit": of_query.RateLimitSettings(requests_per_minute=1_000_000, burst=1_000_000),
        "resilience": of_query.ResilienceSettings(**resilience),
        "jobs": None,
        "cors_allow_origins": (),
        "log_level": "INFO",
        "log_query_text": False,
        "tracing": None,
        "log": contract.EmbeddedLog(),
    }
    return contract.QuerySettings(**{**given, **changes})


def events_of(body: str) -> list[tuple[str, Any]]:
    """Name and data of each server-sent event; data that is not JSON stays text."""
    found = []
    for block in body.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        data = fields["data"]
        found.append((fields.get("event", "message"), data if data == "[DONE]" else json.loads(data)))
    return found
