"""Turns AsciiDoc into text: headings, paragraphs, lists, tables and listings, without its commands.

Pictures (their captions stay) and includes are left out, and nothing is ever loaded; attributes that the document
sets are put in. List marks stay the author's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers import charset
from lectern_runtime.embed.parsers.composer import Composer

_HEADING = re.compile(r"(={1,6}|#{1,6})[ \t]+(\S.*?)(?:[ \t]+\1)?\Z")
_ATTRIBUTE = re.compile(r":(!?[\w-]{1,100}!?):(?:[ \t]+(.*))?\Z")
_BLOCK_ATTRIBUTES = re.compile(r"\[[^\]\n]*(?:\][^\]\n]*)?\]\Z")
_BLOCK_TITLE = re.compile(r"\.([^\s.].*)\Z")
_ITEM = re.compile(r"(?P<mark>\*{1,5}|-|\.{1,5}|\d{1,6}\.|<\.>|<\d{1,3}>)[ \t]+(?P<text>\S.*)\Z")
_TERM = re.compile(r"(\S.{0,500}?)(::{1,3}|;;)(?:[ \t]+(.*))?\Z")
_MACRO = re.compile(r"(?:image|video|audio|include|toc|ifdef|ifndef|ifeval|endif)::[^\[\s]*\[.*\]\Z")
_FENCE = re.compile(r"(-{4,}|\.{4,}|={4,}|\*{4,}|_{4,}|\+{4,}|/{4,}|--|```\w{0,40})\Z")
_TABLE = re.compile(r"([|,:!])={3,}\Z")
_CELL = re.compile(
    r"(?<!\\)(?:(?<=\s)|\A)(?:(\d{1,4})\*|(?:\d{1,4}(?:\.\d{1,4})?|\.\d{1,4})\+)?"
    r"(?:[<^>](?:\.[<^>])?|\.[<^>])?[adehlmsv]?\|"
)
_REFERENCE = re.compile(r"\{([\w-]{1,100})\}")
_INLINE_LINK = re.compile(r"(?:link:|xref:|mailto:|https?://)[^\s\[\]]{1,300}\[([^\[\]]*)\]")
_CROSS = re.compile(r"<<[^<>,]{1,300}(?:,([^<>]{1,300}))?>>")
_INLINE_IMAGE = re.compile(r"image:[^\s\[\]]{1,300}\[([^\[\],]*)[^\[\]]*\]")
_ANCHOR = re.compile(r"\[\[[^\[\]]{1,300}\]\]")
_VERBATIM = ("-", ".", "+", "`")
_MAX_COLUMNS = 1000


def parse(data: bytes) -> ParsedDocument:
    """The document; its title is its heading of level 1."""
    return _Page(charset.decode(data)).written()


class _Page:
    """Reads one document line by line."""

    def __init__(self, source: str) -> None:
        self._lines = source.split("\n")
        self._place = 0
        self._composer = Composer()
        self._paragraph: list[str] = []
        self._item: tuple[int, str, list[str]] | None = None
        self._attributes: dict[str, str] = {}

    def written(self) -> ParsedDocument:
        """The whole document."""
        while self._place < len(self._lines):
            line = self._lines[self._place].rstrip()
            self._place += 1
            self._line(line)
        self._end()
        return self._composer.finish()

    def _line(self, line: str) -> None:
        if not line:
            self._end()
        elif line == "+" or (line.startswith("//") and not line.startswith("///")):
            return
        elif not self._structure(line):
            self._prose(line)

    def _structure(self, line: str) -> bool:
        """Take a line that begins or marks a block; False for one that is prose."""
        if (match := _ATTRIBUTE.match(line)) is not None:
            self._attributes[match.group(1)] = match.group(2) or ""
        elif (match := _HEADING.match(line)) is not None:
            self._end()
            self._composer.heading(len(match.group(1)), self._plain(match.group(2)))
        elif (match := _TABLE.match(line)) is not None:
            self._end()
            self._composer.table(self._rows(line, match.group(1)))
        elif _FENCE.match(line) is not None:
            self._end()
            self._fenced(line)
        elif _MACRO.match(line) is not None or (not self._paragraph and _BLOCK_ATTRIBUTES.match(line) is not None):
            self._end()
        elif not self._paragraph and (match := _BLOCK_TITLE.match(line)) is not None:
            self._end()
            self._composer.block("paragraph", self._plain(match.group(1)))
        else:
            return self._listed(line)
        return True

    def _listed(self, line: str) -> bool:
        stripped = line.lstrip()
        if (match := _ITEM.match(stripped)) is not None and not self._paragraph:
            self._end()
            mark, text = match.group("mark"), match.group("text")
            depth = len(mark) - 1 if mark[0] in "*." else 0
            self._item = (depth, "-" if mark[0] in "*-" else mark[:1] if mark[0] == "." else mark, [text])
            return True
        if not self._paragraph and (match := _TERM.match(stripped)) is not None:
            self._end()
            self._composer.block("paragraph", self._plain(match.group(1)))
            if match.group(3):
                self._paragraph.append(match.group(3))
            return True
        return False

    def _prose(self, line: str) -> None:
        if self._item is not None:
            self._item[2].append(line.strip())
        else:
            self._paragraph.append(line.strip())

    def _end(self) -> None:
        """Write the item or paragraph that is open."""
        if self._item is not None:
            depth, mark, parts = self._item
            self._composer.item(self._plain(" ".join(parts)), depth=depth, mark=mark)
            self._item = None
        if self._paragraph:
            self._composer.block("paragraph", self._plain("\n".join(self._paragraph)))
            self._paragraph = []

    def _fenced(self, fence: str) -> None:
        """A block between two equal lines: verbatim, a comment, or structure that stays as it is."""
        if fence[0] not in (*_VERBATIM, "/") or fence == "--":
            return
        content: list[str] = []
        closing = "```" if fence.startswith("`") else fence
        while self._place < len(self._lines):
            line = self._lines[self._place].rstrip()
            self._place += 1
            if line == closing:
                break
            content.append(line)
        if fence[0] != "/":
            self._composer.block("code", "\n".join(content))

    def _rows(self, fence: str, mark: str) -> Iterator[list[str]]:
        lines: list[str] = []
        while self._place < len(self._lines):
            line = self._lines[self._place].rstrip()
            self._place += 1
            if line == fence:
                break
            lines.append(line)
        if mark != "|":
            separator = {",": ",", ":": ":", "!": "!"}[mark]
            yield from ([self._plain(cell) for cell in line.split(separator)] for line in lines if line)
            return
        yield from _arranged([[self._plain(cell) for cell in _cells(line)] for line in lines], self._columns(lines))

    def _columns(self, lines: list[str]) -> int:
        """Columns of a table: as many as its first row has."""
        return min(next((len(_cells(line)) for line in lines if line.strip()), 1), _MAX_COLUMNS)

    def _plain(self, text: str) -> str:
        text = _REFERENCE.sub(lambda match: self._attributes.get(match.group(1), match.group(0)), text[: 1 << 20])
        text = _INLINE_LINK.sub(lambda match: match.group(1) or match.group(0), text)
        text = _INLINE_IMAGE.sub(r"\1", _CROSS.sub(lambda match: match.group(1) or "", text))
        return _ANCHOR.sub("", text).removesuffix(" +")


def _cells(line: str) -> list[str]:
    """The cells that a line begins; one without a bar goes on with the cell before, which `_arranged` sees to."""
    marks = list(_CELL.finditer(line))
    if not marks:
        return [line] if line.strip() else []
    cells: list[str] = []
    for number, match in enumerate(marks):
        end = marks[number + 1].start() if number + 1 < len(marks) else len(line)
        times = min(int(match.group(1) or "1"), _MAX_COLUMNS)
        cells += [line[match.end() : end].strip()] * max(times, 1)
    return cells[:_MAX_COLUMNS]


def _arranged(lines: list[list[str]], columns: int) -> Iterator[list[str]]:
    """Cells as rows: a line of several cells is a row, cells on lines of their own fill one together."""
    row: list[str] = []
    for cells in lines:
        if len(cells) > 1 and not row:
            yield cells
            continue
        row += cells
        if len(row) >= max(columns, 1):
            yield row
            row = []
    if row:
        yield row
