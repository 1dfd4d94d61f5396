"""Turns Markdown into text and blocks: the source as it is, without its front matter.

Called by `parse.py`. Only the block structure is parsed (CommonMark with tables); the text stays the
author's, so that a citation shows what stands in the file.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate

from markdown_it import MarkdownIt

from lectern_runtime.embed.parsed import MAX_TITLE, Block, Headings, Kind, ParsedDocument, covering, shortened

_KINDS: dict[str, Kind] = {
    "heading_open": "heading",
    "paragraph_open": "paragraph",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "fence": "code",
    "code_block": "code",
    "table_open": "table",
    "blockquote_open": "quote",
    "html_block": "markup",
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


def parse(source: str) -> ParsedDocument:
    """The document in `source`. Its title is that of the front matter, else the first heading of level 1."""
    title, text = _front_matter(source)
    # An embedded image is data, not text: it would fill chunks that nobody can find.
    text = _DATA_URI.sub("data:", text)
    starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    headings = Headings()
    blocks: list[Block] = []
    tokens = _parser().parse(text)
    for position, token in enumerate(tokens):
        if token.level or token.map is None or token.type not in _KINDS:
            continue
        if token.type == "heading_open":
            heading = _plain(tokens[position + 1].content)
            headings.enter(int(token.tag[1]), heading)
            if not title and token.tag == "h1":
                title = heading
        first, last = token.map
        end = min(starts[last] if last < len(starts) else len(text), len(text))
        blocks.append(Block(starts[first], end, _KINDS[token.type], headings.path))
    return ParsedDocument(shortened(title, MAX_TITLE), text, covering(text, blocks))


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
