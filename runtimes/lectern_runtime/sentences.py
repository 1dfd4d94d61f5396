"""Cuts a passage into the units that an answer can be made of: sentences, list items, table rows, code.

The extractive generator and the support value call it for each passage. A unit knows its place in the passage, so
that it can be cited, and its words without markup, so that it can be read; a code block is one unit and never cut.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal

Kind = Literal["sentence", "item", "row", "code", "heading"]


@dataclass(frozen=True, slots=True)
class Unit:
    """Characters [start, end) of a passage. `plain` is what they say; `block` counts blocks, from 0.

    Sentences of one paragraph share a block. `heading` is the nearest heading above, without markup.
    """

    kind: Kind
    start: int
    end: int
    plain: str
    block: int
    heading: str = ""


@dataclass(frozen=True, slots=True)
class _Block:
    kind: Literal["paragraph", "item", "table", "code", "heading"]
    start: int
    end: int


_FENCE = re.compile(r"^ {0,8}(`{3,}|~{3,})\s*([^`\s]*)[^`]*$")
_HEADING = re.compile(r"^ {0,3}#{1,6}(?:\s+|$)")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d{1,9}[.)])\s+")
_TABLE = re.compile(r"^\s*\|")
_RULE = re.compile(r"^\s*(?:[-*_=]\s*){3,}$")
_SEPARATOR = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_CELL = re.compile(r"(?<!\\)\|")
# A sentence ends at . ! or ?, perhaps closed by a quote or bracket, before white space and what can begin another.
_STOP = re.compile(r"[.!?][\"'”’)\]*_`]*(?=\s+[\"'“\u2018(\[*_`]*[^\W_a-z])")
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|No|Fig|Vol|Inc|Ltd|Co|vs|cf|etc|approx|e\.g|i\.e|a\.m|p\.m|al)|[A-Z]\.[A-Z])\.$"
)
_CODE_SPAN = re.compile(r"`[^`\n]+`")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_INLINE = (
    (_COMMENT, " "),
    (re.compile(r"!\[([^\]]*)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\[[^\]]*\]"), r"\1"),
    (re.compile(r"</?[a-zA-Z][^<>`]{0,200}>"), " "),
    (re.compile(r"(?<!\*)\*{1,3}(?=\S)([^*\n]+?)(?<=\S)\*{1,3}(?!\*)"), r"\1"),
    (re.compile(r"(?<![\w_])_{1,3}(?=\S)([^_\n]+?)(?<=\S)_{1,3}(?![\w_])"), r"\1"),
)


def units(text: str) -> list[Unit]:
    """All units of `text` in order."""
    found: list[Unit] = []
    heading = ""
    for number, block in enumerate(_blocks(text)):
        if block.kind == "heading":
            heading = plain(text[block.start : block.end])
        found.extend(_units_of(text, block, number, heading))
    return found


def plain(markup: str) -> str:
    """The words of a piece of Markdown on one line; code spans keep their backticks."""
    said = _ITEM.sub("", _HEADING.sub("", markup))
    for pattern, replacement in _INLINE:
        said = pattern.sub(replacement, said)
    return " ".join(said.split()).strip(" #")


def _units_of(text: str, block: _Block, number: int, heading: str) -> Iterator[Unit]:
    body = text[block.start : block.end]
    match block.kind:
        case "code":
            yield Unit("code", block.start, block.end, _code(body), number, heading)
        case "heading":
            yield Unit("heading", block.start, block.end, heading, number, heading)
        case "table":
            yield from _rows(body, block.start, number, heading)
        case _:
            kind: Kind = "item" if block.kind == "item" else "sentence"
            for start, end in _sentences(body):
                said = plain(body[start:end])
                if said:
                    yield Unit(kind, block.start + start, block.start + end, said, number, heading)


def _code(block: str) -> str:
    """The code between fences of its own, also where the chunk has cut one of them off, without outer indentation."""
    lines = block.splitlines()
    opening = _FENCE.match(lines[0])
    inner = lines[1:] if opening else lines
    if inner and _FENCE.match(inner[-1]):
        inner = inner[:-1]
    language = opening.group(2) if opening else ""
    return f"```{language}\n" + textwrap.dedent("\n".join(inner)).strip("\n") + "\n```"


def _rows(body: str, offset: int, number: int, heading: str) -> Iterator[Unit]:
    """Rows of a table as `column: cell; column: cell`; a table without a header row gives its cells alone."""
    lines = list(_lines(body))
    has_header = len(lines) > 1 and _SEPARATOR.match(lines[1][1]) is not None
    header = _cells(lines[0][1]) if has_header else []
    for start, line in lines[2 if has_header else 0 :]:
        if _SEPARATOR.match(line):
            continue
        cells = _cells(line)
        named = [
            f"{header[index]}: {cell}" if index < len(header) and header[index] else cell
            for index, cell in enumerate(cells)
            if cell
        ]
        if named:
            yield Unit("row", offset + start, offset + start + len(line), "; ".join(named), number, heading)


def _cells(line: str) -> list[str]:
    return [plain(cell) for cell in _CELL.split(line.strip().strip("|"))]


def _blocks(text: str) -> Iterator[_Block]:
    """Blocks in order; blank lines, rules and comments are none."""
    lines = list(_lines(text))
    fences = _fences([line for _, line in lines])
    current: _Block | None = None
    index = 0
    while index < len(lines):
        offset, line = lines[index]
        shape = "fence" if index in fences else _shape(line)
        if current is not None and _joins(current, shape):
            current = replace(current, end=offset + len(line))
        else:
            if current is not None:
                yield current
            current = None
            if shape == "fence":
                index = fences[index]
                last, closing = lines[index]
                yield _Block("code", offset, last + len(closing))
            elif shape == "heading":
                yield _Block("heading", offset, offset + len(line))
            elif shape != "none":
                current = _Block(shape, offset, offset + len(line))
        index += 1
    if current is not None:
        yield current


def _shape(line: str) -> Literal["none", "heading", "item", "table", "paragraph"]:
    if not line.strip() or _RULE.match(line):
        return "none"
    if _HEADING.match(line):
        return "heading"
    if _TABLE.match(line):
        return "table"
    return "item" if _ITEM.match(line) else "paragraph"


def _joins(block: _Block, shape: str) -> bool:
    """Whether a line of this shape goes on with the block: prose in a paragraph or an item, rows in a table."""
    return shape == ("table" if block.kind == "table" else "paragraph")


def _fences(lines: list[str]) -> dict[int, int]:
    """First to last line of each code block. One that is cut off reaches to the passage's edge.

    A chunk may begin inside a block: an odd number of fences whose first bears no language closes such a block.
    """
    marks = [index for index, line in enumerate(lines) if _FENCE.match(line)]
    found: dict[int, int] = {}
    if len(marks) % 2 and (first := _FENCE.match(lines[marks[0]])) and not first.group(2):
        found[0] = marks.pop(0)
    return found | dict(zip_longest(marks[::2], marks[1::2], fillvalue=len(lines) - 1))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its offset, without its end."""
    offset = 0
    for line in text.splitlines(keepends=True):
        yield offset, line.rstrip("\r\n")
        offset += len(line)


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Spans of the sentences of `text`, outer white space left out; stops inside code spans end nothing."""
    start = 0
    code = [match.span() for match in _CODE_SPAN.finditer(text)]
    for match in _STOP.finditer(text):
        end = match.end()
        if any(left < end < right for left, right in code) or _ABBREVIATION.search(text, start, match.start() + 1):
            continue
        yield from _trimmed(text, start, end)
        start = end
    yield from _trimmed(text, start, len(text))


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    part = text[start:end]
    if part.strip():
        yield start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())
