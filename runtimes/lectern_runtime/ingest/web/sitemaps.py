"""Reads sitemaps: lists of pages, indexes of further sitemaps, and plain lists of URLs, packed or not.

Pure, bounded, and piece by piece. A document type is refused, so that no entity of it is ever read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

from lectern_runtime.ingest.web.inflate import GZIP_MAGIC, Damaged, TooMuch, gunzip

MAX_BYTES = 50 * 1024 * 1024
MAX_ENTRIES = 50_000
"""Both are the bounds of the sitemaps protocol."""
_MAX_LOCATION = 8192
_MAX_DEPTH = 16
_STEP = 1 << 20


class SitemapDamaged(Exception):
    """The file is no sitemap; the message says why."""


@dataclass(slots=True)
class Sitemap:
    """What one file names, as it is written there."""

    pages: list[str] = field(default_factory=list)
    sitemaps: list[str] = field(default_factory=list)


def read(data: bytes) -> Sitemap:
    """The entries of a sitemap. Raises `SitemapDamaged`."""
    try:
        text = gunzip(data, limit=MAX_BYTES) if data.startswith(GZIP_MAGIC) else data
    except TooMuch:
        raise SitemapDamaged(f"it unpacks to more than {MAX_BYTES} bytes") from None
    except Damaged as error:
        raise SitemapDamaged("it is no complete gzip file") from error
    start = text[:256].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<") or text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _Reader().read(text)
    return _plain(text)


def _plain(data: bytes) -> Sitemap:
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SitemapDamaged("it is neither XML nor a list of URLs") from error
    pages = [line.strip() for line in lines if line.strip()]
    if len(pages) > MAX_ENTRIES:
        raise SitemapDamaged(f"it names more than {MAX_ENTRIES} pages")
    if not all(page.startswith(("http://", "https://")) for page in pages):
        raise SitemapDamaged("it is neither XML nor a list of URLs")
    return Sitemap(pages)


class _Reader:
    """Takes `loc` below `url` or `sitemap`, whatever their namespace, and nothing of what lies deeper."""

    def __init__(self) -> None:
        self._found = Sitemap()
        self._path: list[str] = []
        self._text: list[str] = []
        self._length = 0

    def read(self, data: bytes) -> Sitemap:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._doctype
        try:
            for at in range(0, len(data), _STEP):
                parser.Parse(data[at : at + _STEP], False)
            parser.Parse(b"", True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise SitemapDamaged(f"it is no XML: {error}") from error
        return self._found

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        self._path.append(name.rpartition(" ")[2])
        if len(self._path) > _MAX_DEPTH:
            raise SitemapDamaged(f"it nests deeper than {_MAX_DEPTH} elements")
        if len(self._path) == 1 and self._path[0] not in ("urlset", "sitemapindex"):
            raise SitemapDamaged("it is XML, but neither urlset nor sitemapindex")
        self._text, self._length = [], 0

    def _characters(self, text: str) -> None:
        if self._path[-1:] == ["loc"]:
            self._length += len(text)
            if self._length > _MAX_LOCATION:
                raise SitemapDamaged(f"it names a URL of more than {_MAX_LOCATION} characters")
            self._text.append(text)

    def _end(self, _name: str) -> None:
        place = self._path[1:]
        location = "".join(self._text).strip()
        if location and place == ["url", "loc"]:
            self._found.pages.append(location)
        elif location and place == ["sitemap", "loc"]:
            self._found.sitemaps.append(location)
        if len(self._found.pages) + len(self._found.sitemaps) > MAX_ENTRIES:
            raise SitemapDamaged(f"it names more than {MAX_ENTRIES} pages")
        self._path.pop()
        self._text, self._length = [], 0

    def _doctype(self, *_declaration: object) -> None:
        raise SitemapDamaged("it has a document type, which is not read")
