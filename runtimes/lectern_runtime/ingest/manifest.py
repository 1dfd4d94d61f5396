"""What the last complete run of a source handed over, document by document.

`run.py` reads it at the start and replaces it, atomically and last, at the end, so that a run that was
cut short is simply repeated. It lies in the blob store under `names.manifest`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lectern_contract import names
from lectern_contract.errors import DataDirectoryError
from lectern_contract.scope import Partition
from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest import media_types
from lectern_runtime.ports import BlobStore

SCHEMA_VERSION: Literal[1] = 1
MESSAGE_RULES_VERSION = 1
"""Raised whenever the same document and settings would give another message."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(_Value):
    """One document as it was handed over."""

    etag: str
    sha256: str
    size: int
    media_type: str
    tenant: str
    access_level: str

    @property
    def partition(self) -> Partition:
        """The partition that the document was handed to."""
        return Partition(self.tenant, self.access_level)


class Manifest(_Value):
    """All documents of one source by uri.

    `topic_id` is that of the documents topic: in another topic nothing of this was ever said. `messages` is
    the digest of all settings that show in messages beside the partition: under others all are said anew.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    knowledge_base: str
    topic_id: str = ""
    messages: str = ""
    documents: dict[str, Entry] = Field(default_factory=dict)


class ManifestDamaged(DataDirectoryError):
    """The manifest cannot be read, so that nobody knows which documents are gone from the source."""


def message_digest(settings: ConnectorSettings) -> str:
    """Hex sha256 (16 digits) of what shapes every message of the source."""
    parts = [MESSAGE_RULES_VERSION, media_types.RULES_VERSION, sorted(settings.metadata.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


async def read(blobs: BlobStore, settings: ConnectorSettings) -> Manifest:
    """The manifest of the last complete run; an empty one before the first, or after a move to another base.

    Raises `ManifestDamaged`. To begin anew instead would be harmless for what is there, but would forget for good
    what was deleted at the source since: those documents would stay findable.
    """
    name = names.manifest(settings.namespace, settings.name)
    data = await blobs.read_named(name)
    empty = Manifest(knowledge_base=settings.knowledge_base)
    if data is None:
        return empty
    try:
        found = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise ManifestDamaged(
            f"{name} in the blob store is {_what(data)}; restore it from a backup or use the release that wrote it. "
            "If you remove it, the next run hands over everything again, but documents that were deleted at the "
            "source since the last complete run stay in the index until the knowledge base is built anew"
        ) from error
    return found if found.knowledge_base == settings.knowledge_base else empty


async def write(blobs: BlobStore, settings: ConnectorSettings, manifest: Manifest) -> None:
    """Replace the manifest, atomically and durably."""
    await blobs.write_named(names.manifest(settings.namespace, settings.name), manifest.model_dump_json().encode())


def _what(data: bytes) -> str:
    try:
        version = json.loads(data)["schema_version"]
    except (ValueError, KeyError, TypeError):
        return "damaged"
    if isinstance(version, int) and version > SCHEMA_VERSION:
        return f"of schema version {version}, which a newer Lectern wrote (this one reads {SCHEMA_VERSION})"
    return "damaged"
