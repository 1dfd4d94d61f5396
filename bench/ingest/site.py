"""Where the benchmarks of ingestion happen: a data directory, or a real Kafka with a double of Qdrant.

Both give the settings of a worker and a log and a blob store to hand documents over with. On a cluster every
measurement has a knowledge base of its own, with topics and a collection that are made as the operator makes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import resources
from bench.ingest.documents import Teller
from e2e.adapter_tests.operated import OperatedStore
from e2e.testbed.errors import StartFailed
from lectern_contract import names, wiring
from lectern_contract.names import Topic
from lectern_contract.settings import DirectoryBlobs as BlobSettings
from lectern_contract.settings import KafkaLog as KafkaSettings
from lectern_contract.settings import QdrantStore as QdrantSettings
from lectern_contract.settings import WorkerSettings
from lectern_runtime import topics
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.adapters.directory import DirectoryBlobs
from lectern_runtime.adapters.kafka_log import KafkaLog
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.opening import Patience, Readiness
from lectern_runtime.ports import BlobStore, CollectionSpec, Log

PARTITIONS = 6
"""The default of `spec.messaging.partitions`."""
TOPIC_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Servers:
    """Addresses of a Kafka and of a Qdrant, and a directory that all may write into."""

    bootstrap: str
    qdrant: str
    directory: Path


@dataclass(frozen=True, slots=True)
class Site:
    """One knowledge base and the way to hand documents over to it."""

    settings: WorkerSettings
    log: Log
    blobs: BlobStore
    directory: Path

    @property
    def teller(self) -> Teller:
        """Return what says documents here."""
        return Teller(self.log, self.settings)


def embedded_settings(*, generation: int = 1) -> WorkerSettings:
    """Return the settings of a worker in the embedded mode: shipped defaults."""
    return wiring.worker_settings(resources.knowledge_base(), generation=generation)


@asynccontextmanager
async def embedded(directory: Path) -> AsyncIterator[Site]:
    """Open log and blobs of the data directory `directory`; a worker may have it once the block has ended."""
    settings = embedded_settings()
    async with AsyncExitStack() as stack:
        data = stack.enter_context(DataDirectory.open(directory, created_by="bench"))
        log = await SqliteLog.open(data.log_path)
        stack.push_async_callback(log.close)
        blobs = await DirectoryBlobs.open(data.blobs_path)
        stack.push_async_callback(blobs.close)
        await topics.ensure(log, settings.log, namespace=settings.namespace, knowledge_base=settings.knowledge_base)
        yield Site(settings, log, blobs, directory)


def cluster_settings(servers: Servers, name: str) -> WorkerSettings:
    """Return the settings of a worker of the knowledge base `name` on the servers: else shipped defaults."""
    kb = resources.knowledge_base()
    named = kb.model_copy(update={"metadata": kb.metadata.model_copy(update={"name": name})})
    return wiring.worker_settings(named, generation=1).model_copy(
        update={
            "log": KafkaSettings(
                bootstrap_servers=servers.bootstrap,
                security_protocol="PLAINTEXT",
                sasl_mechanism=None,
                username_file=None,
                password_file=None,
                ca_file=None,
            ),
            "store": QdrantSettings(
                url=servers.qdrant, shard_by="TenantAndAccessLevel", api_key_file=None, ca_file=None
            ),
            "blobs": BlobSettings(path=str(servers.directory / "blobs")),
        }
    )


@asynccontextmanager
async def cluster(servers: Servers, name: str) -> AsyncIterator[Site]:
    """Make topics and collection of the knowledge base `name`, and yield it until the block ends."""
    settings = cluster_settings(servers, name)
    async with AsyncExitStack() as stack:
        assert isinstance(settings.log, KafkaSettings)
        log = KafkaLog(settings.log)
        stack.push_async_callback(log.close)
        await _made_topics(log, settings)
        blobs = await DirectoryBlobs.open(servers.directory / "blobs")
        stack.push_async_callback(blobs.close)
        await _made_collection(settings)
        yield Site(settings, log, blobs, servers.directory / name)


async def _made_topics(log: KafkaLog, settings: WorkerSettings) -> None:
    """Make the four topics; a broker that has just come up may refuse for a while."""
    patience = Patience(Readiness())
    try:
        async with asyncio.timeout(TOPIC_SECONDS):
            for topic in Topic:
                make = partial(
                    log.ensure_topic,
                    names.topic(settings.namespace, settings.knowledge_base, topic),
                    partitions=PARTITIONS if topic is Topic.DOCUMENTS else 1,
                    compacted=topic is Topic.DOCUMENTS,
                )
                await patience.opened("log", make)
    except TimeoutError as error:
        raise StartFailed(f"the broker made no topics in {TOPIC_SECONDS:.0f} s: {patience.readiness.reason}") from error


async def _made_collection(settings: WorkerSettings) -> None:
    store = await opened_store(settings)
    try:
        collection = names.collection(settings.namespace, settings.knowledge_base, settings.generation)
        dimensions, identity = settings.embedder.dimensions, settings.index_identity
        await store.ensure_collection(
            CollectionSpec(collection, dimensions, settings.sparse_language is not None, identity)
        )
        await store.point_alias(names.alias(settings.namespace, settings.knowledge_base), collection)
    finally:
        await store.close()


async def opened_store(settings: WorkerSettings) -> OperatedStore:
    """Open the runtime's store on the double, with the operator's client for what is administrative."""
    assert isinstance(settings.store, QdrantSettings)
    return OperatedStore(settings.store.url, None, settings.store)
