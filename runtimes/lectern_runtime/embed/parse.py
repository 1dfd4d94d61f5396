"""Turns a document's bytes into text with blocks, by media type.

Runs inside the sandbox for documents from outside (see `sandbox.py`), and knows neither settings nor ports.
A new format is one module in `parsers` and one line in `PARSERS`; a module is imported by its first document.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence

from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers.composer import MAX_CHARACTERS
from lectern_runtime.embed.parsers.faults import fault

_WORD = re.compile(r"\w")
_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
OUTPUT_FACTOR, OUTPUT_BASE = 3, 1 << 20
"""Text may have this many characters for each byte of the document, and a million besides."""
PACKED_FACTOR = 40
"""The same for formats that are compressed."""
PARSERS: dict[str, str] = {
    "text/markdown": "markdown",
    "text/html": "html",
    "text/plain": "text",
    "text/asciidoc": "asciidoc",
    "text/csv": "csv_table",
    "text/tab-separated-values": "csv_table",
    "application/xhtml+xml": "html",
    "application/json": "json_text",
    "application/x-ndjson": "json_text:parse_lines",
    "application/pdf": "pdf",
    "application/epub+zip": "epub",
    f"{_OFFICE}wordprocessingml.document": "docx",
    f"{_OFFICE}wordprocessingml.template": "docx",
    "application/vnd.ms-word.document.macroenabled.12": "docx",
    f"{_OFFICE}presentationml.presentation": "pptx",
    f"{_OFFICE}presentationml.slideshow": "pptx",
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": "pptx",
    f"{_OFFICE}spreadsheetml.sheet": "xlsx",
    f"{_OFFICE}spreadsheetml.template": "xlsx",
    "application/vnd.ms-excel.sheet.macroenabled.12": "xlsx",
    "application/vnd.ms-excel": "xls",
    f"{_OPEN_DOCUMENT}text": "odf",
    f"{_OPEN_DOCUMENT}spreadsheet": "odf",
    f"{_OPEN_DOCUMENT}presentation": "odf",
    "message/rfc822": "mail",
    "application/mbox": "mail:parse_mailbox",
    "application/vnd.ms-outlook": "outlook",
}
"""Module in `parsers`, and the function in it where that is not `parse`."""
_PACKED = frozenset(("pdf", "epub", "docx", "pptx", "xlsx", "xls", "odf"))


def parse(data: bytes, media_type: str, *, ocr_languages: Sequence[str] = ()) -> ParsedDocument:
    """The text of a document. Raises `DocumentError` for one that is not what its media type says or has no text.

    Pictures of text are read in `ocr_languages`, when there are any; `ConfigurationError` then names what it lacks.
    """
    name = PARSERS.get(media_type)
    if name is None:
        raise fault("MediaTypeUnknown", f"{media_type} has no parser here; exclude it, or convert it first")
    parser = _loaded(name)
    parsed = parser(data, ocr_languages=ocr_languages) if name == "pdf" else parser(data)
    if not _WORD.search(parsed.text):
        raise fault("NoText", "it has no text")
    factor = PACKED_FACTOR if name in _PACKED else OUTPUT_FACTOR
    if len(parsed.text) > min(MAX_CHARACTERS, OUTPUT_BASE + factor * len(data)):
        raise fault("OutputTooLarge", f"its text has {len(parsed.text)} characters, far more than the file has bytes")
    return parsed


def _loaded(name: str) -> Callable[..., ParsedDocument]:
    module, _, function = name.partition(":")
    found = importlib.import_module(f"lectern_runtime.embed.parsers.{module}")
    parser: Callable[..., ParsedDocument] = getattr(found, function or "parse")
    return parser
