"""Judges one pushed document against the source's settings and the caller's rights, before anything is stored."""

from __future__ import annotations

from dataclasses import dataclass

from lectern_contract.errors import DocumentError
from lectern_contract.ids import content_digest
from lectern_contract.scope import Partition
from lectern_contract.settings import ReceiverSettings
from lectern_runtime.api_keys import Holder
from lectern_runtime.ingest import media_types
from lectern_runtime.ingest.examine import plain_title, told_type
from lectern_runtime.ingest.globs import Selection
from lectern_runtime.ingest.manifest import Entry
from lectern_runtime.ingest.partitions import PartitionRules
from lectern_runtime.ingest.publish import Publisher
from lectern_runtime.ingest.receiver.catalogue import Held
from lectern_runtime.ingest.receiver.problems import Reason
from lectern_runtime.ingest.receiver.rights import Rights
from lectern_runtime.ingest.receiver.schema import PushedDocument
from lectern_runtime.ports import OutgoingRecord

NOT_THEIRS = "the API key has no right to the document's partition"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a document is not taken."""

    uri: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A document that may be taken: what the catalogue would say of it, its bytes and its message."""

    held: Held
    data: bytes
    message: OutgoingRecord


class Judge:
    """The rules of one push source."""

    def __init__(self, settings: ReceiverSettings, rights: Rights, publisher: Publisher) -> None:
        """Raises `ConfigurationError` when a rule names an unknown access level."""
        self._settings = settings
        self._rights = rights
        self._publisher = publisher
        self._rules = PartitionRules(settings)
        self._selection = Selection(settings.include, settings.exclude)

    def judge(self, holder: Holder, document: PushedDocument, data: bytes) -> Wanted | Rejection:
        """What is to be done about a document that `holder` pushes."""
        partition = self._partition(document)
        found = self._against(holder, document, len(data), partition)
        if found is not None:
            return Rejection(document.uri, *found)
        held = Held(
            uri=document.uri,
            partition=partition,
            sha256=content_digest(data),
            size=len(data),
            media_type=told_type(document.media_type) or "",
            title=plain_title(document.title),
            metadata={**document.metadata, **self._settings.metadata},
        )
        try:
            message = self._publisher.put(held.uri, _entry(held), document.metadata)
        except DocumentError as error:
            return Rejection(document.uri, Reason.MESSAGE_INVALID, str(error))
        return Wanted(held, data, message)

    def _partition(self, document: PushedDocument) -> Partition:
        asked = document.partition
        return Partition(asked.tenant, asked.access_level) if asked is not None else self._rules.of(document.uri)

    def _against(
        self, holder: Holder, document: PushedDocument, size: int, partition: Partition
    ) -> tuple[Reason, str] | None:
        """What speaks against the document, if anything does; rights come first, so that nothing else is told."""
        limit, media_type = self._settings.max_document_bytes, told_type(document.media_type)
        if not self._rights.may(holder, partition):
            return Reason.PARTITION_NOT_ALLOWED, NOT_THEIRS
        if not self._selection.admits(document.uri):
            return Reason.NOT_INCLUDED, "spec.include and spec.exclude of the source leave it out"
        if media_type is None:
            return Reason.MEDIA_TYPE_INVALID, "write the media type as in text/markdown"
        if not media_types.accepted(media_type, self._settings.media_types):
            return Reason.MEDIA_TYPE_NOT_ACCEPTED, f"{media_type} is not in spec.parsing.mediaTypes"
        if size > limit:
            return Reason.TOO_LARGE, f"it has {size} bytes, and spec.parsing.maxDocumentBytes is {limit}"
        return None


def _entry(held: Held) -> Entry:
    return Entry(
        etag="",
        sha256=held.sha256,
        size=held.size,
        media_type=held.media_type,
        tenant=held.partition.tenant,
        access_level=held.partition.access_level,
        title=held.title,
    )
