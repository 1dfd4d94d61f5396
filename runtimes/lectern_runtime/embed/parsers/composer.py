"""Puts a document together from headings, paragraphs, list items and tables, and remembers where each block stands.

Parsers of formats without a readable source (Office, PDF, e-mail) speak to a `Composer`; it writes the text once,
so that offsets are right by construction, and stops a document that unpacks into far too much text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lectern_runtime.embed.parsed import MAX_TITLE, Block, Headings, Kind, ParsedDocument, covering, shortened
from lectern_runtime.embed.parsers.faults import fault

MAX_CHARACTERS = 64 << 20
"""No document gives more text than this, whatever its format."""
_INDENT = "  "
_MAX_INDENT = 8
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_SPACES = re.compile(r"[^\S\n]+")
_EMPTY_LINES = re.compile(r" ?\n(?: ?\n)*(?: )?")


class Composer:
    """The text so far. Blocks stand an empty line apart; items of one list and rows of one table follow closely."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._blocks: list[Block] = []
        self._headings = Headings()
        self._page: int | None = None
        self._list_open = False
        self._first_heading = ""

    @property
    def length(self) -> int:
        """How many characters were written."""
        return self._length

    def page(self, number: int | None) -> None:
        """What follows stands on this page, counted from 1."""
        self._page = number
        self._list_open = False

    def heading(self, level: int, text: str) -> None:
        """A heading of level 1 (the highest) and below."""
        line = flat(text)
        if line:
            self._headings.enter(level, line)
            self._first_heading = self._first_heading or (line if level == 1 else "")
            self._block("heading", line)

    def block(self, kind: Kind, text: str) -> None:
        """A paragraph, quotation or the like; line breaks in it stay, and in code everything."""
        self._block(kind, text.strip("\n") if kind == "code" else tidy(text))

    def outline(self, lines: Iterable[str]) -> None:
        """A paragraph whose lines stay as they are, indented."""
        self._block("paragraph", "\n".join(clean(line).rstrip() for line in lines))

    def item(self, text: str, *, depth: int = 0, mark: str = "-") -> None:
        """An item of a list, `depth` lists deep; items that follow each other are one block."""
        content = tidy(text)
        if not content:
            return
        line = f"{_INDENT * min(depth, _MAX_INDENT)}{mark} {content}"
        if not self._list_open:
            self._block("list", line)
            self._list_open = bool(self._blocks)
            return
        self._write("\n" + clean(line))
        last = self._blocks[-1]
        self._blocks[-1] = Block(last.start, self._length, last.kind, last.section, last.page)

    def table(self, rows: Iterable[Sequence[str]]) -> None:
        """A table: one line a row, cells apart by bars; rows and trailing cells without text are left out."""
        lines = []
        for row in rows:
            cells = [flat(cell) for cell in row]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                lines.append(" | ".join(cells))
        self._block("table", "\n".join(lines))

    def insert(self, parsed: ParsedDocument) -> None:
        """Another document, as a chapter or the body of a mail is one; its headings stand below those that are open."""
        self._list_open = False
        if not parsed.text.strip():
            return
        if self._parts:
            self._write("\n\n")
        start = self._length
        self._write(clean(parsed.text))
        above = self._headings.path
        self._blocks += [
            Block(start + each.start, start + each.end, each.kind, above + each.section, self._page)
            for each in parsed.blocks
        ]
        self._first_heading = self._first_heading or parsed.title

    def finish(self, title: str = "") -> ParsedDocument:
        """The whole document; without a title of its own its first heading of level 1 is it."""
        text = "".join(self._parts)
        found = shortened(clean(title), MAX_TITLE) or shortened(self._first_heading, MAX_TITLE)
        return ParsedDocument(found, text, covering(text, self._blocks))

    def _block(self, kind: Kind, text: str) -> None:
        self._list_open = False
        content = clean(text)
        if not content.strip():
            return
        if self._parts:
            self._write("\n\n")
        start = self._length
        self._write(content)
        self._blocks.append(Block(start, self._length, kind, self._headings.path, self._page))

    def _write(self, piece: str) -> None:
        self._parts.append(piece)
        self._length += len(piece)
        if self._length > MAX_CHARACTERS:
            raise fault("OutputTooLarge", f"its text has more than {MAX_CHARACTERS} characters; split it")


def clean(text: str) -> str:
    """`text` without control characters and lone surrogates, which no UTF-8 can carry; its length stays."""
    return _UNFIT.sub(" ", text)


def flat(text: str) -> str:
    """`text` on one line with single spaces."""
    return " ".join(clean(text).split())


def tidy(text: str) -> str:
    """`text` with single spaces, and without empty lines."""
    return _EMPTY_LINES.sub("\n", _SPACES.sub(" ", clean(text))).strip()
