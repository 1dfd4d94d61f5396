"""Turns PDF into text: page by page, in paragraphs, under the headings that its outline or its type sizes show.

PDFium reads the pages. Scanned pages are read by `ocr.py` where that is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

import pypdfium2
from pypdfium2 import raw

from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers import ocr, pdf_headings, pdf_lines
from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime.embed.parsers.faults import corrupt, encrypted, fault
from lectern_runtime.embed.parsers.pdf_lines import Line

MAX_PAGES = 20_000
MAX_CHARACTERS_A_PAGE = 2_000_000
_WHAT = "the PDF"
_HEADER_WITHIN = 1024
_WORD = re.compile(r"[^\W_]")


def parse(data: bytes, *, ocr_languages: Sequence[str] = ()) -> ParsedDocument:
    """The document. Pages without text are read as pictures in `ocr_languages`; without any they stay empty.

    Raises `DocumentError`: Encrypted, Corrupt, TooLarge, NoText.
    """
    if b"%PDF-" not in data[:_HEADER_WITHIN]:
        raise fault("NotWhatItSays", "it is no PDF as its type says; name it as what it is")
    document = _opened(data)
    try:
        pages = len(document)
        if pages > MAX_PAGES:
            raise fault("TooLarge", f"it says that it has {pages} pages, the limit is {MAX_PAGES}; split it")
        return _read(document, pages, ocr_languages)
    finally:
        document.close()


def _opened(data: bytes) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        code = raw.FPDF_GetLastError()
        if code == raw.FPDF_ERR_PASSWORD or "password" in str(error).lower() or "security" in str(error).lower():
            raise encrypted(_WHAT) from error
        raise corrupt(_WHAT, "it has no pages that can be found") from error


def _read(document: pypdfium2.PdfDocument, pages: int, languages: Sequence[str]) -> ParsedDocument:
    content: list[list[Line]] = []
    unreadable = scanned = 0
    for number in range(pages):
        try:
            page = document[number]
        except pypdfium2.PdfiumError:
            unreadable += 1
            content.append([])
            continue
        try:
            lines = pdf_lines.read(page, MAX_CHARACTERS_A_PAGE)
            if not any(_WORD.search(line.text) for line in lines) and _shows(page):
                scanned += 1
                lines = ocr.read(page, languages) if languages else []
            content.append(lines)
        finally:
            page.close()
    if pages and unreadable == pages:
        raise corrupt(_WHAT, "none of its pages can be read")
    parsed = _composed(document, content)
    if not _WORD.search(parsed.text):
        raise _no_text(scanned, languages)
    return parsed


def _shows(page: pypdfium2.PdfPage) -> bool:
    """Whether anything is drawn on a page that could be text: an empty page need not be looked at."""
    return any(True for _ in islice(page.get_objects(max_depth=1), 1))


def _composed(document: pypdfium2.PdfDocument, content: list[list[Line]]) -> ParsedDocument:
    headings = pdf_headings.find(pdf_headings.outline(document), content)
    composer = Composer()
    for number, lines in enumerate(content):
        composer.page(number + 1)
        place = 0
        while place < len(lines):
            heading = headings.get((number, place))
            if heading is not None:
                composer.heading(heading.level, " ".join(line.text for line in lines[place : place + heading.lines]))
                place += heading.lines
                continue
            end = place + 1
            while end < len(lines) and not lines[end].apart and (number, end) not in headings:
                end += 1
            composer.block("paragraph", "\n".join(line.text for line in lines[place:end]))
            place = end
    return composer.finish(_title(document))


def _title(document: pypdfium2.PdfDocument) -> str:
    """The title in the properties, unless it is the name of a file, as many programs write it."""
    title = document.get_metadata_value("Title").strip()
    return "" if re.search(r"\.\w{2,5}\Z|\AMicrosoft Word - |\Auntitled\Z", title, re.I) else title


def _no_text(scanned: int, languages: Sequence[str]) -> Exception:
    if languages:
        return fault("NoText", "no text was found on its pages, neither written nor in pictures")
    if scanned:
        return fault("NoText", "its pages are pictures without text; turn on spec.parsing.ocr to read scans")
    return fault("NoText", "it has no pages with text")
