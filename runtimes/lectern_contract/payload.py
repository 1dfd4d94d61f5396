"""What lies in the store beside the vectors: chunks and document records, field by field.

The worker writes these, the query runtime and the catalogue read them; payload indexes are made for
the fields in `INDEXED`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Described

from lectern_contract.ids import DocumentId

MetadataValue = str | int | bool


class Field:
    """Names of payload fields; the same words in filters, indexes and stored points."""

    KIND = "kind"
    TENANT = "tenant"
    ACCESS_LEVEL = "access_level"
    DOCUMENT_ID = "document_id"
    VERSION = "version"
    SOURCE = "source"
    TEXT_DIGEST = "text_digest"
    STATE = "state"
    METADATA_TERMS = "metadata_terms"

    @staticmethod
    def metadata(name: str) -> str:
        """Path of a metadata field inside the payload."""
        return f"metadata.{name}"


INDEXED: dict[str, Literal["keyword", "integer"]] = {
    Field.KIND: "keyword",
    Field.TENANT: "keyword",
    Field.ACCESS_LEVEL: "keyword",
    Field.DOCUMENT_ID: "keyword",
    Field.VERSION: "integer",
    Field.SOURCE: "keyword",
    Field.STATE: "keyword",
    Field.METADATA_TERMS: "keyword",
}


def metadata_term(name: str, value: MetadataValue) -> str:
    """Return one entry of a document's metadata as a word, so that 1, "1" and true stay apart under one index."""
    return json.dumps([name, value], ensure_ascii=False)


def metadata_terms(metadata: Mapping[str, MetadataValue]) -> list[str]:
    """Return what `Field.METADATA_TERMS` of a chunk holds, in order: filters by metadata match these words."""
    return sorted(metadata_term(name, value) for name, value in metadata.items())


class PayloadKind(StrEnum):
    """Which of the two a point is."""

    CHUNK = "chunk"
    RECORD = "record"


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    tenant: str
    access_level: str
    document_id: DocumentId
    version: int = Described(ge=0, lt=1 << 53)
    source: str
    uri: str
    title: str


class ChunkPayload(_Payload):
    """A chunk: text that can be found and cited. Offsets count characters of the parsed text."""

    kind: Literal[PayloadKind.CHUNK] = PayloadKind.CHUNK
    number: int = Described(ge=0, description="Place in the document, from 0.")
    text: str
    text_digest: str
    section: str = Described(default="", description="Headings above the chunk, joined by ' > '.")
    page: int | None = Described(default=None, ge=1, description="Page of the chunk's start, where there are pages.")
    start: int = Described(ge=0, description="First character in the parsed text.")
    end: int = Described(ge=0, description="Character after the last one.")
    tokens: int = Described(ge=0, description="Length in tokens of the embedding model, special ones left out.")
    metadata: dict[str, MetadataValue] = Described(default_factory=dict)


class DocumentState(StrEnum):
    """State of a document in the catalogue."""

    INDEXED = "Indexed"
    DELETED = "Deleted"
    FAILED = "Failed"


class DocumentRecord(_Payload):
    """One document in the catalogue: a point without vectors whose id is the document's."""

    kind: Literal[PayloadKind.RECORD] = PayloadKind.RECORD
    state: DocumentState
    sha256: str = Described(default="", description="Digest of the document's bytes; empty when deleted.")
    media_type: str = ""
    chunks: int = Described(default=0, ge=0, description="Chunks of this version.")
    reason: str = Described(default="", max_length=512, description="Why it failed; never document text.")
