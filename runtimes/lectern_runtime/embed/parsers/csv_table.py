"""Turns CSV and its kin (tabs, semicolons, bars between the cells) into a table."""

from __future__ import annotations

import csv
import io
from collections import Counter

from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers import charset
from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime.embed.parsers.faults import corrupt, fault

MAX_COLUMNS = 20_000
_MAX_FIELD = 16 << 20
_SEPARATORS = ",;\t|"
_SAMPLED_LINES = 50
_MAX_SAMPLE = 1 << 18


def parse(data: bytes) -> ParsedDocument:
    """The table, a line a row. Raises `DocumentError` TooLarge for one that is wider than `MAX_COLUMNS`."""
    text = charset.decode(data)
    separator = _separator(text)
    for line in io.StringIO(text):
        if line.count(separator) > MAX_COLUMNS:
            raise fault("TooLarge", f"it has a row of more than {MAX_COLUMNS} columns; split it, or exclude it")
    csv.field_size_limit(_MAX_FIELD)
    composer = Composer()
    try:
        composer.table(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise corrupt("the table", "a field in it never ends, or is too long") from error
    return composer.finish()


def _separator(text: str) -> str:
    """The mark that divides most lines into equally many cells, several of them; a comma where none does."""
    lines = [line for line in text[:_MAX_SAMPLE].split("\n")[:_SAMPLED_LINES] if line.strip()]
    best, most = ",", 0.0
    for mark in _SEPARATORS:
        counts = Counter(line.count(mark) for line in lines)
        counts.pop(0, None)
        if counts:
            cells, agreeing = counts.most_common(1)[0]
            score = agreeing + min(cells, 100) / 1000
            if score > most:
                best, most = mark, score
    return best
