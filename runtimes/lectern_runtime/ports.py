"""The five seams between the runtimes and the world: Log, BlobStore, VectorStore, AnswerCache, Models.

`ingest`, `embed` and `query` know only these; `adapters` implement them, embedded and real, and pass
one contract suite for each. Composition (which adapter for which port) happens in each program's main.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lectern_contract.ids import ChunkId, DocumentId
from lectern_contract.payload import ChunkPayload, DocumentRecord, DocumentState
from lectern_contract.scope import Scope

# ---------------------------------------------------------------------------------------------- log


@dataclass(frozen=True, slots=True)
class Position:
    """Place of a record: partition and offset, both from 0."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record to publish; equal keys keep their order."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was read. `time_ms` is when the log took it, in milliseconds since 1970 UTC."""

    position: Position
    key: str
    value: bytes
    time_ms: int


class Consumer(Protocol):
    """One member of a consumer group on one topic. Reads from the beginning where nothing is committed."""

    async def poll(self, *, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        """Next records in order within each partition; empty when none came in time.

        A record is given once to this member; after a restart reading goes on at the committed position.
        """

    def pause(self, partitions: Collection[int]) -> None:
        """Give out nothing of these partitions from now on, and of all others again; membership goes on."""

    async def commit(self, next_offsets: Mapping[int, int]) -> None:
        """Make durable, by partition, the offset of the next record to read. Never moves backwards."""

    def taken_over(self) -> frozenset[int]:
        """Partitions that came to this member since the last call, and that another process may have read before."""

    async def lag(self) -> int:
        """Records between the committed positions and the end of the topic."""

    async def close(self) -> None:
        """Leave the group; nothing is committed."""


class Log(Protocol):
    """Ordered, durable topics with consumer groups; a compacted topic may drop all but a key's newest record."""

    async def ensure_topic(self, topic: str, *, partitions: int, compacted: bool) -> None:
        """Make the topic when it is absent; an error when it exists with another number of partitions."""

    async def topic_id(self, topic: str) -> str:
        """Identity of the topic: another one after it was deleted and made anew."""

    async def publish(self, topic: str, records: Sequence[OutgoingRecord]) -> Sequence[Position]:
        """Append all records and return their positions once they are durable; all or none."""

    async def subscribe(self, topic: str, *, group: str | None) -> Consumer:
        """Join `group` on `topic`; without a group, read alone from the end on and commit nothing."""

    async def read_from_start(self, topic: str) -> Consumer:
        """Read all of `topic` alone, from its beginning on, and commit nothing."""

    async def lag(self, topic: str, *, group: str) -> int:
        """Records between what `group` committed and the end of the topic, read without joining the group."""

    async def close(self) -> None:
        """Release what the adapter holds."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a group stands in one partition; `committed` None where it committed nothing.

    The first record that is left is at `beginning`, the next one to come gets `end`. `since` is the first record of the
    moment that was asked for or later (`end` when there is none), None when none was asked for.
    """

    beginning: int
    end: int
    committed: int | None
    since: int | None = None


@dataclass(frozen=True, slots=True)
class GroupState:
    """A consumer group on one topic: who reads in it now, as a person can find them, and where it stands."""

    members: tuple[str, ...]
    partitions: Mapping[int, Standing]


class RewindableLog(Log, Protocol):
    """A log whose groups a person can send back: for a store that forgot what was written to it, never for a reader."""

    async def group_state(self, topic: str, *, group: str, since_ms: int | None = None) -> GroupState:
        """Who reads in `group`, and where it stands, asked without joining it; `since_ms` since 1970 UTC, from 0."""

    async def set_back(self, topic: str, *, group: str, to: Mapping[int, int]) -> None:
        """Let the group go on at these offsets, by partition, all durable when it returns; never moves forward.

        Raises `GroupInUse` and changes nothing while the group has members.
        """


# -------------------------------------------------------------------------------------------- blobs


