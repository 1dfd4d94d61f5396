"""What the styles and lists of a Word document make of a paragraph: a heading, an item with its number, or code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lectern_runtime.embed.parsers.xml_tree import Element, attribute, local

_HEADING = re.compile(r"heading ?(\d)\Z", re.I)
_CODE = re.compile(r"code|source|preformatted|macro text", re.I)
_MAX_LEVEL = 8
_MAX_BASES = 16
_PLACEHOLDER = re.compile(r"%(\d)")
_ROMAN = (
    *((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl")),
    *((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")),
)


@dataclass(frozen=True, slots=True)
class Place:
    """What a paragraph is: a heading of a level, an item of the list `number` at `depth`, code, or none of these."""

    heading: int | None = None
    number: str = ""
    depth: int = 0
    code: bool = False


@dataclass(slots=True)
class _Style:
    name: str = ""
    based_on: str = ""
    properties: Element | None = None


class Styles:
    """The paragraph styles of a document."""

    def __init__(self, root: Element | None) -> None:
        self.linked: dict[tuple[str, str], int] = {}
        """Level by list and style; `Numbering` fills it in."""
        self._styles: dict[str, _Style] = {}
        self._default = ""
        for each in root if root is not None else ():
            if local(each.tag) == "style":
                key = attribute(each, "styleId") or ""
                self._styles[key] = _style(each)
                if attribute(each, "type") == "paragraph" and attribute(each, "default") in ("1", "true"):
                    self._default = key

    def place(self, paragraph: Element) -> Place:
        """What the properties of a paragraph, its style, and the styles below that say together."""
        own = next((each for each in paragraph if local(each.tag) == "pPr"), None)
        style = _value(own, "pStyle") or self._default
        heading, number, depth, code = None, None, None, False
        outline: str | None = None
        for properties, name in self._chain(own, style):
            found = _HEADING.match(name)
            if heading is None and (found or name.casefold() == "title"):
                heading = int(found.group(1)) if found else 1
            code = code or bool(_CODE.search(name))
            outline = outline or _value(properties, "outlineLvl")
            list_of = _child(properties, "numPr")
            number = number if number is not None else _value(list_of, "numId")
            depth = depth if depth is not None else _value(list_of, "ilvl")
        if heading is None and outline is not None and outline.isdecimal() and int(outline) < 9:
            heading = int(outline) + 1
        level = int(depth) if depth is not None and depth.isdecimal() else self._level_of(style, number)
        return Place(heading, "" if number in (None, "0") else number or "", min(level, _MAX_LEVEL), code)

    def _chain(self, own: Element | None, style: str) -> Iterator[tuple[Element | None, str]]:
        yield own, ""
        for _ in range(_MAX_BASES):
            found = self._styles.get(style)
            if found is None:
                return
            yield found.properties, found.name
            style = found.based_on

    def _level_of(self, style: str, number: str | None) -> int:
        return self.linked.get((number or "", style), 0)


@dataclass(slots=True)
class _Level:
    text: str = "-"
    kind: str = "bullet"
    start: int = 1


@dataclass(slots=True)
class _List:
    """A numbering that paragraphs refer to; those on one definition count together."""

    levels: dict[int, _Level] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)


class Numbering:
    """Counts the items of all lists of a document, in order."""

    def __init__(self, root: Element | None, styles: Styles) -> None:
        self._lists: dict[str, _List] = {}
        definitions: dict[str, Element] = {}
        counts: dict[str, dict[int, int]] = {}
        for each in root if root is not None else ():
            if local(each.tag) == "abstractNum":
                definitions[attribute(each, "abstractNumId") or ""] = each
            elif local(each.tag) == "num":
                key, of = attribute(each, "numId") or "", _value(each, "abstractNumId") or ""
                overridden = any(local(inner.tag) == "lvlOverride" for inner in each)
                shared = {} if overridden else counts.setdefault(of, {})
                levels = _levels(definitions.get(of))
                for override in each:
                    _override(levels, override)
                self._lists[key] = _List(levels, shared)
                for level, style in _linked(definitions.get(of)):
                    styles.linked[key, style] = level

    def mark(self, number: str, depth: int) -> str:
        """The mark of the next item of a list: "-", or its number as "2." or "1.3."; "" for a list without marks."""
        found = self._lists.get(number)
        if found is None:
            return "-"
        level = found.levels.get(depth, _Level())
        if level.kind == "none":
            return ""
        if level.kind == "bullet":
            return "-"
        counts = found.counts
        counts[depth] = counts.get(depth, level.start - 1) + 1
        for deeper in [each for each in counts if each > depth]:
            del counts[deeper]
        for above in range(depth):
            counts.setdefault(above, found.levels.get(above, _Level()).start)

        def spelled(match: re.Match[str]) -> str:
            place = int(match.group(1)) - 1
            return _spell(counts.get(place, 1), found.levels.get(place, _Level()).kind)

        return " ".join(_PLACEHOLDER.sub(spelled, level.text)[:64].split()) or "-"


def _style(element: Element) -> _Style:
    return _Style(_value(element, "name") or "", _value(element, "basedOn") or "", _child(element, "pPr"))


def _levels(definition: Element | None) -> dict[int, _Level]:
    return {
        _integer(attribute(each, "ilvl")): _level(each)
        for each in (definition if definition is not None else ())
        if local(each.tag) == "lvl"
    }


def _level(element: Element) -> _Level:
    kind = _value(element, "numFmt") or "decimal"
    return _Level(_value(element, "lvlText") or "", kind, _integer(_value(element, "start"), 1))


def _override(levels: dict[int, _Level], element: Element) -> None:
    if local(element.tag) != "lvlOverride":
        return
    depth = _integer(attribute(element, "ilvl"))
    whole = _child(element, "lvl")
    if whole is not None:
        levels[depth] = _level(whole)
    start = _value(element, "startOverride")
    if start is not None and depth in levels:
        before = levels[depth]
        levels[depth] = _Level(before.text, before.kind, _integer(start, 1))


def _linked(definition: Element | None) -> Iterator[tuple[int, str]]:
    """Levels that stand for a style: a paragraph of the style is an item of that level."""
    for each in definition if definition is not None else ():
        style = _value(each, "pStyle") if local(each.tag) == "lvl" else None
        if style:
            yield _integer(attribute(each, "ilvl")), style


def _spell(count: int, kind: str) -> str:
    if kind in ("lowerLetter", "upperLetter") and 0 < count <= 260:
        letters = chr(ord("a") + (count - 1) % 26) * ((count - 1) // 26 + 1)
        return letters if kind == "lowerLetter" else letters.upper()
    if kind in ("lowerRoman", "upperRoman") and 0 < count < 4000:
        digits = ""
        for value, letters in _ROMAN:
            while count >= value:
                digits, count = digits + letters, count - value
        return digits if kind == "lowerRoman" else digits.upper()
    return str(count)


def _child(element: Element | None, name: str) -> Element | None:
    return next((each for each in element if local(each.tag) == name), None) if element is not None else None


def _value(element: Element | None, name: str) -> str | None:
    found = _child(element, name)
    return attribute(found, "val") if found is not None else None


def _integer(text: str | None, default: int = 0) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else default
