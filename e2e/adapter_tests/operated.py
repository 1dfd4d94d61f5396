"""A store as a runtime has it, beside an operator that makes what the runtime may not: both programs, one server."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from qdrant_client import AsyncQdrantClient

from lectern_contract import collection as contract
from lectern_contract.collection import Collection, Owner, Shape
from lectern_contract.resources import KnowledgeBase
from lectern_contract.settings import QdrantStore
from lectern_operator.clients.qdrant import Stores, StoreServer
from lectern_operator.facts import Known
from lectern_operator.facts.vector_store import CreateCollection, CreateIndexes, CreateShardKeys, SetAlias, Step
from lectern_operator_tests.store_stage import knowledge_base
from lectern_runtime.adapters.qdrant import QdrantVectorStore
from lectern_runtime.adapters.qdrant_connection import QdrantConnection
from lectern_runtime.errors import CollectionUnknown
from lectern_runtime.ports import CollectionSpec

INDEXED_SECONDS = 20.0


class OperatedStore(QdrantVectorStore):
    """What is administrative is the operator's client's to do; all else is the runtime's store, as it is."""

    def __init__(self, url: str, api_key: str | None, settings: QdrantStore, kb: KnowledgeBase | None = None) -> None:
        super().__init__(settings, QdrantConnection(settings))
        self._kb = kb or knowledge_base()
        self._server = StoreServer(url, api_key)
        self._operator = Stores()
        headers = {"api-key": api_key} if api_key else None
        self.qdrant = AsyncQdrantClient(url=url, headers=headers, timeout=30, check_compatibility=False)

    async def close(self) -> None:
        """Close the store and what the operator has open."""
        await super().close()
        await self._operator.close()
        await self.qdrant.close()

    async def ensure_collection(self, spec: CollectionSpec) -> None:
        """Make the collection as the operator does, unless it is there, and let the runtime check it."""
        if await self.describe(spec.name) is None:
            wanted = self._wanted(spec)
            await self.perform(CreateCollection(wanted))
            await self.perform(CreateShardKeys(spec.name, contract.shard_keys(self._kb)))
            await self.perform(CreateIndexes(spec.name, wanted.indexes))
            await self._indexed(wanted)
        await super().ensure_collection(spec)

    async def drop_collection(self, collection: str) -> None:
        """Remove the collection, and with it its aliases."""
        await self.qdrant.delete_collection(collection)

    async def point_alias(self, alias: str, collection: str) -> None:
        """Switch the alias as the operator does."""
        if await self.describe(collection) is None:
            raise CollectionUnknown(collection)
        await self.perform(SetAlias(alias, collection, await self.resolve_alias(alias)))

    async def perform(self, step: Step) -> None:
        """Let the operator take a step."""
        done = await self._operator.perform(self._server, step)
        assert isinstance(done, Known), done

    def _wanted(self, spec: CollectionSpec) -> Collection:
        like = contract.collection(self._kb, generation=1, dimensions=spec.dimensions)
        return replace(
            like,
            name=spec.name,
            owner=Owner(self._kb.namespace, self._kb.name, 1, spec.identity),
            shape=Shape(spec.dimensions, contract.DISTANCE, spec.sparse, custom_sharding=True),
        )

    async def _indexed(self, wanted: Collection) -> None:
        """Wait for the indexes, which the operator does not wait for."""
        end = time.monotonic() + INDEXED_SECONDS
        while {each.field for each in wanted.indexes} - set(
            (await self.qdrant.get_collection(wanted.name)).payload_schema
        ):
            assert time.monotonic() < end, "the indexes are not made"
            await asyncio.sleep(0.05)
