"""Puts wiki-a into the embedded vector store, one chunk for each paragraph, as the worker would write them.

`retrieval_quality` searches the result itself, `query_latency` starts `lectern up` on it: both see the same 10,662
chunks. A paragraph is one chunk here, so that the set's own judgements apply; the worker would cut some into two.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from bench import resources
from bench.data import Paragraph
from lectern_contract import ids
from lectern_contract.ids import ChunkId, DocumentId
from lectern_contract.payload import ChunkPayload, DocumentRecord, DocumentState
from lectern_contract.scope import Scope
from lectern_runtime.ports import Chunk, DocumentWrite, Embedder, Vectors, VectorStore
from lectern_runtime.sparse import SparseEncoder

VERSION = 1
TOKENS_READ = 254
"""What the model reads beside its two special tokens; longer paragraphs are cut for the vector, not for the terms."""
TOKENIZED_AT_ONCE = 256


def text_of(paragraph: Paragraph) -> str:
    """Return what is embedded and counted: the title above the text, as the worker puts it above a chunk."""
    return f"{paragraph.title}\n{paragraph.text}"


async def embeddable(paragraphs: Sequence[Paragraph], embedder: Embedder) -> tuple[list[str], int]:
    """Return the texts as far as the model reads them, and how many had to be cut."""
    texts = [text_of(each) for each in paragraphs]
    cut = 0
    for start in range(0, len(texts), TOKENIZED_AT_ONCE):
        spans = await embedder.tokenize(texts[start : start + TOKENIZED_AT_ONCE])
        for offset, tokens in enumerate(spans):
            if len(tokens) > TOKENS_READ:
                texts[start + offset] = texts[start + offset][: tokens[TOKENS_READ - 1][1]]
                cut += 1
    return texts, cut


def document_id(paragraph: Paragraph) -> DocumentId:
    """Return the identity of the paragraph's article as a document of the benchmarks' source."""
    return ids.document_id(
        namespace="default",
        knowledge_base=resources.NAME,
        tenant=resources.PARTITION.tenant,
        access_level=resources.PARTITION.access_level,
        source=resources.NAME,
        uri=paragraph.article,
    )


async def fill(
    store: VectorStore, collection: str, paragraphs: Sequence[Paragraph], vectors: Vectors, encoder: SparseEncoder
) -> dict[ChunkId, str]:
    """Write all articles and return the paragraph's id for each chunk's."""
    scope = Scope.of_writer(resources.PARTITION)
    found: dict[ChunkId, str] = {}
    row = 0
    for _, group in groupby(paragraphs, key=lambda each: each.article):
        members = list(group)
        chunks = [_chunk(each, number, vectors, row + number, encoder) for number, each in enumerate(members)]
        row += len(members)
        await store.write_documents(collection, scope, [DocumentWrite(_record(members[0], len(chunks)), chunks)])
        found.update(zip((chunk.id for chunk in chunks), (each.id for each in members), strict=True))
    return found


def _chunk(paragraph: Paragraph, number: int, vectors: Vectors, row: int, encoder: SparseEncoder) -> Chunk:
    text = text_of(paragraph)
    document = document_id(paragraph)
    payload = ChunkPayload(
        tenant=resources.PARTITION.tenant,
        access_level=resources.PARTITION.access_level,
        document_id=document,
        version=VERSION,
        source=resources.NAME,
        uri=paragraph.article,
        title=paragraph.title,
        number=number,
        text=paragraph.text,
        text_digest=ids.text_digest(text),
        start=0,
        end=len(paragraph.text),
        tokens=len(paragraph.text) // 4,
    )
    return Chunk(ids.chunk_id(document, number), payload, vectors[row], encoder.document(text))


def _record(paragraph: Paragraph, chunks: int) -> DocumentRecord:
    return DocumentRecord(
        tenant=resources.PARTITION.tenant,
        access_level=resources.PARTITION.access_level,
        document_id=document_id(paragraph),
        version=VERSION,
        source=resources.NAME,
        uri=paragraph.article,
        title=paragraph.title,
        state=DocumentState.INDEXED,
        media_type="text/plain",
        chunks=chunks,
    )
