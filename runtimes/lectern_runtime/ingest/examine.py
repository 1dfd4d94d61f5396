"""Reads one candidate where its listing does not settle it, stores its bytes, and says whether it must be published.

Called by `handover.py` for the documents of a window, side by side.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lectern_contract.errors import DocumentError
from lectern_contract.ids import content_digest
from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest import changes, media_types
from lectern_runtime.ingest.changes import Candidate, Step
from lectern_runtime.ingest.connector import Connector, Fetched
from lectern_runtime.ingest.failpoints import Failpoint
from lectern_runtime.ingest.manifest import Entry
from lectern_runtime.ingest.publish import Publisher
from lectern_runtime.ports import BlobStore, OutgoingRecord
from lectern_runtime.telemetry import tracing
from lectern_runtime.telemetry.ingest_metrics import ConnectorMetrics
from lectern_runtime.telemetry.run_spans import RunSpans

MAX_TITLE = 512
"""Characters of a title that a message takes."""
MAX_ETAG = 1024
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,62}/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}")
_UNTOLD = frozenset({"application/octet-stream", "binary/octet-stream", "application/unknown"})
"""What servers say of bytes of which they know nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a candidate came to: its new entry, with a message where one is needed, or an error."""

    candidate: Candidate
    entry: Entry | None = None
    message: OutgoingRecord | None = None
    error: DocumentError | None = None


@dataclass(frozen=True, slots=True)
class Examiner:
    """What examining a document needs of the run."""

    settings: ConnectorSettings
    source: Connector
    blobs: BlobStore
    publisher: Publisher
    metrics: ConnectorMetrics | None
    failpoint: Failpoint
    spans: RunSpans = field(default_factory=RunSpans)

    async def examine(self, candidate: Candidate) -> Outcome:
        """The outcome; a fault of the document is part of it. Raises `DependencyError` for the world's faults."""
        try:
            with self.spans.document({"lectern.source": self.settings.name}):
                return await self._examine(candidate)
        except DocumentError as error:
            return Outcome(candidate, error=error)

    async def _examine(self, candidate: Candidate) -> Outcome:
        if candidate.media_type is not None:
            self._check_type(candidate.media_type)
        if changes.step(candidate) is Step.PUBLISH:
            known = candidate.known
            assert known is not None
            media_type = candidate.media_type or known.media_type
            self._check_type(media_type)
            entry = changes.entry(
                candidate,
                etag=candidate.listed.etag,
                sha256=known.sha256,
                size=known.size,
                media_type=media_type,
                title=known.title,
            )
            return Outcome(candidate, entry, self.publisher.put(candidate.listed.uri, entry))
        fetched = await self._read(candidate)
        data = fetched.data
        media_type = candidate.media_type or told_type(fetched.media_type) or media_types.by_content(data)
        self._check_type(media_type)
        entry = changes.entry(
            candidate,
            etag=usable_etag(fetched.etag) or candidate.listed.etag,
            sha256=content_digest(data),
            size=len(data),
            media_type=media_type,
            title=plain_title(fetched.title),
        )
        if changes.same_message(candidate, entry.sha256, media_type, entry.title):
            return Outcome(candidate, entry)
        message = self.publisher.put(candidate.listed.uri, entry)
        self.failpoint("store")
        with tracing.span("connector.store", {"lectern.bytes": len(data)}):
            await self.blobs.put(data)
        return Outcome(candidate, entry, message)

    async def _read(self, candidate: Candidate) -> Fetched:
        limit, listed = self.settings.max_document_bytes, candidate.listed
        if listed.size is not None and listed.size > limit:
            raise _too_large(listed.size, limit)
        self.failpoint("read")
        with tracing.span("connector.fetch"):
            fetched = await self.source.fetch(listed)
        size = len(fetched.data)
        if size > limit:
            raise _too_large(size, limit)
        if self.metrics is not None:
            self.metrics.bytes.labels(source=self.settings.name).inc(size)
        return fetched

    def _check_type(self, media_type: str) -> None:
        if not media_types.accepted(media_type, self.settings.media_types):
            raise DocumentError(
                f"{media_type} is not in spec.parsing.mediaTypes; add it there, or exclude the document",
                stage="fetch",
                reason="MediaTypeNotAccepted",
            )


def told_type(media_type: str) -> str | None:
    """The media type as the source tells it, or None when that is none or says nothing."""
    told = media_type.partition(";")[0].strip().lower()
    return told if _MEDIA_TYPE.fullmatch(told) and told not in _UNTOLD else None


def usable_etag(etag: str) -> str:
    """The etag, or an empty one, which promises nothing, when it is too long or no text."""
    return etag if len(etag) <= MAX_ETAG and etag.isprintable() else ""


def plain_title(title: str) -> str:
    """The title on one line, as text that every message can carry, and of bounded length."""
    # Neither halves of surrogate pairs nor control characters are printable.
    plain = "".join(each if each.isprintable() else " " for each in title[: 8 * MAX_TITLE])
    return " ".join(plain.split())[:MAX_TITLE].rstrip()


def _too_large(size: int, limit: int) -> DocumentError:
    return DocumentError(
        f"it has {size} bytes, the limit is {limit}; raise spec.parsing.maxDocumentBytes or exclude it",
        stage="fetch",
        reason="TooLarge",
    )
