"""Turns e-books (EPUB) into text: the chapters in the order of the spine."""

from __future__ import annotations

from urllib.parse import unquote

from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers import html
from lectern_runtime.embed.parsers.archive import Archive, beside
from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime.embed.parsers.faults import corrupt, encrypted, fault
from lectern_runtime.embed.parsers.xml_tree import Element, local

_WHAT = "the e-book"
_MAX_CHAPTERS = 5000
_MAX_CHAPTER_BYTES = 32 << 20
_READ = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document")


def parse(data: bytes) -> ParsedDocument:
    """The book. Raises `DocumentError` Encrypted for one whose chapters are."""
    archive = Archive(data, _WHAT)
    if "META-INF/container.xml" not in archive:
        raise fault("NotWhatItSays", f"{_WHAT} is a ZIP archive without META-INF/container.xml; name it as what it is")
    root = archive.xml("META-INF/container.xml")
    book = next((each.get("full-path") for each in root.iter() if local(each.tag) == "rootfile"), None)
    if not book:
        raise corrupt(_WHAT, "it does not say where its contents are")
    package = archive.xml(book)
    chapters = _chapters(package, book)
    closed = _encrypted(archive.optional_xml("META-INF/encryption.xml"))
    composer = Composer()
    for name in chapters:
        if name in closed:
            raise encrypted(_WHAT)
        if name in archive:
            composer.insert(html.parse(archive.read(name, _MAX_CHAPTER_BYTES)))
    title = next((each.text or "" for each in package.iter() if local(each.tag) == "title"), "")
    return composer.finish(title)


def _chapters(package: Element, book: str) -> list[str]:
    """Names of the chapters, in reading order."""
    items = {each.get("id"): each for each in package.iter() if local(each.tag) == "item"}
    names = []
    for reference in package.iter():
        item = items.get(reference.get("idref")) if local(reference.tag) == "itemref" else None
        if item is not None and item.get("media-type") in _READ:
            names.append(beside(book, unquote(item.get("href", ""))))
    if len(names) > _MAX_CHAPTERS:
        raise fault("TooLarge", f"{_WHAT} has {len(names)} chapters, the limit is {_MAX_CHAPTERS}")
    return names


def _encrypted(root: Element | None) -> frozenset[str]:
    """Names of the files that are encrypted: fonts often are, and do not matter."""
    if root is None:
        return frozenset()
    return frozenset(unquote(each.get("URI", "")) for each in root.iter() if local(each.tag) == "CipherReference")
