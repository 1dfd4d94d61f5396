"""Lists and reads the objects of a bucket, or of the part of it below a prefix, on any S3 server.

Used by `run.py` through the registry. A document's uri is its key, byte for byte; its path, which globs and partition
rules are matched against, is the key without the source's prefix. Keys that end with a slash are folders of tools that
show buckets as directories, and no documents. A listing is read page by page, so that memory does not grow with it.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import S3Source
from lectern_runtime.adapters.s3_answers import PRESENT, Entry, Refusal
from lectern_runtime.adapters.s3_client import TOO_LARGE, Object, S3Client, Timing
from lectern_runtime.ingest.connector import (
    Fetched,
    Item,
    Known,
    Listed,
    Listing,
    Means,
    SourceEmpty,
    SourceUnavailable,
    Unlisted,
)
from lectern_runtime.ingest.unread import too_large, unread

_FIELD = "spec.s3"
_OF_NO_TYPE = frozenset({"application/octet-stream", "binary/octet-stream"})
"""What servers say of an object that was written without a media type."""
_OF_ONE_DOCUMENT = {
    "NoSuchKey": ("Vanished", "it was removed after it was listed"),
    PRESENT: ("ChangedWhileRead", "it was replaced after it was listed; the next run tries again"),
    "AccessDenied": (
        "AccessDenied",
        "the source's user may list it and not read it; allow s3:GetObject, or exclude it",
    ),
    "InvalidObjectState": ("Archived", "it is in an archive; restore it, or exclude it"),
    "KeyTooLongError": ("KeyTooLong", "the server lists it and does not take its key; rename it"),
}


def open_connector(settings: ConnectorSettings, means: Means) -> S3Connector:
    """The connector for the bucket that `settings.source` names; the server is asked when it is listed."""
    assert isinstance(settings.source, S3Source)
    return S3Connector(settings.source, means, max_bytes=settings.max_document_bytes)


class S3Connector:
    """The objects of the bucket of `source`, in the order of the server; of each at most `max_bytes` are read."""

    def __init__(self, source: S3Source, means: Means, *, max_bytes: int, timing: Timing | None = None) -> None:
        self._bucket = source.bucket
        self._prefix = source.prefix
        self._max_bytes = max_bytes
        self._client = S3Client(
            source,
            field=_FIELD,
            failed=SourceUnavailable,
            dependency="source",
            throttle=means.throttle,
            timing=timing,
        )

    async def list(self, known: Known) -> Listing:
        """Every object below the prefix. Raises `SourceUnavailable` or, for a prefix without any, `SourceEmpty`."""
        del known  # a bucket cannot say what changed
        return Listing(self._items())

    async def _items(self) -> AsyncIterator[Item]:
        empty = True
        async for entry in self._client.list(self._prefix):
            empty = False
            if (item := _item(entry, self._prefix)) is not None:
                yield item
        if empty:
            below = f" has no object with a key that begins with {self._prefix!r}" if self._prefix else " is empty"
            raise SourceEmpty(
                f"the bucket {self._bucket}{below}, as one that was made anew or is not the one meant; if it was "
                "emptied on purpose, put any object there (for instance .keep/) and run again"
            )

    async def fetch(self, listed: Listed) -> Fetched:
        """The object's bytes. Raises `DocumentError`, for instance Vanished, TooLarge or ChangedWhileRead."""
        etag = _server_etag(listed.etag)
        found = await self._client.get(listed.uri, limit=self._max_bytes, if_match=etag)
        if isinstance(found, Refusal):
            raise self._refused(found)
        if etag and found.etag != etag:  # a server that does not know the condition
            raise unread(*_OF_ONE_DOCUMENT[PRESENT])
        media_type = "" if found.media_type in _OF_NO_TYPE else found.media_type
        return Fetched(self._decoded(found), media_type=media_type)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    def _refused(self, refusal: Refusal) -> Exception:
        if refusal.code == TOO_LARGE:
            return too_large(self._max_bytes)
        if (told := _OF_ONE_DOCUMENT.get(refusal.code)) is not None:
            return unread(*told)
        if refusal.status == 429 or refusal.status > 500:  # 500 is also what one damaged object gives, for ever
            return self._client.error(refusal, "read")
        return unread("Unreadable", f"the server refuses to give it (HTTP {refusal.status}, {refusal.code})")

    def _decoded(self, found: Object) -> bytes:
        """Return the bytes as they were before they were stored compressed; at most `max_bytes` are made."""
        encodings = [each.strip() for each in found.encoding.split(",")]
        encodings = [each for each in encodings if each not in ("", "identity", "aws-chunked")]
        if not encodings:
            return found.data
        if encodings != ["gzip"]:
            raise unread("EncodingUnknown", "it is stored with a Content-Encoding other than gzip; store it without")
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            data = inflater.decompress(found.data, self._max_bytes + 1)
        except zlib.error as error:
            raise unread("EncodingDamaged", "it is stored with Content-Encoding gzip and is none") from error
        if len(data) > self._max_bytes:
            raise too_large(self._max_bytes)
        if not inflater.eof:
            raise unread("EncodingDamaged", "it is stored with Content-Encoding gzip and ends too early")
        return data


def _item(entry: Entry, prefix: str) -> Item | None:
    """What a listed object is to a run; None for a folder."""
    if entry.key is None:
        return Unlisted(entry.shown, "NameNotUnicode", "rename it to UTF-8")
    if entry.key.endswith("/"):
        return None
    path = entry.key[len(prefix) :].lstrip("/") or entry.key.rpartition("/")[2]
    return Listed(uri=entry.key, path=path, etag=_etag(entry), size=entry.size)


def _etag(entry: Entry) -> str:
    """Return what changes with the bytes: the server's tag is that of the bytes as far as it knows them.

    Size and time tell of files that were changed below a server which shows a directory as a bucket.
    """
    return f"{entry.size:x}/{entry.changed}/{entry.etag}" if entry.etag else ""


def _server_etag(etag: str) -> str:
    return etag.partition("/")[2].partition("/")[2]
