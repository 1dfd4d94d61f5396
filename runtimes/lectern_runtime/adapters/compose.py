"""Which adapter stands behind which port, chosen by the settings.

Called by each program's main and by the embedded mode. A kind that this release has no adapter for is
refused here with a sentence, never replaced by another. Adapters are imported where they are used, so
that a container needs only the libraries of its own extra.
"""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, NoReturn

from lectern_contract.errors import ConfigurationError
from lectern_contract.query_settings import AuthSettings, RerankerSettings
from lectern_contract.settings import (
    BlobSettings,
    DirectoryBlobs,
    EmbeddedLog,
    EmbeddedStore,
    EmbedderSettings,
    InProcessModel,
    LogSettings,
    ModelServerSettings,
    S3Blobs,
    StoreSettings,
    WorkerSettings,
)
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.failpoints import Failpoint, no_failpoint
from lectern_runtime.ports import BlobStore, Embedder, EmbeddingCache, Reranker, RewindableLog, VectorStore

if TYPE_CHECKING:
    from lectern_runtime.signing_keys import SigningKeys  # needs PyJWT, which the worker does not have


async def open_log(settings: LogSettings, data: DataDirectory | None, *, member: str | None = None) -> RewindableLog:
    """The log of `settings`; an embedded one needs a data directory, one on a cluster connects when it is used.

    `member` names this process in the groups that it joins; see `KafkaLog`.
    """
    if not isinstance(settings, EmbeddedLog):
        from lectern_runtime.adapters.kafka_log import KafkaLog

        return KafkaLog(settings, member=member)
    from lectern_runtime.adapters.sqlite_log import SqliteLog

    return await SqliteLog.open(_needed(data, "log").log_path)


async def open_blobs(settings: BlobSettings, data: DataDirectory | None) -> BlobStore:
    """The blob store of `settings`: a bucket, asked when it is used, a mounted volume, or the data directory."""
    if isinstance(settings, S3Blobs):
        from lectern_runtime.adapters.s3 import S3BlobStore

        return S3BlobStore.open(settings)
    from lectern_runtime.adapters import directory

    path = Path(settings.path) if settings.path else _needed(data, "blob store").blobs_path
    return await directory.DirectoryBlobs.open(path)


async def open_store(
    settings: StoreSettings, data: DataDirectory | None, *, failpoint: Failpoint = no_failpoint
) -> VectorStore:
    """The vector store of `settings`; an embedded one needs a data directory, one on a cluster connects when asked."""
    if not isinstance(settings, EmbeddedStore):
        # Beside the event loop, which answers probes meanwhile: the client takes a second or two to load.
        qdrant = await asyncio.to_thread(importlib.import_module, "lectern_runtime.adapters.qdrant")
        opened: VectorStore = qdrant.QdrantVectorStore.open(settings, failpoint=failpoint)
        return opened
    from lectern_runtime.adapters.edge import EdgeStore

    return await EdgeStore.open(_needed(data, "vector store").store_path, failpoint=failpoint)


def open_embedder(settings: EmbedderSettings) -> Embedder:
    """The embedding model of `settings`: a server by its protocol, or the one in process, MiniLM and no other."""
    if isinstance(settings.source, ModelServerSettings):
        from lectern_runtime.adapters import openai_embeddings, tei

        if settings.source.protocol == "TEI":
            return tei.TeiEmbedder.open(settings, settings.source)
        return openai_embeddings.OpenAiEmbedder.open(settings, settings.source)
    check_embedder(settings)
    from lectern_runtime.adapters import onnx

    return onnx.OnnxMiniLm.open()


def open_reranker(settings: RerankerSettings) -> Reranker:
    """The reranker of `settings`, a server by its protocol; connects when it is asked."""
    from lectern_runtime.adapters import rerankers

    return rerankers.ServerReranker.open(settings)


def open_embedding_cache(settings: WorkerSettings) -> list[EmbeddingCache]:
    """The tiers of the embedding cache of `settings`, in the order in which they are asked; none where it is off."""
    cache, tiers = settings.embedding_cache, list[EmbeddingCache]()
    if cache.max_entries:
        from lectern_runtime.adapters.memory_vectors import MemoryVectors

        tiers.append(MemoryVectors(max_entries=cache.max_entries, ttl_seconds=cache.ttl_seconds))
    if cache.redis is not None:
        from lectern_runtime.adapters.redis_vectors import RedisVectors

        shared = RedisVectors.open(
            cache.redis,
            namespace=settings.namespace,
            dimensions=settings.embedder.dimensions,
            ttl_seconds=cache.ttl_seconds,
        )
        tiers.append(shared)
    return tiers


def open_signing_keys(settings: AuthSettings) -> SigningKeys | None:
    """The keys of the issuer of `settings`, asked when a token needs them; None where no tokens are declared."""
    if settings.jwt is None:
        return None
    from lectern_runtime.adapters.jwks import JwksKeys

    return JwksKeys.open(settings.jwt.jwks_url)


def check_embedder(settings: EmbedderSettings) -> None:
    """Raise `ConfigurationError` when the model in this process is not the one that is asked for."""
    if not isinstance(settings.source, InProcessModel):
        _refuse("spec.embedding.server in one process", "leave spec.embedding.server out to embed in process")
    from lectern_runtime.adapters import minilm_files, onnx

    own, limit = minilm_files.MODEL, onnx.MAX_INPUT_TOKENS
    fits = settings.model in (own, own.rpartition("/")[2]) and settings.dimensions == onnx.DIMENSIONS
    if not fits or settings.max_input_tokens > limit:
        raise ConfigurationError(
            f"spec.embedding asks for {settings.model} with {settings.dimensions} dimensions and up to "
            f"{settings.max_input_tokens} tokens; the model in this process is {own} with {onnx.DIMENSIONS} dimensions "
            f"and up to {limit} tokens. Write that one, or set spec.embedding.server on a cluster"
        )


def check_embedded(settings: WorkerSettings) -> None:
    """Raise `ConfigurationError` unless all that the settings ask for is in this process."""
    check_embedder(settings.embedder)
    for asked, embedded, field in (
        (settings.log, EmbeddedLog, "spec.messaging"),
        (settings.blobs, DirectoryBlobs, "spec.blobStore.s3"),
        (settings.store, EmbeddedStore, "spec.vectorStore"),
        (settings.embedding_cache.redis, NoneType, "spec.embedding.cache.redis"),
    ):
        if not isinstance(asked, embedded):
            _refuse(f"KnowledgeBase/{settings.knowledge_base}: {field}", "leave it out for the embedded mode")


def _needed(data: DataDirectory | None, what: str) -> DataDirectory:
    if data is None:
        raise ConfigurationError(
            f"the settings name no server for the {what} and this program has no data directory; "
            "on a cluster set spec.messaging, spec.vectorStore and spec.blobStore"
        )
    return data


def _refuse(field: str, advice: str) -> NoReturn:
    raise ConfigurationError(f"{field} is not for one process, which brings its own; {advice}")
