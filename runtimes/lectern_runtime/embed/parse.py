"""Turns a document's bytes into text with blocks, by media type.

Runs inside the sandbox for documents from outside (see `sandbox.py`), and knows neither settings nor ports.
A new format is one module with a `parse` function and one line in `PARSERS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lectern_contract.errors import DocumentError
from lectern_runtime.embed import charset, html, markdown
from lectern_runtime.embed.parsed import Block, ParsedDocument, covering

_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
_WORD = re.compile(r"\w")
OUTPUT_FACTOR, OUTPUT_BASE = 3, 1 << 20
"""Text may have this many characters for each byte of the document, and a million besides."""


def parse(data: bytes, media_type: str) -> ParsedDocument:
    """The text of a document. Raises `DocumentError` for one that is not what its media type says or has no text."""
    parser = PARSERS.get(media_type)
    if parser is None:
        raise _fault("MediaTypeUnknown", f"{media_type} has no parser here; exclude it, or convert it first")
    parsed = parser(data)
    if not _WORD.search(parsed.text):
        raise _fault("Empty", "it has no text")
    if len(parsed.text) > OUTPUT_BASE + OUTPUT_FACTOR * len(data):
        raise _fault("OutputTooLarge", f"its text has {len(parsed.text)} characters, far more than the file has bytes")
    return parsed


def _markdown(data: bytes) -> ParsedDocument:
    return markdown.parse(charset.decode(data))


def _html(data: bytes) -> ParsedDocument:
    # Browsers skip stray zero bytes; where they are many it is UTF-16 or no HTML at all, which `decode` tells.
    if data.count(0) * 50 < len(data):
        data = data.replace(b"\x00", b"")
    return html.parse(charset.decode(data, declared=html.declared_charset(data)))


def _plain(data: bytes) -> ParsedDocument:
    """Paragraphs between empty lines; plain text has no title of its own."""
    text = charset.decode(data)
    blocks: list[Block] = []
    start = 0
    for gap in _BLANK_LINES.finditer(text):
        blocks.append(Block(start, gap.start(), "paragraph"))
        start = gap.end()
    blocks.append(Block(start, len(text), "paragraph"))
    return ParsedDocument("", text, covering(text, blocks))


PARSERS: dict[str, Callable[[bytes], ParsedDocument]] = {
    "text/html": _html,
    "text/markdown": _markdown,
    "text/plain": _plain,
}


def _fault(reason: str, message: str) -> DocumentError:
    return DocumentError(message, stage="parse", reason=reason)
