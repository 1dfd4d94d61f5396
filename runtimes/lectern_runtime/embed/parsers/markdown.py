"""Turns Markdown into text and blocks: the source as it is, without its front matter.

Only the block structure is parsed (CommonMark with tables); the text stays the author's, so that a citation
shows what stands in the file. HTML in it becomes what a browser would show.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate

from markdown_it import MarkdownIt

from lectern_runtime.embed.parsed import MAX_TITLE, Block, Headings, Kind, ParsedDocument, covering, shortened
from lectern_runtime.embed.parsers import charset, html

_KINDS: dict[str, Kind] = {
    "heading_open": "heading",
    "paragraph_open": "paragraph",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "fence": "code",
    "code_block": "code",
    "table_open": "table",
    "blockquote_open": "quote",
    "html_block": "markup",  # replaced by the blocks of what it shows
    "hr": "paragraph",
}
_FRONT_MATTER = re.compile(
    r"(?:---[ \t]*\n(?=[^\n]*:)|\+\+\+[ \t]*\n)(.{0,65536}?)\n(?:---|\+\+\+|\.\.\.)[ \t]*(?:\n|\Z)", re.S
)
_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*(.+?)[ \t]*$", re.M | re.I)
_DATA_URI = re.compile(r"data:[\w/+.-]{0,100}(?:;[\w=-]{0,100}){0,4},[A-Za-z0-9+/=%]{32,}")
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_ATTRIBUTES = re.compile(r"[ \t]*\{[:#.][^{}]*\}[ \t]*$")
_MARKS = re.compile(r"[*`]+|(?<!\w)_+|_+(?!\w)|<[^<>]*>")


def parse(data: bytes) -> ParsedDocument:
    """The document in `data`, in whatever charset."""
    return parse_text(charset.decode(data))


def parse_text(source: str) -> ParsedDocument:
    """The document in `source`. Its title is that of the front matter, else the first heading of level 1."""
    title, text = _front_matter(source)
    # An embedded image is data, not text: it would fill chunks that nobody can find.
    text = _DATA_URI.sub("data:", text)
    starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    page = _Page(text)
    tokens = [token for token in _parser().parse(text) if token.level == 0 or token.type == "inline"]
    for position, token in enumerate(tokens):
        if token.level or token.map is None or token.type not in _KINDS:
            continue
        start, end = (starts[line] if line < len(starts) else len(text) for line in token.map)
        if token.type == "html_block":
            page.markup(start, min(end, len(text)))
            continue
        if token.type == "heading_open":
            heading = _plain(tokens[position + 1].content)
            page.headings.enter(int(token.tag[1]), heading)
            if not title and token.tag == "h1":
                title = heading
        page.block(start, min(end, len(text)), _KINDS[token.type])
    found, content, blocks = page.finish()
    return ParsedDocument(shortened(title or found, MAX_TITLE), content, covering(content, blocks))


class _Page:
    """The source with its blocks; only HTML in it is replaced, by what a browser would show of it."""

    def __init__(self, source: str) -> None:
        self.headings = Headings()
        self._source = source
        self._parts: list[str] = []
        self._taken = 0
        self._shift = 0
        self._blocks: list[Block] = []
        self._markup: list[tuple[int, int]] = []
        self._title = ""

    def block(self, start: int, end: int, kind: Kind) -> None:
        """A block of the source, which stays as it is."""
        self._replace()
        self._blocks.append(Block(start + self._shift, end + self._shift, kind, self.headings.path))

    def markup(self, start: int, end: int) -> None:
        """HTML; pieces that only empty lines divide belong together."""
        if self._markup and self._source[self._markup[-1][1] : start].strip():
            self._replace()
        self._markup.append((start, end))

    def finish(self) -> tuple[str, str, list[Block]]:
        """The title that HTML gave, the text, and its blocks."""
        self._replace()
        self._parts.append(self._source[self._taken :])
        return self._title, "".join(self._parts), self._blocks

    def _replace(self) -> None:
        if not self._markup:
            return
        start, end = self._markup[0][0], self._markup[-1][1]
        self._markup = []
        shown = html.parse_text(self._source[start:end])
        self._title = self._title or (shown.title if shown.text else "")
        new = shown.text + "\n" * (len(self._source[start:end]) - len(self._source[start:end].rstrip("\n")))
        offset = start + self._shift
        self._parts += [self._source[self._taken : start], new]
        path = self.headings.path
        self._blocks += [
            Block(offset + each.start, offset + each.end, each.kind, path + each.section) for each in shown.blocks
        ]
        self._taken = end
        self._shift += len(new) - (end - start)


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table").disable("inline")


def _front_matter(source: str) -> tuple[str, str]:
    """The title in the front matter, and what comes after it."""
    match = _FRONT_MATTER.match(source)
    if match is None:
        return "", source
    found = _TITLE.search(match.group(1))
    title = found.group(1) if found else ""
    if len(title) > 1 and title[0] == title[-1] and title[0] in "\"'":
        title = title[1:-1].replace('\\"', '"')
    return title, source[match.end() :]


def _plain(heading: str) -> str:
    """A heading as it reads, without marks, links and attributes."""
    return _MARKS.sub("", _LINK.sub(r"\1", _ATTRIBUTES.sub("", heading))).strip()
