"""What travels on the log: an envelope with CloudEvents attributes around a small typed body.

Messages carry references, never content, and stay below `MAX_MESSAGE_BYTES`. Readers accept this
schema version and the one before it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lectern_contract.errors import DocumentError
from lectern_contract.ids import DocumentId, document_id
from lectern_contract.payload import MetadataValue
from lectern_contract.scope import Partition

MAX_MESSAGE_BYTES = 8192
SCHEMA_VERSION = 2
READABLE_VERSIONS = (SCHEMA_VERSION - 1, SCHEMA_VERSION)
"""Version 1 had no `traceparent` and no access decisions."""
TRACEPARENT = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DocumentRef(_Message):
    """Which document a message is about: all parts of its identity."""

    namespace: str
    knowledge_base: str
    tenant: str
    access_level: str
    source: str
    uri: str = Field(max_length=4096)

    @property
    def partition(self) -> Partition:
        """The partition that the document lives in."""
        return Partition(self.tenant, self.access_level)

    @property
    def id(self) -> DocumentId:
        """The document's identity."""
        return document_id(
            namespace=self.namespace,
            knowledge_base=self.knowledge_base,
            tenant=self.tenant,
            access_level=self.access_level,
            source=self.source,
            uri=self.uri,
        )


class Put(_Message):
    """The document is there with these bytes."""

    type: Literal["document.put"] = "document.put"
    document: DocumentRef
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Name of the bytes in the blob store.")
    size: int = Field(ge=0, description="Length in bytes.")
    media_type: str = Field(max_length=127)
    title: str = Field(default="", max_length=512)
    metadata: dict[str, MetadataValue] = Field(default_factory=dict)


class Deleted(_Message):
    """The document is gone. A value and not a null, so that a late consumer group cannot miss it."""

    type: Literal["document.deleted"] = "document.deleted"
    document: DocumentRef


DocumentMessage = Put | Deleted


class DeadLetter(_Message):
    """A document that could not be indexed, and why. Carries no document text."""

    type: Literal["document.dead-letter"] = "document.dead-letter"
    message: Annotated[DocumentMessage, Field(discriminator="type")]
    stage: str = Field(max_length=32, description="Stage that failed: fetch, parse, chunk, embed, write.")
    reason: str = Field(max_length=64, description="Class of the failure, one word.")
    detail: str = Field(default="", max_length=512, description="The failure as a sentence.")
    attempts: int = Field(ge=1)
    origin_partition: int = Field(ge=0)
    origin_offset: int = Field(ge=0)


class Change(StrEnum):
    """What became of a document in the index."""

    INDEXED = "indexed"
    UPDATED = "updated"
    DELETED = "deleted"
    FAILED = "failed"


class DocumentEvent(_Message):
    """The index changed for one document; answer caches drop what they built on it."""

    type: Literal["document.event"] = "document.event"
    document: DocumentRef
    change: Change
    version: int = Field(ge=0)
    chunks: int = Field(default=0, ge=0)


class AccessDecision(_Message):
    """Somebody was let in or turned away. Names who, what and why; never a question, an answer or a credential."""

    type: Literal["access.decided"] = "access.decided"
    namespace: str
    knowledge_base: str
    principal: str = Field(max_length=256, description="Who asked, as the credential names it; empty when unknown.")
    action: str = Field(max_length=32, description="What was asked: documents.put, documents.delete, query, retrieve.")
    allowed: bool
    reason: str = Field(default="", max_length=64, description="Why not, one word; empty when allowed.")
    tenant: str = Field(default="", max_length=63)
    access_levels: tuple[str, ...] = Field(default=(), max_length=32)
    count: int = Field(default=1, ge=1, description="Equal decisions that this one stands for.")


Body = Annotated[Put | Deleted | DeadLetter | DocumentEvent | AccessDecision, Field(discriminator="type")]


class Envelope(_Message):
    """CloudEvents 1.0 attributes around one body; `time` is RFC 3339 in UTC."""

    specversion: Literal["1.0"] = "1.0"
    schema_version: int = SCHEMA_VERSION
    id: str = Field(min_length=1, max_length=128, description="Unique for one occurrence; a producer retry repeats it.")
    source: str = Field(max_length=256, description="Who wrote it, for instance lectern/connector/<source>.")
    time: str = Field(max_length=40)
    traceparent: str | None = Field(
        default=None, pattern=TRACEPARENT, description="Trace that it belongs to (CloudEvents distributed tracing)."
    )
    data: Body

    @property
    def key(self) -> str:
        """Key on the log: the document's id, so that one document's messages keep their order; who asked, else."""
        if isinstance(self.data, AccessDecision):
            return self.data.principal
        body = self.data.message if isinstance(self.data, DeadLetter) else self.data
        return body.document.id


class _Head(BaseModel):
    """What the messages of every release say; it is read first, because all the rest may be another."""

    schema_version: Annotated[int, Field(strict=True)]


_ENVELOPE: TypeAdapter[Envelope] = TypeAdapter(Envelope)


def encode(envelope: Envelope) -> bytes:
    """Bytes for the log. Raises `DocumentError` when they would pass `MAX_MESSAGE_BYTES`."""
    data = envelope.model_dump_json().encode()
    if len(data) > MAX_MESSAGE_BYTES:
        raise DocumentError(
            f"the message about {envelope.key} has {len(data)} bytes, the limit is {MAX_MESSAGE_BYTES}; "
            "shorten its title, uri or metadata",
            stage="publish",
            reason="MessageTooLarge",
        )
    return data


def decode(data: bytes) -> Envelope:
    """The envelope in `data`. Raises `DocumentError` for anything that is not a readable message."""
    try:
        version = _Head.model_validate_json(data).schema_version
        if version in READABLE_VERSIONS:
            return _ENVELOPE.validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "message"
        raise DocumentError(
            f"not a readable message: {where}: {fault['msg']}", stage="decode", reason="MessageInvalid"
        ) from error
    raise DocumentError(
        f"message schema {version} is not readable here ({READABLE_VERSIONS}); upgrade the reader",
        stage="decode",
        reason="SchemaUnknown",
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of all messages of this version, for those who read the topics with other programs."""
    return _ENVELOPE.json_schema(mode="serialization")