class BlobStore(Protocol):
    """Bytes under their sha256, and a few named objects such as manifests."""

    async def put(self, data: bytes) -> str:
        """Store `data` durably and return its hex sha256; storing it again changes nothing."""

    async def get(self, sha256: str) -> bytes:
        """The bytes; raises `BlobMissing`, or `BlobDamaged` when they do not have that digest."""

    async def exists(self, sha256: str) -> bool:
        """Whether the bytes are there."""

    async def write_named(self, name: str, data: bytes) -> None:
        """Replace the object `name` atomically and durably."""

    async def read_named(self, name: str) -> bytes | None:
        """The object `name`, or None."""

    def list_named(self, prefix: str) -> AsyncIterator[str]:
        """Names of the objects that begin with `prefix`, in order; those made or removed meanwhile may be missed.

        `prefix` is one or more whole parts of names, each with its slash.
        """

    async def delete_named(self, name: str) -> None:
        """Remove the object `name`; nothing when there is none."""

    async def close(self) -> None:
        """Release what the adapter holds."""


# ------------------------------------------------------------------------------------- vector store

Vectors = NDArray[np.float32]
"""Dense vectors, shape (n, dimensions), each of length 1."""


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Term weights: `values[i]` belongs to the term with number `indices[i]` (unsigned, 32 bits, distinct)."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """What a collection is made for; `identity` is the index identity that its content has."""

    name: str
    dimensions: int
    sparse: bool
    identity: str


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a collection is, and how many points of each kind it holds."""

    spec: CollectionSpec
    chunks: int
    records: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk to store; `dense` has shape (dimensions,)."""

    id: ChunkId
    payload: ChunkPayload
    dense: NDArray[np.float32]
    sparse: SparseVector | None


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search. `Hybrid` fuses the dense list (weight 1) and the sparse list (weight `sparse_weight`).

    A passage at rank r (from 0) of a list with weight w scores 1 / ((r + 1) / w + rrf_k - 1), summed over
    the lists: reciprocal rank fusion (Cormack et al. 2009) in the engine's form.
    """

    mode: Literal["Hybrid", "Dense", "Sparse"]
    dense: NDArray[np.float32] | None
    sparse: SparseVector | None
    candidates: int
    limit: int
    rrf_k: int
    sparse_weight: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a hit, higher is better; None where that search did not return it.

    `dense` is the cosine (-1 to 1), `sparse` the BM25 score (0 and up), `fused` the sum above.
    """

    dense: float | None = None
    sparse: float | None = None
    fused: float | None = None
    rerank: float | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found."""

    id: ChunkId
    payload: ChunkPayload
    scores: Scores


@dataclass(frozen=True, slots=True)
class DocumentWrite:
    """One version of a document as the store is to show it: its record, and its chunks in order."""

    record: DocumentRecord
    chunks: Sequence[Chunk] = ()


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of a document write: `superseded` when the store had a newer version of it."""

    superseded: bool


class VectorStore(Protocol):
    """Collections of chunks and document records behind aliases.

    Every call about documents takes a `Scope` and touches nothing outside it; the others are
    administrative. Order of equal scores is by chunk id.
    """

    # administrative
    async def ensure_collection(self, spec: CollectionSpec) -> None:
        """Make the collection when it is absent; an error when it exists with another spec."""

    async def describe(self, collection: str) -> CollectionInfo | None:
        """What the collection is, or None when there is none."""

    async def drop_collection(self, collection: str) -> None:
        """Remove the collection; nothing when there is none."""

    async def point_alias(self, alias: str, collection: str) -> None:
        """Let `alias` stand for `collection`, atomically."""

    async def resolve_alias(self, alias: str) -> str | None:
        """The collection behind `alias`, or None."""

    async def aliases(self) -> Mapping[str, str]:
        """All aliases with their collections."""

    async def count_documents(self, collection: str) -> Mapping[DocumentState, int]:
        """Document records by state, over all partitions: for status and metrics only."""

    # scoped
    async def search(self, collection: str, scope: Scope, request: SearchRequest) -> Sequence[Hit]:
        """Best chunks first; `collection` may be an alias. Term rarity is that of the scope's own corpus.

        A chunk that is older than its document's record is never shown, whoever wrote it late.
        """

    async def get_records(
        self, collection: str, scope: Scope, documents: Collection[DocumentId]
    ) -> Mapping[DocumentId, DocumentRecord]:
        """The records of those of these documents that have one."""

    async def known_vectors(
        self, collection: str, scope: Scope, document: DocumentId
    ) -> Mapping[str, NDArray[np.float32]]:
        """Dense vectors of the document's stored chunks by text digest: equal text is not embedded again."""

    async def write_documents(
        self, collection: str, scope: Scope, writes: Sequence[DocumentWrite]
    ) -> Sequence[WriteResult]:
        """Make the store show exactly these versions of the documents, durably; one result for each, in order.

        For each document, in this order: upsert chunks (guarded: only over older versions), remove its older chunks,
        upsert the record (guarded), read it back; when a newer one stands there, remove what was written. A record
        in state Deleted or Failed has no chunks: this is also how a document is deleted. Redelivery of the same
        version changes nothing. No two writes are of one document. Where one cannot be done as it is asked, an
        error is raised before any is done; other errors may leave some done, and all may be asked for again.
        """

    async def remove_outdated(self, collection: str, scope: Scope, documents: Collection[DocumentId]) -> None:
        """Remove chunks of these documents that are older than their records: what came late of a writer that died."""

    async def list_records(
        self, collection: str, scope: Scope, *, after: DocumentId | None, limit: int
    ) -> Sequence[DocumentRecord]:
        """Records in order of document id, at most `limit`, beginning after `after`."""

    async def close(self) -> None:
        """Flush and release what the adapter holds."""


