"""One collection of the embedded vector store: a shard of Qdrant's engine, the write protocol and exact search.

`edge.py` opens it and makes every call in its one thread, so nothing here is concurrent, and a search never sees a
document half written. The engine's facts that shape this file are in docs/adr/0005-embedded-adapters.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from qdrant_edge import (
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    FacetRequest,
    Filter,
    IdfParams,
    Modifier,
    PayloadSchemaType,
    Point,
    Query,
    QueryRequest,
    ScrollRequest,
    SearchParams,
    UpdateOperation,
)

from lectern_contract.collection import DENSE, SPARSE
from lectern_contract.ids import ChunkId, DocumentId
from lectern_contract.payload import INDEXED, DocumentRecord, DocumentState, Field, PayloadKind
from lectern_contract.scope import Scope
from lectern_runtime.adapters import edge_filters, edge_points, stored_points
from lectern_runtime.adapters.edge_log import EngineLog
from lectern_runtime.adapters.rank_fusion import fuse
from lectern_runtime.adapters.store_calls import check_documents, check_request
from lectern_runtime.errors import StoreError
from lectern_runtime.failpoints import Failpoint, no_failpoint
from lectern_runtime.ports import CollectionInfo, CollectionSpec, DocumentWrite, Hit, Scores, SearchRequest, WriteResult

P = ParamSpec("P")
R = TypeVar("R")

# No HNSW: building it holds the interpreter lock for minutes, and exact search of 20,000 vectors takes 5 ms.
_NEVER_INDEX = 10_000_000  # KB
_POINTS_AT_ONCE = 256  # of one write-ahead log entry: about 1 MB
_POINTS_BETWEEN_FLUSHES = 10_000  # a flush stops the interpreter for 0.2 to 0.4 s and lets the log be trimmed
_OVERFETCH = 8  # equal scores come in random order; these few more usually show where the run of them ends
_MOST_FETCHED = 10_000  # of equal scores; beyond, which of them are chosen is left to the engine
_PAGE = 500
_SCHEMA = {"keyword": PayloadSchemaType.Keyword, "integer": PayloadSchemaType.Integer}


class EdgeCollection:
    """An open shard. Not safe for threads; every error of the engine comes out as StoreError."""

    def __init__(self, spec: CollectionSpec, path: Path, shard: EdgeShard, failpoint: Failpoint = no_failpoint) -> None:
        self.spec = spec
        self._failpoint = failpoint
        self._log = EngineLog(path / "wal")
        self._shard = shard
        self._unflushed = 0

    @classmethod
    def create(cls, spec: CollectionSpec, path: Path, failpoint: Failpoint = no_failpoint) -> EdgeCollection:
        """Make the shard in the new directory `path`, with the payload indexes."""
        path.mkdir(parents=True)
        collection = cls(spec, path, _engine(spec.name, EdgeShard.create, str(path), _config(spec)), failpoint)
        for name, kind in INDEXED.items():
            collection._update(UpdateOperation.create_field_index(name, _SCHEMA[kind]))
        collection._call(collection._shard.flush)
        return collection

    @classmethod
    def load(cls, spec: CollectionSpec, path: Path, failpoint: Failpoint = no_failpoint) -> EdgeCollection:
        """Open the shard at `path`, replay what was not flushed, and give back the space of deleted points."""
        collection = cls(spec, path, _engine(spec.name, EdgeShard.load, str(path), _config(spec)), failpoint)
        collection._call(collection._shard.optimize)
        return collection

    def close(self) -> None:
        """Flush and close the shard."""
        self._call(self._shard.flush)
        self._call(self._shard.close)

    # ------------------------------------------------------------------------------------- reading

    def describe(self) -> CollectionInfo:
        """Spec and number of points of each kind."""
        chunks, records = (
            self._call(self._shard.count, CountRequest(exact=True, filter=edge_filters.points_of_kind(kind)))
            for kind in (PayloadKind.CHUNK, PayloadKind.RECORD)
        )
        return CollectionInfo(self.spec, chunks, records)

    def count_documents(self) -> dict[DocumentState, int]:
        """Document records by state, every state named."""
        request = FacetRequest(
            Field.STATE, len(DocumentState), exact=True, filter=edge_filters.points_of_kind(PayloadKind.RECORD)
        )
        counts = {str(hit.value): hit.count for hit in self._call(self._shard.facet, request).hits}
        return {state: counts.get(state.value, 0) for state in DocumentState}

    def search(self, scope: Scope, request: SearchRequest) -> list[Hit]:
        """The best `request.limit` chunks of the scope; payloads are read for these only."""
        check_request(request)
        visible = edge_filters.chunks_of_scope(scope)
        ranked = self._ranked(visible, request)[: request.limit]
        if not ranked:
            return []
        ids: list[Any] = [id_ for id_, _ in ranked]
        stored = self._call(self._shard.retrieve, ids, True, False)
        payloads = {str(point.id): stored_points.read_chunk(point.payload) for point in stored}
        newest = self._versions(scope, {each.document_id for each in payloads.values()})
        return [
            Hit(ChunkId(id_), payloads[id_], scores)
            for id_, scores in ranked
            if not stored_points.is_outdated(payloads[id_], newest)
        ]

    def get_records(self, scope: Scope, documents: Collection[DocumentId]) -> dict[DocumentId, DocumentRecord]:
        """The records of those of these documents that have one."""
        wanted = edge_filters.records_of(scope, documents)
        return {
            DocumentId(str(point.id)): stored_points.read_record(point.payload)
            for point in self._scroll(wanted, payload=True)
        }

    def _versions(self, scope: Scope, documents: Collection[DocumentId]) -> dict[str, int]:
        """The versions of these documents' records."""
        wanted = edge_filters.records_by_id(scope, documents)
        return {
            str(point.id): stored_points.read_version(point.payload)
            for point in self._scroll(wanted, payload=[Field.VERSION])
        }

    def known_vectors(self, scope: Scope, document: DocumentId) -> dict[str, NDArray[np.float32]]:
        """Dense vectors, shape (dimensions,), of the document's chunks by text digest."""
        stored = self._scroll(edge_filters.chunks_of(scope, document), payload=[Field.TEXT_DIGEST], vectors=[DENSE])
        return {point.payload[Field.TEXT_DIGEST]: np.array(point.vector[DENSE], np.float32) for point in stored}

    def list_records(self, scope: Scope, *, after: DocumentId | None, limit: int) -> list[DocumentRecord]:
        """Records in order of document id: the engine scrolls in the order of ids."""
        # One more than asked for: the engine begins at `after` itself.
        stored = self._scroll(edge_filters.records_of_scope(scope), payload=True, first=after, page=limit + 1)
        later = (point for point in stored if str(point.id) != after)
        return [stored_points.read_record(point.payload) for point in islice(later, limit)]

    # ------------------------------------------------------------------------------------- writing

    def write_documents(self, scope: Scope, writes: Sequence[DocumentWrite]) -> list[WriteResult]:
        """The protocol of ports.VectorStore.write_documents; returns when the engine's log is on the disk."""
        check_documents(scope, writes)
        made = [[edge_points.chunk_point(chunk, self.spec) for chunk in each.chunks] for each in writes]
        results = [self._write(scope, each.record, points) for each, points in zip(writes, made, strict=True)]
        self._make_durable(sum(map(len, made)) + len(made))
        return results

    def remove_outdated(self, scope: Scope, documents: Collection[DocumentId]) -> None:
        """Remove chunks of these documents that are older than their records."""
        for document, version in self._versions(scope, documents).items():
            self._remove_chunks_before(version, scope, DocumentId(document))
        self._make_durable(0)

    def _write(self, scope: Scope, record: DocumentRecord, points: Sequence[Point]) -> WriteResult:
        document, version = record.document_id, record.version
        guard = edge_filters.overwritable(scope, version=version)
        for start in range(0, len(points), _POINTS_AT_ONCE):
            self._failpoint("upsert")
            self._update(UpdateOperation.upsert_points(list(points[start : start + _POINTS_AT_ONCE]), guard))
        self._failpoint("delete-older")
        self._remove_chunks_before(version, scope, document)
        self._failpoint("record")
        self._update(UpdateOperation.upsert_points([edge_points.record_point(record)], guard))
        self._failpoint("read-back")
        newest = self._versions(scope, (document,)).get(document)
        if newest is None:
            raise StoreError(f"collection {self.spec.name!r}: document {document} has no record after it was written")
        superseded = newest > version
        if superseded:
            # A guarded upsert still inserts chunks whose ids were absent; they would be found beside the newer version.
            self._failpoint("withdraw-late")
            self._remove_chunks_before(newest, scope, document)
        return WriteResult(superseded)

    def _remove_chunks_before(self, version: int, scope: Scope, document: DocumentId) -> None:
        older = edge_filters.older_chunks_of(scope, document, version=version)
        self._update(UpdateOperation.delete_points_by_filter(older))

    def _make_durable(self, points: int) -> None:
        self._unflushed += points
        if self._unflushed >= _POINTS_BETWEEN_FLUSHES:
            self._call(self._shard.flush)
            self._unflushed = 0
        self._log.sync()

    # -------------------------------------------------------------------------------------- search

    def _ranked(self, visible: Filter, request: SearchRequest) -> list[tuple[str, Scores]]:
        match request.mode:
            case "Dense":
                return [(id_, Scores(dense=score)) for id_, score in self._dense(visible, request, request.limit)]
            case "Sparse":
                return [(id_, Scores(sparse=score)) for id_, score in self._sparse(visible, request, request.limit)]
            case "Hybrid":
                return fuse(
                    self._dense(visible, request, request.candidates),
                    self._sparse(visible, request, request.candidates),
                    k=request.rrf_k,
                    sparse_weight=request.sparse_weight,
                )

    def _dense(self, visible: Filter, request: SearchRequest, wanted: int) -> list[tuple[str, float]]:
        if request.dense is None:
            raise StoreError(f"a search of mode {request.mode} needs a dense vector")
        query = Query.Nearest(stored_points.dense_values(request.dense, self.spec, what="the question"), DENSE)
        found = self._nearest(query, visible, SearchParams(exact=True), wanted)
        return [(id_, max(-1.0, min(1.0, score))) for id_, score in found]

    def _sparse(self, visible: Filter, request: SearchRequest, wanted: int) -> list[tuple[str, float]]:
        if not self.spec.sparse:
            raise StoreError(
                f"a search of mode {request.mode} needs term weights, and collection {self.spec.name!r} was made "
                "without them; search in mode Dense"
            )
        if request.sparse is None:
            raise StoreError(f"a search of mode {request.mode} needs a sparse vector")
        query = Query.Nearest(edge_points.sparse_values(request.sparse, what="the question"), SPARSE)
        # How rare a term is must not tell, or depend on, what other readers have.
        return self._nearest(query, visible, SearchParams(exact=True, idf=IdfParams(corpus=visible)), wanted)

    def _nearest(self, query: Query, visible: Filter, params: SearchParams, wanted: int) -> list[tuple[str, float]]:
        """The best `wanted` points, equal scores by id; fetches on while equal scores cross the border."""
        limit = wanted + _OVERFETCH
        while True:
            request = QueryRequest(limit=limit, query=query, filter=visible, params=params)
            points = [(str(point.id), point.score) for point in self._call(self._shard.query, request)]
            points.sort(key=lambda point: (-point[1], point[0]))
            if len(points) < limit or points[-1][1] < points[wanted - 1][1] or limit >= _MOST_FETCHED:
                return points[:wanted]
            limit = min(8 * limit, _MOST_FETCHED)

    # -------------------------------------------------------------------------------------- engine

    def _scroll(
        self,
        wanted: Filter,
        *,
        payload: bool | list[str],
        vectors: list[str] | None = None,
        first: str | None = None,
        page: int = _PAGE,
    ) -> Iterator[Any]:
        while True:
            request = ScrollRequest(
                offset=first,
                limit=min(page, _PAGE),
                filter=wanted,
                with_payload=payload,
                with_vector=vectors or False,
            )
            points, following = self._call(self._shard.scroll, request)
            yield from points
            if following is None:
                return
            first = str(following)

    def _update(self, operation: UpdateOperation) -> None:
        self._call(self._shard.update, operation)

    def _call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return _engine(self.spec.name, function, *args, **kwargs)


def _engine(collection: str, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    try:
        return function(*args, **kwargs)
    except Exception as error:  # the engine raises bare Exception and nothing narrower
        raise StoreError(f"collection {collection!r}: the vector engine failed: {str(error)[:300]}") from error


def _config(spec: CollectionSpec) -> EdgeConfig:
    """Write-ahead log always on: without it a crash loses what was acknowledged, and two processes may write."""
    return EdgeConfig(
        vectors={DENSE: EdgeVectorParams(size=spec.dimensions, distance=Distance.Cosine)},
        sparse_vectors={SPARSE: EdgeSparseVectorParams(modifier=Modifier.Idf)} if spec.sparse else None,
        optimizers=EdgeOptimizersConfig(indexing_threshold=_NEVER_INDEX),
        wal_enabled=True,
    )
