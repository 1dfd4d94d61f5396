"""Turns HTML into readable text and blocks: headings, paragraphs, lists and tables, without scripts and menus.

The tree is walked with a stack of its own, since a page may nest deeper than calls
can, and nothing is ever loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from selectolax.lexbor import LexborHTMLParser, LexborNode

from lectern_runtime.embed.parsed import MAX_TITLE, Block, Headings, Kind, ParsedDocument, covering, shortened
from lectern_runtime.embed.parsers import charset
from lectern_runtime.embed.parsers.html_table import Spans

_DROPPED = frozenset(("script", "style", "nav", "noscript", "template", "svg", "math", "iframe", "object", "embed"))
_DROPPED |= {"canvas", "head", "select", "button", "textarea", "audio", "video", "map", "datalist", "dialog"}
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_APART = frozenset(("p", "div", "section", "article", "main", "header", "footer", "aside", "address", "details"))
_APART |= {"summary", "figure", "figcaption", "fieldset", "form", "hr", "body", "blockquote", "ul", "ol", "dl"}
_APART |= {"table", "pre", *_HEADINGS}
_OWN_LINE = frozenset(("li", "dt", "dd", "tr", "caption", "legend", "option", "br"))
_CELLS = frozenset(("td", "th"))
_KINDS: dict[str, Kind] = {
    "ul": "list",
    "ol": "list",
    "dl": "list",
    "table": "table",
    "pre": "code",
    "blockquote": "quote",
}
_MAX_INDENT = 8
_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w:.-]{1,40})""", re.I)


def declared_charset(data: bytes) -> str | None:
    """The charset that a `meta` element in the first 4 KiB names."""
    match = _META_CHARSET.search(data[:4096])
    return match.group(1).decode("ascii") if match else None


def parse(data: bytes) -> ParsedDocument:
    """The document in `data`, in the charset that it names where that fits, else in the one that does."""
    # Browsers skip stray zero bytes; where they are many it is UTF-16 or no HTML at all, which `decode` tells.
    if data.count(0) * 50 < len(data):
        data = data.replace(b"\x00", b"")
    return parse_text(charset.decode(data, declared=declared_charset(data)))


def parse_text(source: str) -> ParsedDocument:
    """The document in `source`. Its title is that of the `title` element, else the first `h1`."""
    tree = LexborHTMLParser(source)
    heading = tree.css_first("title")
    body = tree.body
    text = _Text()
    if body is not None:
        _walk(body, text)
    content, blocks, first_heading = text.finish()
    title = heading.text(deep=True) if heading is not None else ""
    return ParsedDocument(shortened(title, MAX_TITLE) or first_heading, content, covering(content, blocks))


def _walk(body: LexborNode, text: _Text) -> None:
    """Depth first. Nodes are never compared: selectolax compares them by writing both out as HTML."""
    path: list[LexborNode] = []
    node: LexborNode | None = body
    while node is not None:
        if text.enter(node):
            child = node.first_child
            if child is not None:
                path.append(node)
                node = child
                continue
            text.leave(node)
        node = node.next if path else None
        while node is None and path:
            above = path.pop()
            text.leave(above)
            node = above.next if path else None


