"""Turns Excel workbooks (xlsx, xlsm and their templates) into text: a heading a sheet, then its tables and charts.

Sheets are read as a stream and hold only cells that are written, so that neither a declared size nor a cell in the
last corner costs anything. Formulas give the value that Excel kept; macros and connections are never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers import chart, grid, xml_tree
from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime.embed.parsers.faults import fault
from lectern_runtime.embed.parsers.opc import Package
from lectern_runtime.embed.parsers.xml_tree import Element, attribute, local

_WHAT = "the Excel workbook"
_MAX_SHEETS = 1000
_REFERENCE = re.compile(r"([A-Z]{1,3})(\d{1,7})(?::([A-Z]{1,3})(\d{1,7}))?\Z")
_LITERAL = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.|_.|\*.')
_DATE_FORMATS = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
_EPOCH, _EPOCH_1904 = datetime(1899, 12, 30, tzinfo=UTC), datetime(1904, 1, 1, tzinfo=UTC)
_MAX_DAYS = 2_958_466


def parse(data: bytes) -> ParsedDocument:
    """The workbook; a block's page is the number of its sheet."""
    package = Package(data, _WHAT)
    composer = Composer()
    _Workbook(package, composer).run()
    return composer.finish(package.title)


class _Workbook:
    """Reads one workbook."""

    def __init__(self, package: Package, composer: Composer) -> None:
        self._package, self._composer = package, composer
        self._main = package.main
        self._budget = grid.CellBudget()
        self._strings = self._shared_strings()
        self._dates = _date_styles(package.related_xml(self._main, "styles"))
        self._epoch = _EPOCH

    def run(self) -> None:
        """Write all sheets in the order of the workbook."""
        root = self._package.archive.xml(self._main)
        relations = self._package.relations(self._main)
        if any(local(e.tag) == "workbookPr" and e.get("date1904") in ("1", "true") for e in root):
            self._epoch = _EPOCH_1904
        sheets = [each for each in root.iter() if local(each.tag) == "sheet"]
        if len(sheets) > _MAX_SHEETS:
            raise fault("TooLarge", f"it has {len(sheets)} sheets, the limit is {_MAX_SHEETS}")
        for number, sheet in enumerate(sheets, 1):
            relation = relations.get(attribute(sheet, "id") or "")
            if relation is None or relation.target not in self._package.archive:
                continue
            self._composer.page(number)
            self._composer.heading(1, sheet.get("name", ""))
            if relation.kind == "worksheet":
                self._sheet(relation.target)
            self._charts(relation.target)
            self._comments(relation.target)

    def _sheet(self, part: str) -> None:
        merged: list[grid.Area] = []
        grid.write(self._rows(part, merged), self._composer, merged)

    def _rows(self, part: str, merged: list[grid.Area]) -> Iterator[grid.Row]:
        following = 1
        with self._package.archive.open(part) as stream:
            for element in xml_tree.stream(stream, ("row", "mergeCell"), _WHAT):
                if local(element.tag) == "mergeCell":
                    if (area := _area(element.get("ref", ""))) is not None:
                        merged.append(area)
                    continue
                written = element.get("r", "")
                number = int(written) if written.isdecimal() and len(written) < 9 else following
                following = number + 1
                cells = self._cells(element)
                self._budget.spend(len(cells))
                if cells:
                    yield number, cells

    def _cells(self, row: Element) -> dict[int, str]:
        cells: dict[int, str] = {}
        column = 0
        for cell in row:
            match = _REFERENCE.match(cell.get("r", ""))
            column = _column(match.group(1)) if match else column + 1
            text = self._value(cell)
            if text:
                cells[column] = text
        return cells

    def _value(self, cell: Element) -> str:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return _text(cell)
        text = next((each.text or "" for each in cell if local(each.tag) == "v"), "").strip()
        if kind == "s":
            return self._strings[int(text)] if text.isdecimal() and int(text) < len(self._strings) else ""
        if kind == "b":
            return {"1": "TRUE", "0": "FALSE"}.get(text, text)
        if kind == "n" and text:
            return self._number(text, cell.get("s", ""))
        return text

    def _number(self, text: str, style: str) -> str:
        try:
            value = float(text)
        except ValueError:
            return text
        if style in self._dates and 0 <= value < _MAX_DAYS:
            return _moment(self._epoch, value)
        return format(value, ".15g") if "." in text or "E" in text else text

    def _shared_strings(self) -> list[str]:
        strings: list[str] = []
        names = self._package.related(self._main, "sharedStrings")
        for name in names[:1]:
            with self._package.archive.open(name) as stream:
                strings.extend(_text(element) for element in xml_tree.stream(stream, ("si",), _WHAT))
        return strings

    def _charts(self, part: str) -> None:
        for drawing in self._package.related(part, "drawing"):
            for name in self._package.related(drawing, "chart"):
                chart.write(self._package.archive.xml(name), self._composer)

    def _comments(self, part: str) -> None:
        """Notes and threads, each with its author."""
        persons = self._package.related_xml(self._main, "person")
        names = {each.get("id", ""): each.get("displayName", "") for each in (persons if persons is not None else ())}
        notes = self._package.related_xml(part, "comments")
        if notes is not None:
            authors = [each.text or "" for each in notes.iter() if local(each.tag) == "author"]
            for note in notes.iter():
                if local(note.tag) == "comment":
                    place = int(written) if (written := note.get("authorId", "")).isdecimal() else len(authors)
                    author = authors[place] if place < len(authors) else ""
                    if not author.startswith("tc="):  # the copy of a thread for old programs
                        self._composer.block("paragraph", f"[author: {author}]: {_text(note)}")
        for name in self._package.related(part, "threadedComment"):
            for each in self._package.archive.xml(name):
                author = names.get(each.get("personId", ""), "")
                said = " ".join(inner.text or "" for inner in each if local(inner.tag) == "text")
                self._composer.block("paragraph", f"[author: {author}, time: {each.get('dT', '')}]: {said}")


def _text(element: Element) -> str:
    """The text of a string or comment, without the phonetic reading that may stand beside it."""
    parts: list[str] = []
    for each in element:
        name = local(each.tag)
        if name == "t":
            parts.append(each.text or "")
        elif name in ("r", "is", "text"):
            parts.append(_text(each))
    return "".join(parts).strip()


def _date_styles(root: Element | None) -> frozenset[str]:
    """The cell styles that show numbers as dates or times."""
    if root is None:
        return frozenset()
    formats = {each.get("numFmtId"): each.get("formatCode", "") for each in root.iter() if local(each.tag) == "numFmt"}
    dates: set[str] = set()
    for table in root:
        if local(table.tag) == "cellXfs":
            for place, style in enumerate(table):
                number = style.get("numFmtId", "0")
                code = formats.get(number)
                shown = _LITERAL.sub("", code.partition(";")[0]).lower() if code is not None else ""
                if any(letter in shown for letter in "ymdhs") or (
                    code is None and number.isdecimal() and int(number) in _DATE_FORMATS
                ):
                    dates.add(str(place))
    return frozenset(dates)


def _moment(epoch: datetime, days: float) -> str:
    moment = epoch + timedelta(milliseconds=round(days * 86_400_000))
    if days < 1:
        return f"{moment:%H:%M:%S}"
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def _area(reference: str) -> grid.Area | None:
    match = _REFERENCE.match(reference)
    if match is None or match.group(3) is None:
        return None
    return grid.Area(int(match.group(2)), _column(match.group(1)), int(match.group(4)), _column(match.group(3)))
