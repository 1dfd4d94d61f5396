"""The vector store of a cluster: a Qdrant server of version 1.19 or newer, as the `VectorStore` of worker and query.

Collections, shard keys and aliases are the operator's: this store looks at them and never makes, changes or removes
one, so that a runtime's key needs no right to. Documents are written by the protocol of `ports.VectorStore`,
in the target's shards where it has any, else in the fallback's.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from qdrant_client import AsyncQdrantClient, models

from lectern_contract.collection import DENSE, SPARSE, Owner
from lectern_contract.ids import DocumentId
from lectern_contract.payload import DocumentRecord, DocumentState, Field, PayloadKind
from lectern_contract.scope import Scope
from lectern_contract.settings import QdrantStore
from lectern_runtime.adapters import qdrant_filters, qdrant_points, qdrant_search, stored_points
from lectern_runtime.adapters.qdrant_connection import QdrantConnection
from lectern_runtime.adapters.qdrant_routes import Route, route_of, routes
from lectern_runtime.adapters.store_calls import check_documents
from lectern_runtime.errors import CollectionMismatch, CollectionUnknown, StoreError
from lectern_runtime.failpoints import Failpoint, no_failpoint
from lectern_runtime.ports import CollectionInfo, CollectionSpec, DocumentWrite, Hit, SearchRequest, WriteResult

KNOWN_SECONDS = 30.0
"""How long what a collection was made for is believed before it is read again."""
MOST_KNOWN = 64
_PAGE = 500
_ADVICE = "collections and aliases of a cluster are the operator's; see the status of the knowledge base"


class QdrantVectorStore:
    """Collections of one Qdrant server. Every call is bounded in time and raises StoreError for the server's faults."""

    def __init__(
        self,
        settings: QdrantStore,
        connection: QdrantConnection,
        clock: Callable[[], float] = time.monotonic,
        *,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._connection = connection
        self._failpoint = failpoint
        self._shard_by = settings.shard_by
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, CollectionSpec]] = OrderedDict()

    @classmethod
    def open(cls, settings: QdrantStore, *, failpoint: Failpoint = no_failpoint) -> QdrantVectorStore:
        """Return the store of `settings`; the server is not asked before the first call."""
        return cls(settings, QdrantConnection(settings), failpoint=failpoint)

    async def close(self) -> None:
        """Close the connections; a second call does nothing."""
        await self._connection.close()

    # ----------------------------------------------------------------------------- administrative

    async def ensure_collection(self, spec: CollectionSpec) -> None:
        """Check that the collection is there and is what `spec` says.

        Raises CollectionUnknown while the operator has not made it, and CollectionMismatch when it is something else.
        """
        found = await self._read_spec(spec.name)
        if found is None:
            raise CollectionUnknown(spec.name)
        if found != spec:
            raise CollectionMismatch(
                f"collection {spec.name!r} exists with {found} and cannot become {spec}; start a new index generation"
            )

    async def describe(self, collection: str) -> CollectionInfo | None:
        """What the collection is and how many points it holds over all shard keys, or None."""
        spec = await self._read_spec(collection)
        if spec is None:
            return None
        chunks, records = await asyncio.gather(
            *(self._count(collection, kind) for kind in (PayloadKind.CHUNK, PayloadKind.RECORD))
        )
        return CollectionInfo(spec, chunks, records)

    async def drop_collection(self, collection: str) -> None:
        """Refuse: raises StoreError."""
        _refuse(f"collection {collection!r} is not removed by a runtime")

    async def point_alias(self, alias: str, collection: str) -> None:
        """Refuse: raises StoreError."""
        _refuse(f"alias {alias!r} is not pointed to {collection!r} by a runtime")

    async def resolve_alias(self, alias: str) -> str | None:
        """The collection behind `alias`, or None."""
        return (await self.aliases()).get(alias)

    async def aliases(self) -> Mapping[str, str]:
        """All aliases with their collections."""
        listed = await self._connection.read(None, lambda client: client.get_aliases())
        return {each.alias_name: each.collection_name for each in listed.aliases}

    async def count_documents(self, collection: str) -> Mapping[DocumentState, int]:
        """Document records by state; every state is named. A partition that moves is counted twice meanwhile."""
        wanted = qdrant_filters.points_of_kind(PayloadKind.RECORD)
        facet = await self._connection.read(
            collection,
            lambda client: client.facet(
                collection, key=Field.STATE, facet_filter=wanted, limit=len(DocumentState), exact=True
            ),
        )
        counts = {str(hit.value): hit.count for hit in facet.hits}
        return {state: counts.get(state.value, 0) for state in DocumentState}

    # ------------------------------------------------------------------------------------- scoped

    async def search(self, collection: str, scope: Scope, request: SearchRequest) -> Sequence[Hit]:
        """Best chunks of the scope first; raises CollectionUnknown or VectorInvalid."""
        spec = await self._spec(collection)
        return await qdrant_search.search(self._connection, spec, collection, self._shard_by, scope, request)

    async def get_records(
        self, collection: str, scope: Scope, documents: Collection[DocumentId]
    ) -> Mapping[DocumentId, DocumentRecord]:
        """The records of those of these documents that have one."""
        found: dict[DocumentId, DocumentRecord] = {}
        for way in routes(scope, self._shard_by):
            wanted = qdrant_filters.records_of(way.scope, documents)
            async for point in self._scroll(collection, way, wanted, payload=True):
                found[DocumentId(str(point.id))] = stored_points.read_record(point.payload)
        return found

    async def known_vectors(
        self, collection: str, scope: Scope, document: DocumentId
    ) -> Mapping[str, NDArray[np.float32]]:
        """Dense vectors, shape (dimensions,), of the document's stored chunks by text digest."""
        found: dict[str, NDArray[np.float32]] = {}
        for way in routes(scope, self._shard_by):
            wanted = qdrant_filters.chunks_of(way.scope, document)
            async for point in self._scroll(collection, way, wanted, payload=[Field.TEXT_DIGEST], vectors=[DENSE]):
                found[point.payload[Field.TEXT_DIGEST]] = np.array(point.vector[DENSE], np.float32)
        return found

    async def list_records(
        self, collection: str, scope: Scope, *, after: DocumentId | None, limit: int
    ) -> Sequence[DocumentRecord]:
        """At most `limit` records in order of document id, beginning after `after`."""

        async def of(way: Route) -> list[DocumentRecord]:
            wanted = qdrant_filters.records_of_scope(way.scope)
            records: list[DocumentRecord] = []
            # One more than asked for: the server begins at `after` itself.
            async for point in self._scroll(collection, way, wanted, payload=True, first=after, page=limit + 1):
                if str(point.id) != after:
                    records.append(stored_points.read_record(point.payload))
                if len(records) >= limit:
                    break
            return records

        found = await asyncio.gather(*(of(way) for way in routes(scope, self._shard_by)))
        return sorted((each for part in found for each in part), key=lambda record: record.document_id)[:limit]

    async def write_documents(
        self, collection: str, scope: Scope, writes: Sequence[DocumentWrite]
    ) -> Sequence[WriteResult]:
        """Make the store show these versions of the documents; raises VectorInvalid before anything is written."""
        check_documents(scope, writes)
        spec = await self._spec(collection)
        way = Route(scope, route_of(scope.partition, self._shard_by))
        # The server applies the operations of a request in their order, and requests go one after another.
        steps = [step for each in writes for step in qdrant_points.steps(each, spec, way)]
        for request in qdrant_points.requests(steps):
            # What goes in one request is come past before it: a server that dies in its midst is another test.
            for name in dict.fromkeys(step.failpoint for step in request):
                self._failpoint(name)
            await self._update(collection, [step.operation for step in request])
        self._failpoint("read-back")
        newest = await self._versions(collection, way, [each.record.document_id for each in writes])
        if len(newest) < len(writes):
            lost = next(each.record.document_id for each in writes if each.record.document_id not in newest)
            raise StoreError(f"collection {collection!r}: document {lost} has no record after it was written")
        late = {each.record.document_id for each in writes if newest[each.record.document_id] > each.record.version}
        if late:
            # A guarded upsert still inserts chunks whose ids were absent; they would be found beside the newer version.
            self._failpoint("withdraw-late")
            await self._remove_before(collection, way, {document: newest[document] for document in late})
        return [WriteResult(each.record.document_id in late) for each in writes]

    async def remove_outdated(self, collection: str, scope: Scope, documents: Collection[DocumentId]) -> None:
        """Remove chunks of these documents that are older than their records."""
        way = Route(scope, route_of(scope.partition, self._shard_by))
        await self._remove_before(collection, way, await self._versions(collection, way, documents))

    # ------------------------------------------------------------------------------------- inside

    async def _spec(self, name: str) -> CollectionSpec:
        """What the collection behind a name or an alias was made for; raises CollectionUnknown."""
        known = self._known.get(name)
        if known is not None and self._clock() - known[0] < KNOWN_SECONDS:
            return known[1]
        spec = await self._read_spec(name)
        if spec is None:
            self._known.pop(name, None)
            raise CollectionUnknown(name)
        self._known[name] = (self._clock(), spec)
        self._known.move_to_end(name)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return spec

    async def _read_spec(self, name: str) -> CollectionSpec | None:
        try:
            info = await self._connection.read(name, lambda client: client.get_collection(name))
        except CollectionUnknown:
            return None
        owner = Owner.of(info.config.metadata)
        vectors = info.config.params.vectors
        dense = vectors.get(DENSE) if isinstance(vectors, dict) else None
        if owner is None or dense is None:
            raise CollectionMismatch(f"collection {name!r} of the vector store was not made by Lectern; {_ADVICE}")
        sparse = SPARSE in (info.config.params.sparse_vectors or {})
        return CollectionSpec(name, dense.size, sparse, owner.index_identity)

    async def _count(self, collection: str, kind: PayloadKind) -> int:
        wanted = qdrant_filters.points_of_kind(kind)
        counted = await self._connection.read(collection, lambda client: client.count(collection, wanted, exact=True))
        return counted.count

    async def _versions(self, collection: str, way: Route, documents: Collection[DocumentId]) -> dict[DocumentId, int]:
        """The versions of the records of those of these documents that have one."""
        wanted = qdrant_filters.records_by_id(way.scope, documents)
        return {
            DocumentId(str(point.id)): stored_points.read_version(point.payload)
            async for point in self._scroll(collection, way, wanted, payload=[Field.VERSION])
        }

    async def _remove_before(self, collection: str, way: Route, versions: Mapping[DocumentId, int]) -> None:
        removals = [qdrant_points.removal(document, version, way) for document, version in versions.items()]
        for start in range(0, len(removals), qdrant_points.MOST_POINTS):
            await self._update(collection, removals[start : start + qdrant_points.MOST_POINTS])

    async def _update(self, collection: str, operations: list[Any]) -> None:
        async def update(client: AsyncQdrantClient) -> None:
            await client.batch_update_points(collection, operations, wait=True, ordering=models.WriteOrdering.STRONG)

        await self._connection.write(collection, update)

    async def _scroll(
        self,
        collection: str,
        way: Route,
        wanted: models.Filter,
        *,
        payload: bool | list[str],
        vectors: list[str] | None = None,
        first: str | None = None,
        page: int = _PAGE,
    ) -> AsyncIterator[Any]:
        offset: Any = first
        while True:
            points, following = await self._connection.read(
                collection,
                lambda client, start=offset: client.scroll(  # type: ignore[misc] # the default binds the loop's value
                    collection,
                    scroll_filter=wanted,
                    limit=min(page, _PAGE),
                    offset=start,
                    with_payload=payload,
                    with_vectors=vectors or False,
                    shard_key_selector=way.selector,
                ),
            )
            for point in points:
                yield point
            if following is None:
                return
            offset = following


def _refuse(what: str) -> NoReturn:
    raise StoreError(f"{what}: {_ADVICE}")
