"""Reads the lines of a PDF page with their sizes and distances, and puts right what PDFium leaves odd in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ctypes import byref, c_double
from dataclasses import dataclass
from itertools import pairwise

import pypdfium2
from pypdfium2 import raw

from lectern_runtime.embed.parsers.composer import clean
from lectern_runtime.embed.parsers.faults import fault

_APART = 1.45
"""Lines this many times the usual distance apart begin a paragraph."""
_HYPHEN = re.compile("(?<=[^\\W\\d_])[\x02\ufffe]\\s*")
_ARABIC = re.compile("[\u0600-\u06ff]")
_LAM_ALEF = re.compile("[\u0622\u0623\u0625\u0627]\u0644")
_SCRIPTS_TOUCH = re.compile("(?<=[\u0621-\u064a])(?=[A-Za-z])|(?<=[A-Za-z])(?=[\u0621-\u064a])")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page. `size` is that of its type in points (0: unknown); `apart` says that a paragraph begins."""

    text: str
    size: float = 0.0
    apart: bool = False


def read(page: pypdfium2.PdfPage, limit: int) -> list[Line]:
    """The lines of a page in the order in which PDFium finds them. Raises `DocumentError` TooLarge."""
    try:
        textpage = page.get_textpage()
    except pypdfium2.PdfiumError:
        return []
    try:
        count = textpage.count_chars()
        if count > limit:
            raise fault("TooLarge", f"a page of it has {count} characters, the limit is {limit}")
        text = textpage.get_text_range() if count > 0 else ""
        if _ARABIC.search(text):
            text = _arabic(textpage, text)
        return list(_lines(textpage, text))
    finally:
        textpage.close()


def _lines(textpage: pypdfium2.PdfTextPage, text: str) -> Iterator[Line]:
    pieces: list[tuple[str, float, float]] = []
    place = 0
    for part in text.split("\r\n"):
        if part.strip():
            first = place + len(part) - len(part.lstrip())
            pieces.append((part, raw.FPDFText_GetFontSize(textpage, first), _height(textpage, first)))
        place += len(part) + 2
    steps = [one[2] - other[2] for one, other in pairwise(pieces)]
    downward = sorted(step for step in steps if step > 0.5) or [0.0]
    usual = downward[len(downward) // 4]  # the gaps between paragraphs are the larger ones
    for number, (part, size, _) in enumerate(pieces):
        step = steps[number - 1] if number else 0.0
        apart = number == 0 or step > _APART * usual > 0 or (step < -0.5 and _ends(pieces[number - 1][0]))
        yield Line(_tidy(part), round(size * 2) / 2, apart)


def _height(textpage: pypdfium2.PdfTextPage, place: int) -> float:
    x, y = c_double(), c_double()
    raw.FPDFText_GetCharOrigin(textpage, place, byref(x), byref(y))
    return y.value


def _ends(text: str) -> bool:
    return text.rstrip().endswith((".", "!", "?", ":", "。", "؟"))


def _tidy(text: str) -> str:
    """One line; a hyphen that only divides a word at the end of a line goes."""
    text = _HYPHEN.sub("", text)
    if _ARABIC.search(text):
        text = _SCRIPTS_TOUCH.sub(" ", text)
    return " ".join(clean(text).split())


def _arabic(textpage: pypdfium2.PdfTextPage, text: str) -> str:
    """Lam and alef of one glyph come back in visual order; those, and only those, are turned round."""
    letters = list(text)
    for match in _LAM_ALEF.finditer(text):
        first = match.start()
        if _box(textpage, first) == _box(textpage, first + 1):
            letters[first], letters[first + 1] = letters[first + 1], letters[first]
    return "".join(letters)


def _box(textpage: pypdfium2.PdfTextPage, place: int) -> tuple[float, ...]:
    edges = [c_double() for _ in range(4)]
    raw.FPDFText_GetCharBox(textpage, place, *(byref(edge) for edge in edges))
    return tuple(edge.value for edge in edges)
