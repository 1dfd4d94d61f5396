"""Finds the headings of a PDF: those that its outline names, else lines in larger type than the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import pypdfium2

from lectern_runtime.embed.parsed import MAX_HEADING
from lectern_runtime.embed.parsers.pdf_lines import Line

_MAX_ENTRIES = 5000
_MAX_DEPTH = 6
_MAX_LINES = 3
_LARGER = 1.15
_MAX_SHARE = 0.25
"""Where more lines than this would be headings, size says nothing."""
_MAX_LEVELS = 4
_LETTER = re.compile(r"[^\W\d_]")
_WORDS = re.compile(r"\W+")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of `level` 1 and below that takes this many lines."""

    level: int
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the outline: the page that it leads to, counted from 0."""

    page: int
    level: int
    title: str


def outline(document: pypdfium2.PdfDocument) -> list[Entry]:
    """The entries of the outline that lead to a page; none where it cannot be read."""
    entries: list[Entry] = []
    try:
        for mark in islice(document.get_toc(max_depth=_MAX_DEPTH), _MAX_ENTRIES):
            target = mark.get_dest()
            page = target.get_index() if target is not None else None
            if page is not None and (title := mark.get_title()):
                entries.append(Entry(page, mark.level + 1, title))
    except pypdfium2.PdfiumError:
        return entries
    return entries


def find(entries: Sequence[Entry], pages: Sequence[Sequence[Line]]) -> Mapping[tuple[int, int], Heading]:
    """The headings by page and line, both counted from 0."""
    named: dict[tuple[int, int], Heading] = {}
    for entry in entries:
        if 0 <= entry.page < len(pages):
            found = _place(entry, pages[entry.page])
            if found is not None:
                named.setdefault((entry.page, found[0]), Heading(entry.level, found[1]))
    return named if len(named) * 2 >= max(1, len(entries)) else _by_size(pages)


def _place(entry: Entry, lines: Sequence[Line]) -> tuple[int, int] | None:
    """The line where the title of an entry stands, and how many lines it takes."""
    wanted = _folded(entry.title)
    if not wanted:
        return None
    folded = [_folded(line.text) for line in lines]
    for start, first in enumerate(folded):
        if not first or not (wanted.startswith(first) or first.endswith(wanted)):
            continue
        together = ""
        for count in range(1, _MAX_LINES + 1):
            together += "".join(folded[start + count - 1 : start + count])
            if together == wanted or (together.endswith(wanted) and len(together) <= len(wanted) + 8):
                return start, count
    return None


def _by_size(pages: Sequence[Sequence[Line]]) -> Mapping[tuple[int, int], Heading]:
    sizes: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[line.size] += len(line.text)
    if not sizes:
        return {}
    body = sizes.most_common(1)[0][0]
    large = {
        (page, place): line
        for page, lines in enumerate(pages)
        for place, line in enumerate(lines)
        if line.size > _LARGER * body > 0 and len(line.text) <= MAX_HEADING and _LETTER.search(line.text)
    }
    if len(large) > max(3, _MAX_SHARE * sum(map(len, pages))):
        return {}
    ranks = sorted({line.size for line in large.values()}, reverse=True)[: _MAX_LEVELS - 1]
    headings: dict[tuple[int, int], Heading] = {}
    taken: set[tuple[int, int]] = set()
    for (page, place), line in large.items():
        if (page, place) in taken:
            continue
        count = 1
        while count < _MAX_LINES:
            below = large.get((page, place + count))
            if below is None or below.size != line.size or below.apart:
                break
            taken.add((page, place + count))
            count += 1
        level = ranks.index(line.size) + 1 if line.size in ranks else _MAX_LEVELS
        headings[page, place] = Heading(level, count)
    return headings


def _folded(text: str) -> str:
    return _WORDS.sub("", text).casefold()
