"""Reads XML without entities, without anything from outside, and within bounds.

A document type declaration is refused before the tree is built, so that no entity is ever declared: neither one
that grows nor one that names a file.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import IO, NoReturn, Protocol, cast
from xml.etree.ElementTree import Element, ParseError, XMLParser, XMLPullParser
from xml.parsers import expat

from lectern_runtime.embed.parsers.faults import corrupt, fault

MAX_DEPTH = 400
"""Deeper trees are refused: walkers call themselves once or twice a level."""
_CHUNK = 1 << 16
_HEAD = 1 << 18
"""The root element of a stream begins within this many bytes."""
__all__ = ["Element", "attribute", "local", "read", "refuse_doctype", "stream"]


class _Events(Protocol):
    """What is used of the library's pull parser, whose events have many shapes."""

    def feed(self, data: bytes) -> None: ...

    def read_events(self) -> Iterator[tuple[str, Element]]: ...


class _Root(Exception):
    """The root element was reached: what comes before it is harmless."""


def read(data: bytes, what: str) -> Element:
    """The root of the XML in `data`. Raises `DocumentError` XmlEntities, TooDeep or Corrupt, naming it `what`."""
    refuse_doctype(data, what)
    parser = XMLParser()  # noqa: S314 guarded above
    try:
        parser.feed(data)
        root: Element = parser.close()
    except (ParseError, ValueError) as error:
        raise corrupt(what, "its XML cannot be read") from error
    _bound_depth(root, what)
    return root


def refuse_doctype(data: bytes, what: str) -> None:
    """Raise `DocumentError` XmlEntities where a document type with declarations of its own comes before the root."""

    def declared(name: str, system: str | None, public: str | None, has_internal_subset: int) -> None:
        if has_internal_subset:
            raise fault("XmlEntities", f"{what} declares entities, which are not read; save it without them")

    def reached(name: str, attributes: object) -> NoReturn:
        raise _Root

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = declared
    parser.StartElementHandler = reached
    try:
        for start in range(0, len(data), _CHUNK):
            parser.Parse(data[start : start + _CHUNK], False)
        parser.Parse(b"", True)
    except _Root:
        return
    except (expat.ExpatError, ValueError) as error:
        raise corrupt(what, "its XML cannot be read") from error


def _bound_depth(root: Element, what: str) -> None:
    """Level by level, and at most `MAX_DEPTH` of them."""
    level = [root]
    for _ in range(MAX_DEPTH):
        level = [child for element in level for child in element if len(child)]
        if not level:
            return
    raise fault("TooDeep", f"{what} is nested more than {MAX_DEPTH} levels deep")


@lru_cache(maxsize=4096)
def local(tag: str) -> str:
    """The name of an element or attribute without its namespace."""
    return tag.rpartition("}")[2]


def attribute(element: Element, name: str) -> str | None:
    """The attribute with this local name, in whatever namespace."""
    plain = element.get(name)
    if plain is not None:
        return plain
    return next((value for key, value in element.items() if key.endswith("}" + name)), None)


def stream(source: IO[bytes], names: tuple[str, ...], what: str) -> Iterator[Element]:
    """The elements of these local names, one after the other; each is emptied when the next one is asked for.

    What is outside of them costs no memory. Raises `DocumentError` as `read` does.
    """
    parser = cast("_Events", XMLPullParser(("start", "end")))
    head = _bytes(source, _HEAD, what)
    refuse_doctype(head, what)
    inside = 0
    path: list[Element] = []
    while head:
        try:
            parser.feed(head)
            for event, element in parser.read_events():
                if event == "start":
                    path.append(element)
                    if len(path) > MAX_DEPTH:
                        raise fault("TooDeep", f"{what} is nested more than {MAX_DEPTH} levels deep")
                    inside += local(element.tag) in names
                    continue
                path.pop()
                if local(element.tag) in names:
                    inside -= 1
                    if not inside:
                        yield element
                if not inside and path:
                    path[-1].remove(element)
        except (ParseError, ValueError) as error:
            raise corrupt(what, "its XML cannot be read") from error
        head = _bytes(source, _CHUNK, what)
    if path:
        raise corrupt(what, "its XML ends too early")


def _bytes(source: IO[bytes], count: int, what: str) -> bytes:
    try:
        return source.read(count)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise corrupt(what, "a file in it cannot be unpacked") from error
