"""Identities of documents and chunks: UUIDs of version 5 over an unambiguous encoding.

The identity of a document includes its partition, so that moving it to other readers is a delete in
one place and a put in another, and no id of one reader ever names a document of another.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import NewType

DocumentId = NewType("DocumentId", str)
ChunkId = NewType("ChunkId", str)

_NAMESPACE = uuid.UUID("6f1c7a52-3a0e-5c55-9f0e-5f6d0c9b1e77")
_EPOCH_BITS, _OFFSET_BITS = 9, 44
MAX_EPOCH = (1 << _EPOCH_BITS) - 1
MAX_OFFSET = (1 << _OFFSET_BITS) - 1


def document_id(
    *, namespace: str, knowledge_base: str, tenant: str, access_level: str, source: str, uri: str
) -> DocumentId:
    """Identity of a document: equal for equal arguments, different for any difference."""
    text = json.dumps([namespace, knowledge_base, tenant, access_level, source, uri], ensure_ascii=True)
    return DocumentId(str(uuid.uuid5(_NAMESPACE, text)))


def chunk_id(document: DocumentId, number: int) -> ChunkId:
    """Identity of the chunk `number` (from 0) of a document, the same in every version."""
    return ChunkId(str(uuid.uuid5(uuid.UUID(document), str(number))))


def version(epoch: int, offset: int) -> int:
    """Version of a document message: topic epoch above the offset, below 2^53 so that JSON carries it exactly."""
    if not (0 <= epoch <= MAX_EPOCH and 0 <= offset <= MAX_OFFSET):
        raise ValueError(f"epoch {epoch} or offset {offset} is out of range (epoch <= {MAX_EPOCH}, offset < 2^44)")
    return (epoch << _OFFSET_BITS) | offset


def text_digest(text: str) -> str:
    """Hex sha256 of a chunk's text as it was embedded (prefix included): equal text needs no new vector."""
    return hashlib.sha256(text.encode()).hexdigest()


def content_digest(data: bytes) -> str:
    """Hex sha256 of a document's bytes: its name in the blob store."""
    return hashlib.sha256(data).hexdigest()
