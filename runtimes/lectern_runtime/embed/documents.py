"""Turns what is planned for a document into what the store keeps of it: its chunks, its record, and what changed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lectern_contract import ids
from lectern_contract.messages import Change, Put
from lectern_contract.payload import ChunkPayload, DocumentRecord, DocumentState
from lectern_runtime.embed.prepare import Fault, Plan
from lectern_runtime.ports import Chunk
from lectern_runtime.sparse import SparseEncoder


def chunks_of(plan: Plan, vectors: Mapping[str, NDArray[np.float32]], sparse: SparseEncoder | None) -> list[Chunk]:
    """The chunks of a document in their order; `vectors` has those of texts that the plan does not know."""
    document = plan.task.message.document
    return [
        Chunk(
            id=ids.chunk_id(document.id, number),
            payload=ChunkPayload(
                tenant=document.tenant,
                access_level=document.access_level,
                document_id=document.id,
                version=plan.task.version,
                source=document.source,
                uri=document.uri,
                title=plan.title,
                number=number,
                text=each.text,
                text_digest=digest,
                section=each.section,
                page=each.page,
                start=each.start,
                end=each.end,
                tokens=each.tokens,
                metadata=dict(plan.metadata),
            ),
            dense=vectors[digest] if digest in vectors else plan.known[digest],
            sparse=sparse.document(each.terms) if sparse is not None else None,
        )
        for number, (each, digest) in enumerate(zip(plan.chunks, plan.digests, strict=True))
    ]


def record_of(plan: Plan, fault: Fault | None = None) -> DocumentRecord:
    """The record of a document that is indexed, deleted, or given up for `fault`."""
    message, document = plan.task.message, plan.task.message.document
    if fault is not None:
        state = DocumentState.FAILED
    else:
        state = DocumentState.INDEXED if isinstance(message, Put) else DocumentState.DELETED
    return DocumentRecord(
        tenant=document.tenant,
        access_level=document.access_level,
        document_id=document.id,
        version=plan.task.version,
        source=document.source,
        uri=document.uri,
        title=plan.title,
        state=state,
        sha256=message.sha256 if isinstance(message, Put) else "",
        media_type=message.media_type if isinstance(message, Put) else "",
        chunks=len(plan.chunks) if fault is None else 0,
        reason=f"{fault.reason}: {fault.detail}"[:512] if fault is not None else "",
    )


def change_of(plan: Plan) -> Change:
    """What a plan that was written changed."""
    if not isinstance(plan.task.message, Put):
        return Change.DELETED
    there = plan.before is not None and plan.before.state is DocumentState.INDEXED
    return Change.UPDATED if there else Change.INDEXED
