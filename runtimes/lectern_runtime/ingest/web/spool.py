"""Keeps the pages of a crawl on disk until they are asked for, so that none is fetched twice within a run.

Bounded: the oldest are dropped, and are then fetched again where somebody still asks for them.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import OrderedDict
from pathlib import Path

from lectern_runtime.ingest.connector import Fetched

MAX_BYTES = 256 << 20
MAX_PAGES = 4096


class Spool:
    """Pages by their uri, in a directory of its own that `close` removes."""

    def __init__(self, *, max_bytes: int = MAX_BYTES, max_pages: int = MAX_PAGES) -> None:
        self._max_bytes, self._max_pages = max_bytes, max_pages
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._kept: OrderedDict[str, tuple[int, str, str]] = OrderedDict()
        self.bytes = 0

    def put(self, uri: str, page: Fetched) -> None:
        """Keep a page; the oldest make room for it."""
        self.drop(uri)
        if len(page.data) > self._max_bytes:
            return
        while self._kept and (self.bytes + len(page.data) > self._max_bytes or len(self._kept) >= self._max_pages):
            self.drop(next(iter(self._kept)))
        self._file(uri).write_bytes(page.data)
        self._kept[uri] = (len(page.data), page.media_type, page.etag)
        self.bytes += len(page.data)

    def take(self, uri: str) -> Fetched | None:
        """The page, which is kept no longer; None when it is not here."""
        if uri not in self._kept:
            return None
        _, media_type, etag = self._kept[uri]
        data = self._file(uri).read_bytes()
        self.drop(uri)
        return Fetched(data, media_type=media_type, etag=etag)

    def drop(self, uri: str) -> None:
        """Keep a page no longer."""
        if uri in self._kept:
            size, *_ = self._kept.pop(uri)
            self.bytes -= size
            self._file(uri).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove all that was kept."""
        self._kept.clear()
        self.bytes = 0
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def _file(self, uri: str) -> Path:
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="lectern-pages-")
        return Path(self._directory.name, hashlib.sha256(uri.encode("utf-8", "surrogatepass")).hexdigest())
