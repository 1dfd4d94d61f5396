"""Turns plain text of any charset into paragraphs between empty lines."""

from __future__ import annotations

import re

from lectern_runtime.embed.parsed import Block, ParsedDocument, covering
from lectern_runtime.embed.parsers import charset

_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")


def parse(data: bytes) -> ParsedDocument:
    """The text as it is; plain text has no title of its own."""
    text = charset.decode(data)
    blocks: list[Block] = []
    start = 0
    for gap in _BLANK_LINES.finditer(text):
        blocks.append(Block(start, gap.start(), "paragraph"))
        start = gap.end()
    blocks.append(Block(start, len(text), "paragraph"))
    return ParsedDocument("", text, covering(text, blocks))
