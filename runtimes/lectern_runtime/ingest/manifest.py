"""What the last complete run of a source handed over: an index object that names parts, and the entries in them.

`known.py` reads it at the start and replaces the index, atomically and last, at the end, so that a run which was cut
short is simply repeated. The index lies in the blob store under `names.manifest`, its parts (`parts.py`) beside it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lectern_contract import names
from lectern_contract.errors import DataDirectoryError
from lectern_contract.scope import Partition
from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest import media_types
from lectern_runtime.ports import BlobStore

SCHEMA_VERSION: Literal[2] = 2
MESSAGE_RULES_VERSION = 1
"""Raised whenever the same document and settings would give another message."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(_Value):
    """One document as it was handed over. Without a `sha256` nobody knows as what: it only may have been.

    `stale` says that it was under other settings, or on another topic, than the manifest that holds the entry.
    """

    etag: str
    sha256: str
    size: int
    media_type: str
    tenant: str
    access_level: str
    title: str = ""
    stale: bool = False

    @property
    def partition(self) -> Partition:
        """The partition that the document was handed to."""
        return Partition(self.tenant, self.access_level)

    def uncertain(self) -> Entry:
        """The entry of a document of which something is about to be said: no bytes match it."""
        return self.model_copy(update={"etag": "", "sha256": ""})

    def text(self) -> str:
        """The entry as JSON: equal entries give equal texts."""
        return self.model_dump_json(exclude_defaults=True)


def text(entry: Entry | None) -> str | None:
    """The entry as JSON, where there is one."""
    return entry.text() if entry is not None else None


class Part(_Value):
    """Entries of neighbouring uris; `sha256` is that of its lines before compression, and its name."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    documents: int


class Index(_Value):
    """All documents of one source.

    `topic_id` is that of the documents topic: in another topic nothing of this was ever said. `messages` is the digest
    of all settings that show in messages beside the partition: under others all are said anew. `selection` is the
    digest of what decides which documents there are and who reads them: under another everything is listed again.
    `cursor` is what the source's listing ended with, `run` the number of the run that wrote this.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    knowledge_base: str
    topic_id: str = ""
    messages: str = ""
    selection: str = ""
    cursor: str = ""
    run: int = 0
    documents: int = 0
    parts: tuple[Part, ...] = ()

    def same(self, other: Index) -> bool:
        """Whether both say the same, whichever run wrote them."""
        return self == other.model_copy(update={"run": self.run})


class _OneObject(_Value):
    """The manifest of schema version 1: all in one object."""

    schema_version: Literal[1]
    knowledge_base: str
    topic_id: str = ""
    messages: str = ""
    documents: dict[str, Entry] = Field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """The manifest as it was found; `inline` holds the documents of schema version 1, and `current` is False then."""

    index: Index
    inline: dict[str, Entry] = field(default_factory=dict)
    current: bool = True


class ManifestDamaged(DataDirectoryError):
    """The manifest cannot be read, so that nobody knows which documents are gone from the source."""


def message_digest(settings: ConnectorSettings) -> str:
    """Hex sha256 (16 digits) of what shapes every message of the source."""
    return _digest([MESSAGE_RULES_VERSION, media_types.RULES_VERSION, sorted(settings.metadata.items())])


def selection_digest(settings: ConnectorSettings) -> str:
    """Hex sha256 (16 digits) of what decides which documents are handed over, and to which partition."""
    chosen = {
        "source", "include", "exclude", "partition", "restricted_access_level", "partition_rules", "prune",
        "media_types", "max_document_bytes",
    }  # fmt: skip
    return _digest(settings.model_dump(mode="json", include=chosen))


async def read(blobs: BlobStore, settings: ConnectorSettings) -> Found:
    """The manifest of the last complete run; an empty one before the first, or after a move to another base.

    Raises `ManifestDamaged`. To begin anew instead would be harmless for what is there, but would forget for good
    what was deleted at the source since: those documents would stay findable.
    """
    name = names.manifest(settings.namespace, settings.name)
    data = await blobs.read_named(name)
    empty = Found(Index(knowledge_base=settings.knowledge_base))
    if data is None:
        return empty
    try:
        found = _decoded(data)
    except ValidationError as error:
        raise damaged(name, _what(data)) from error
    return found if found.index.knowledge_base == settings.knowledge_base else empty


async def write(blobs: BlobStore, settings: ConnectorSettings, index: Index) -> None:
    """Replace the index, atomically and durably."""
    data = index.model_dump_json().encode()
    await blobs.write_named(names.manifest(settings.namespace, settings.name), data)


def damaged(name: str, what: str) -> ManifestDamaged:
    """The error for an object of the manifest that is `what`."""
    return ManifestDamaged(
        f"{name} in the blob store is {what}; restore it from a backup or use the release that wrote it. "
        "If you remove the manifest, the next run hands over everything again, but documents that were deleted at the "
        "source since the last complete run stay in the index until the knowledge base is built anew"
    )


def _decoded(data: bytes) -> Found:
    if _version(data) != 1:
        return Found(Index.model_validate_json(data))
    old = _OneObject.model_validate_json(data)
    index = Index(knowledge_base=old.knowledge_base, topic_id=old.topic_id, messages=old.messages)
    return Found(index, old.documents, current=False)


def _version(data: bytes) -> object:
    try:
        return json.loads(data)["schema_version"]
    except (ValueError, KeyError, TypeError):
        return None


def _what(data: bytes) -> str:
    version = _version(data)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        return f"of schema version {version}, which a newer Lectern wrote (this one reads {SCHEMA_VERSION})"
    return "damaged"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
