"""A tiny world of documents for the vector store's contract: words instead of a model, so scores can be foretold.

A text's dense vector is the direction of its word counts in 16 dimensions, its sparse vector the counts themselves.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lectern_contract.ids import DocumentId, chunk_id, document_id, text_digest
from lectern_contract.payload import ChunkPayload, DocumentRecord, DocumentState, MetadataValue
from lectern_contract.scope import Partition, Principal, Scope
from lectern_runtime.ports import Chunk, DocumentWrite, SearchRequest, SparseVector, VectorStore, WriteResult

DIMENSIONS = 16
PARTITION = Partition("acme", "public")
LEVELS = ("internal", "public", "secret")


def dense(text: str) -> NDArray[np.float32]:
    """Direction of the text's word counts, shape (16,), length 1."""
    vector = np.zeros(DIMENSIONS, np.float32)
    for word, count in Counter(text.split()).items():
        vector[zlib.crc32(word.encode()) % DIMENSIONS] += count
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def sparse(text: str) -> SparseVector:
    """The text's word counts."""
    counts = sorted((zlib.crc32(word.encode()), float(count)) for word, count in Counter(text.split()).items())
    return SparseVector(tuple(term for term, _ in counts), tuple(count for _, count in counts))


def doc(uri: str, partition: Partition = PARTITION) -> DocumentId:
    """Identity of the document `uri` in a partition."""
    return document_id(
        namespace="ns",
        knowledge_base="kb",
        tenant=partition.tenant,
        access_level=partition.access_level,
        source="files",
        uri=uri,
    )


def texts_of(version: int) -> list[str]:
    """The text of a document's version; lengths go up and down."""
    return [f"alpha {version} {number}" for number in range(version * 7 % 40)]


def record(
    uri: str,
    version: int,
    *,
    partition: Partition = PARTITION,
    state: DocumentState = DocumentState.INDEXED,
    chunks: int = 0,
) -> DocumentRecord:
    """The record of one version of a document."""
    return DocumentRecord(
        tenant=partition.tenant,
        access_level=partition.access_level,
        document_id=doc(uri, partition),
        version=version,
        source="files",
        uri=uri,
        title=uri.upper(),
        state=state,
        sha256="ab" * 32 if state is DocumentState.INDEXED else "",
        chunks=chunks,
    )


def chunk(
    uri: str,
    number: int,
    text: str,
    version: int,
    *,
    partition: Partition = PARTITION,
    metadata: Mapping[str, MetadataValue] | None = None,
    vector: NDArray[np.float32] | None = None,
    with_sparse: bool = True,
) -> Chunk:
    """One chunk of a document."""
    document = doc(uri, partition)
    payload = ChunkPayload(
        tenant=partition.tenant,
        access_level=partition.access_level,
        document_id=document,
        version=version,
        source="files",
        uri=uri,
        title=uri.upper(),
        number=number,
        text=text,
        text_digest=text_digest(text),
        section="Top > Part",
        page=number + 1,
        start=10 * number,
        end=10 * number + len(text),
        tokens=len(text.split()),
        metadata=dict(metadata or {}),
    )
    return Chunk(
        chunk_id(document, number),
        payload,
        dense(text) if vector is None else vector,
        sparse(text) if with_sparse else None,
    )


def writer(partition: Partition = PARTITION) -> Scope:
    """Scope of the worker that writes one partition."""
    return Scope.of_writer(partition)


def reader(
    tenant: str = PARTITION.tenant,
    levels: Sequence[str] = LEVELS,
    filters: Mapping[str, tuple[str | int | bool, ...]] | None = None,
) -> Scope:
    """Scope of a reader of some levels; any field named in `filters` counts as filterable."""
    principal = Principal("someone", tenant, frozenset(levels))
    return Scope.of_reader(principal, known_levels=LEVELS, filters=filters, filterable=tuple(filters or ()))


async def put(
    store: VectorStore,
    collection: str,
    uri: str,
    texts: Sequence[str],
    version: int = 1,
    *,
    partition: Partition = PARTITION,
    metadata: Mapping[str, MetadataValue] | None = None,
) -> WriteResult:
    """Write one version of a document, a chunk for each text."""
    chunks = [
        chunk(uri, number, text, version, partition=partition, metadata=metadata) for number, text in enumerate(texts)
    ]
    written = record(uri, version, partition=partition, chunks=len(chunks))
    return await write(store, collection, written, chunks)


async def delete(
    store: VectorStore, collection: str, uri: str, version: int, *, partition: Partition = PARTITION
) -> WriteResult:
    """Write the deletion of a document."""
    gone = record(uri, version, partition=partition, state=DocumentState.DELETED)
    return await write(store, collection, gone)


def hybrid(text: str, *, candidates: int = 50, limit: int = 10, rrf_k: int = 2, weight: float = 1.5) -> SearchRequest:
    """A hybrid search for a text."""
    return SearchRequest("Hybrid", dense(text), sparse(text), candidates, limit, rrf_k, weight)


def by_meaning(text: str, *, limit: int = 10) -> SearchRequest:
    """A dense search for a text."""
    return SearchRequest("Dense", dense(text), None, limit, limit, 2, 1.0)


def by_terms(text: str, *, limit: int = 10) -> SearchRequest:
    """A sparse search for a text."""
    return SearchRequest("Sparse", None, sparse(text), limit, limit, 2, 1.0)


async def write(
    store: VectorStore, collection: str, written: DocumentRecord, chunks: Sequence[Chunk] = ()
) -> WriteResult:
    """Write one document in its own partition."""
    scope = writer(Partition(written.tenant, written.access_level))
    (result,) = await store.write_documents(collection, scope, [DocumentWrite(written, chunks)])
    return result


async def stored(store: VectorStore, collection: str, uri: str) -> DocumentRecord | None:
    """The record of a document as its writer sees it."""
    return (await store.get_records(collection, writer(), [doc(uri)])).get(doc(uri))