class _Text:
    """The text so far. Breaks are remembered and written before the next word, so that none stands at an end."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._break = ""
        self._blocks: list[Block] = []
        self._start: int | None = None
        self._kind: Kind = "paragraph"
        self._kinds: list[tuple[str, Kind]] = []
        self._lists: list[int | None] = []
        self._spans = Spans()
        self._preformatted = 0
        self._headings = Headings()
        self._heading: tuple[int, int] | None = None
        self._title = ""

    def enter(self, node: LexborNode) -> bool:
        """Take in a node; False when what is in it does not count."""
        tag = node.tag or ""
        if tag == "-text":
            self._write(node.text_content or "")
            return False
        if tag.startswith("-") or tag in _DROPPED or "hidden" in node.attributes:
            return False
        if tag in _APART:
            self._apart(tag, node)
        elif tag in _CELLS:
            self._repeat(self._spans.open_cell(self._length, node.attributes))
            self._need(" | ")
        elif tag in _OWN_LINE:
            self._line(tag)
        elif tag == "img":
            self._write(f" {node.attributes.get('alt') or ''} ")
        return True

    def leave(self, node: LexborNode) -> None:
        """Close what `enter` opened."""
        tag = node.tag or ""
        if tag in _HEADINGS and self._heading is not None:
            self._end_heading()
        if self._kinds and self._kinds[-1][0] == tag:
            self._kinds.pop()
            self._preformatted -= tag == "pre"
        if tag in ("ul", "ol") and self._lists:
            self._lists.pop()
        elif tag == "table":
            self._spans.close_table()
        elif tag == "tr":
            self._repeat(self._spans.close_row())
        elif tag in _CELLS:
            self._end_cell()
        if tag in _APART:
            self._need(self._gap(tag))
            self._close()
        elif tag in _OWN_LINE:
            self._need("\n")

    def finish(self) -> tuple[str, list[Block], str]:
        """The text, its blocks, and the first heading of level 1."""
        self._close()
        return "".join(self._parts), self._blocks, self._title

    def _end_cell(self) -> None:
        start = self._spans.cell_start
        text = "" if start is None else " ".join("".join(self._tail(start)).strip(" |\n").split())
        self._repeat(self._spans.close_cell(text))

    def _repeat(self, cells: Iterable[str]) -> None:
        for text in cells:
            self._need(" | ")
            self._put(text)

    def _apart(self, tag: str, node: LexborNode) -> None:
        self._need(self._gap(tag))
        self._close()
        if tag in _KINDS:
            self._kinds.append((tag, _KINDS[tag]))
            self._preformatted += tag == "pre"
        if tag in ("ul", "ol"):
            start = node.attributes.get("start") or "1"
            first = int(start) if start.isdecimal() and len(start) < 9 else 1
            self._lists.append(first if tag == "ol" else None)
        elif tag == "table":
            self._spans.open_table()
        if tag in _HEADINGS and not self._kinds:
            self._heading = (_HEADINGS[tag], self._length)

    def _line(self, tag: str) -> None:
        self._need("\n")
        if tag == "tr":
            self._spans.open_row()
        elif tag == "li":
            indent = "  " * min(max(len(self._lists) - 1, 0), _MAX_INDENT)
            number = self._lists[-1] if self._lists else None
            if number is not None:
                self._lists[-1] = number + 1
            mark = "- " if number is None else f"{number}. "
            self._break = self._break[: self._break.count("\n")] + indent + mark

    def _gap(self, tag: str) -> str:
        """What stands around a block: a line end inside a list, a space inside a cell, else an empty line."""
        if not self._kinds:
            return "\n\n"
        return " " if self._kinds[-1][1] == "table" and tag not in _KINDS else "\n"

    def _need(self, separator: str) -> None:
        """Remember a break; the strongest one since the last word counts."""
        if (separator.count("\n"), len(separator)) > (self._break.count("\n"), len(self._break)):
            self._break = separator

    def _write(self, raw: str) -> None:
        if not raw:
            return
        if self._preformatted:
            self._put(raw)
            return
        words = " ".join(raw.split())
        if not words:
            self._need(" ")
            return
        if raw[0].isspace():
            self._need(" ")
        self._put(words)
        if raw[-1].isspace():
            self._need(" ")

    def _put(self, piece: str) -> None:
        before = self._break if self._parts else self._break.lstrip("\n ")
        self._break = ""
        if self._start is None:
            self._start = self._length + before.count("\n")
            self._kind = self._kinds[0][1] if self._kinds else "paragraph"
        self._parts.append(before + piece)
        self._length += len(before) + len(piece)

    def _end_heading(self) -> None:
        assert self._heading is not None
        level, start = self._heading
        self._heading = None
        words = "".join(self._tail(start)).strip()
        self._headings.enter(level, words)
        if level == 1 and not self._title:
            self._title = shortened(words, MAX_TITLE)
        self._close("heading")

    def _tail(self, start: int) -> list[str]:
        tail: list[str] = []
        length = self._length
        for part in reversed(self._parts):
            if length <= start:
                break
            tail.append(part)
            length -= len(part)
        return tail[::-1]

    def _close(self, kind: Kind | None = None) -> None:
        """End the block that is open, unless a list or table around it goes on."""
        if self._start is None or (self._kinds and kind is None):
            return
        self._blocks.append(Block(self._start, self._length, kind or self._kind, self._headings.path))
        self._start = None
