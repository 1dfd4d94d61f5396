"""The embedded vector store: collections of chunks in this process, on Qdrant's own engine (Edge).

The composition of the embedded mode opens one for the worker and the query pipeline as their `VectorStore`. It
turns calls of the port into jobs of one thread that owns the catalogue and its collections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from lectern_contract.ids import DocumentId
from lectern_contract.payload import DocumentRecord, DocumentState
from lectern_contract.scope import Scope
from lectern_runtime.adapters.edge_catalogue import EdgeCatalogue
from lectern_runtime.errors import StoreError
from lectern_runtime.failpoints import Failpoint, no_failpoint
from lectern_runtime.ports import CollectionInfo, CollectionSpec, DocumentWrite, Hit, SearchRequest, WriteResult

P = ParamSpec("P")
R = TypeVar("R")


class EdgeStore:
    """The `VectorStore` of the embedded mode, for one process and up to some 100,000 chunks.

    One thread: the engine holds the interpreter lock in each call, so more would gain nothing, and with one a search
    never runs between two steps of a document's write. Searches wait for at most the writes before them.
    """

    def __init__(self, catalogue: EdgeCatalogue, thread: ThreadPoolExecutor) -> None:
        self._catalogue = catalogue
        self._thread = thread
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, failpoint: Failpoint = no_failpoint) -> EdgeStore:
        """Open the store in the directory `path`, which is made when it is absent.

        Raises DataDirectoryError when another process has it open or when its files are damaged.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="edge")
        try:
            catalogue = await asyncio.get_running_loop().run_in_executor(thread, EdgeCatalogue.open, path, failpoint)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(catalogue, thread)

    async def close(self) -> None:
        """Finish what runs, flush, and give the directory free; a second call does nothing."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._catalogue.close)
            self._thread.shutdown()

    # ----------------------------------------------------------------------------- administrative

    async def ensure_collection(self, spec: CollectionSpec) -> None:
        """Make the collection when it is absent; raises CollectionMismatch when it has another spec."""
        await self._run(self._catalogue.ensure, spec)

    async def describe(self, collection: str) -> CollectionInfo | None:
        """What the collection is and how many points it holds, or None."""

        def describe() -> CollectionInfo | None:
            return None if self._catalogue.spec(collection) is None else self._catalogue.get(collection).describe()

        return await self._run(describe)

    async def drop_collection(self, collection: str) -> None:
        """Remove the collection and the aliases that point to it."""
        await self._run(self._catalogue.drop, collection)

    async def point_alias(self, alias: str, collection: str) -> None:
        """Let `alias` stand for `collection`, atomically and durably; raises CollectionUnknown."""
        await self._run(self._catalogue.point_alias, alias, collection)

    async def resolve_alias(self, alias: str) -> str | None:
        """The collection behind `alias`, or None."""
        return (await self.aliases()).get(alias)

    async def aliases(self) -> Mapping[str, str]:
        """All aliases with their collections."""
        return await self._run(lambda: self._catalogue.aliases)

    async def count_documents(self, collection: str) -> Mapping[DocumentState, int]:
        """Document records by state; every state is named."""
        return await self._run(lambda: self._catalogue.get(collection).count_documents())

    # ------------------------------------------------------------------------------------- scoped

    async def search(self, collection: str, scope: Scope, request: SearchRequest) -> Sequence[Hit]:
        """Best chunks of the scope first, by exact search; raises CollectionUnknown or VectorInvalid."""
        return await self._run(lambda: self._catalogue.get(collection).search(scope, request))

    async def get_records(
        self, collection: str, scope: Scope, documents: Collection[DocumentId]
    ) -> Mapping[DocumentId, DocumentRecord]:
        """The records of those of these documents that have one."""
        return await self._run(lambda: self._catalogue.get(collection).get_records(scope, documents))

    async def known_vectors(
        self, collection: str, scope: Scope, document: DocumentId
    ) -> Mapping[str, NDArray[np.float32]]:
        """Dense vectors, shape (dimensions,), of the document's stored chunks by text digest."""
        return await self._run(lambda: self._catalogue.get(collection).known_vectors(scope, document))

    async def write_documents(
        self, collection: str, scope: Scope, writes: Sequence[DocumentWrite]
    ) -> Sequence[WriteResult]:
        """Make the store show these versions of the documents; raises VectorInvalid before anything is written."""
        return await self._run(lambda: self._catalogue.get(collection).write_documents(scope, writes))

    async def remove_outdated(self, collection: str, scope: Scope, documents: Collection[DocumentId]) -> None:
        """Remove chunks of these documents that are older than their records."""
        await self._run(lambda: self._catalogue.get(collection).remove_outdated(scope, documents))

    async def list_records(
        self, collection: str, scope: Scope, *, after: DocumentId | None, limit: int
    ) -> Sequence[DocumentRecord]:
        """At most `limit` records in order of document id, beginning after `after`."""
        return await self._run(lambda: self._catalogue.get(collection).list_records(scope, after=after, limit=limit))

    async def _run(self, job: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the job in the store's thread. A caller that is cancelled leaves it running to its end."""
        if self._closed:
            raise StoreError("the vector store was closed; open it again before further calls")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: job(*args, **kwargs))
        except OSError as error:
            raise StoreError(f"the vector store's files failed: {error}; check the disk's space and health") from error
