"""What every vector store refuses, whichever engine is behind it: calls that contradict themselves or their scope."""

from __future__ import annotations

from collections.abc import Sequence

from lectern_contract.errors import ScopeDenied
from lectern_contract.payload import DocumentRecord, DocumentState
from lectern_contract.scope import Scope
from lectern_runtime.errors import StoreError
from lectern_runtime.ports import Chunk, DocumentWrite, SearchRequest

MOST_ASKED = 1_000


def check_request(request: SearchRequest) -> None:
    """Raise StoreError for a search that no store could answer as asked."""
    if not (1 <= request.limit <= MOST_ASKED and 1 <= request.candidates <= MOST_ASKED):
        raise StoreError(f"a search needs a limit and candidates from 1 to {MOST_ASKED}")
    if not (request.rrf_k >= 1 and request.sparse_weight > 0):
        raise StoreError("a search needs rrf_k of at least 1 and a sparse weight above 0")


def check_documents(scope: Scope, writes: Sequence[DocumentWrite]) -> None:
    """Refuse writes that would put something where the scope does not reach or the version guard does not hold."""
    for each in writes:
        _check_document(scope, each.record, each.chunks)
    if len({each.record.document_id for each in writes}) != len(writes):
        raise StoreError("two writes of one call are of one document, and their order would not hold")


def _check_document(scope: Scope, record: DocumentRecord, chunks: Sequence[Chunk]) -> None:
    partition = scope.partition
    for payload in (record, *(chunk.payload for chunk in chunks)):
        if (payload.tenant, payload.access_level) != (partition.tenant, partition.access_level):
            raise ScopeDenied(
                f"document {record.document_id} belongs to {payload.tenant}/{payload.access_level} "
                f"and cannot be written as {partition.key}"
            )
        if (payload.document_id, payload.version) != (record.document_id, record.version):
            raise StoreError(f"document {record.document_id}: a chunk is of another document or version")
    if chunks and record.state is not DocumentState.INDEXED:
        raise StoreError(f"document {record.document_id} is {record.state.value} and cannot have chunks")
    if len({chunk.id for chunk in chunks}) != len(chunks):
        raise StoreError(f"document {record.document_id}: two chunks have one id")