# ------------------------------------------------------------------------------------- answer cache


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer as it was given (JSON) and the documents behind it."""

    value: bytes
    documents: frozenset[DocumentId]


class AnswerCache(Protocol):
    """Answers by the key of `lectern_contract.cachekey`; expiry is absolute and a hit does not prolong it."""

    async def get(self, key: str) -> CachedAnswer | None:
        """The answer, unless it expired or one of its documents changed."""

    async def mark(self) -> int:
        """A point in the order of changes; take it before retrieval and hand it to `put`."""

    async def put(self, key: str, answer: CachedAnswer, *, ttl_seconds: float, since: int) -> bool:
        """Keep the answer unless one of its documents changed after `since`; when full, the oldest goes.

        Returns whether it was kept.
        """

    async def forget_document(self, document: DocumentId) -> int:
        """Drop every answer that this document stands behind; how many there were."""

    async def close(self) -> None:
        """Release what the adapter holds."""


# ------------------------------------------------------------------------------------------- models


@dataclass(frozen=True, slots=True)
class EmbedderInfo:
    """What an embedding server says of itself; limits in tokens count special ones."""

    model: str
    revision: str
    dimensions: int
    max_input_tokens: int
    max_batch_size: int
    max_batch_tokens: int


@runtime_checkable
class Embedder(Protocol):
    """A dense embedding model. Prefixes are the caller's: text is embedded as it is given."""

    async def info(self) -> EmbedderInfo:
        """Limits and identity of the model."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One row for each text, in order; raises `InputTooLong` rather than truncate."""

    async def tokenize(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        """For each text the character spans [start, end) of its tokens, without special ones."""

    async def close(self) -> None:
        """Release the model."""


class Reranker(Protocol):
    """A cross-encoder that reads a question together with a passage. What it has no room for, it reads no further."""

    async def scores(self, question: str, passages: Sequence[str]) -> Sequence[float]:
        """One number for each passage, in order: finite, 0 to 1, higher is better; raises `DependencyError`."""

    async def close(self) -> None:
        """Release the model."""


class EmbeddingCache(Protocol):
    """One tier of vectors that were computed before, by a key that says text and model."""

    @property
    def tier(self) -> str:
        """Name of the tier in metrics."""

    async def get(self, keys: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """The vectors, shape (dimensions,), of those keys that are kept; raises `DependencyError`."""

    async def put(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep these vectors for a time; raises `DependencyError`."""

    async def close(self) -> None:
        """Release what the tier holds."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that the generator may use; `number` is what an answer cites, from 1."""

    number: int
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What an answer is made of."""

    question: str
    passages: tuple[Passage, ...]
    max_tokens: int
    history: tuple[tuple[Literal["user", "assistant"], str], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class CitedSpan:
    """Characters [start, end) of passage `passage` that a piece of the answer rests on."""

    passage: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class AnswerPiece:
    """The next piece of an answer, with what it rests on."""

    text: str
    cites: tuple[CitedSpan, ...] = ()


class Generator(Protocol):
    """Words an answer from passages. Yields nothing at all when the passages do not support one."""

    @property
    def model(self) -> str:
        """Name of the model, for the API and the cache key."""

    def generate(self, request: GenerationRequest) -> AsyncIterator[AnswerPiece]:
        """Pieces of the answer as they come; closing the iterator stops the work."""

    async def close(self) -> None:
        """Release the model."""
