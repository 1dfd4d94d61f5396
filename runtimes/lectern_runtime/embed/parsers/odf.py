"""Turns OpenDocument texts, spreadsheets and presentations (odt, ods, odp) into text; one format with three bodies."""

from __future__ import annotations

from collections.abc import Iterator

from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers import grid
from lectern_runtime.embed.parsers.archive import Archive
from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime.embed.parsers.faults import corrupt, encrypted, fault
from lectern_runtime.embed.parsers.xml_tree import Element, attribute, local

_WHAT = "the OpenDocument file"
_MAX_COLUMNS = 1024
_MAX_SHEET_COLUMNS = 16_384
_MAX_SPACES = 64
_SKIPPED = frozenset(("tracked-changes", "annotation", "annotation-end", "note", "forms", "sequence-decls", "desc"))
_GROUPS = frozenset(("section", "g", "frame", "text-box", "index-body", "table-of-content", "custom-shape", "rect"))
_GROUPS |= {"ellipse", "line", "polygon", "path", "connector", "a", "bibliography", "alphabetical-index"}
_GROUPS |= {"numbered-paragraph"}
_SHAPES = ("frame", "custom-shape", "rect", "text-box")


def parse(data: bytes) -> ParsedDocument:
    """The document. Pages are slides, sheets, or the pages that the word processor saw when it saved it."""
    archive = Archive(data, _WHAT)
    manifest = archive.optional_xml("META-INF/manifest.xml")
    if manifest is not None and any(local(each.tag) == "encryption-data" for each in manifest.iter()):
        raise encrypted(_WHAT)
    if "content.xml" not in archive:
        raise fault("NotWhatItSays", f"{_WHAT} has no content.xml; name it as what it is")
    root = archive.xml("content.xml")
    styles = [root, archive.optional_xml("styles.xml")]
    body = next((each for each in root if local(each.tag) == "body"), None)
    content = next(iter(body), None) if body is not None else None
    if content is None:
        raise corrupt(_WHAT, "it has no body")
    writer = _Writer(Composer(), _numbered([each for each in styles if each is not None]))
    kind = local(content.tag)
    if kind == "spreadsheet":
        writer.sheets(content)
    elif kind in ("presentation", "drawing"):
        writer.slides(content)
    else:
        writer.text(content)
    return writer.composer.finish(_title(archive.optional_xml("meta.xml")))


class _Writer:
    """Writes one document. `numbered` holds (style, level) of the lists that count."""

    def __init__(self, composer: Composer, numbered: frozenset[tuple[str, int]]) -> None:
        self.composer = composer
        self._numbered = numbered
        self._page = 0
        self._notes: list[str] = []
        self._floating: list[Element] = []

    def text(self, body: Element) -> None:
        """Write a text, its notes at the end."""
        if any(local(each.tag) == "soft-page-break" for each in body.iter()):
            self._turn()
        self._blocks(body)
        self.composer.page(None)
        for note in self._notes:
            self.composer.block("paragraph", note)

    def slides(self, body: Element) -> None:
        """Write the slides: title first, then what is on them, then the notes."""
        for slide in body:
            if local(slide.tag) != "page":
                continue
            self._turn()
            titles = [each for each in slide if attribute(each, "class") == "title"]
            for each in titles[:1]:
                self.composer.heading(1, self._cell(each))
            for each in slide:
                if each not in titles[:1] and attribute(each, "class") not in ("footer", "date-time", "page-number"):
                    self._block(each)
            for notes in slide:
                if local(notes.tag) == "notes":
                    self._blocks(notes)

    def sheets(self, body: Element) -> None:
        """Write the sheets, each under its name."""
        budget = grid.CellBudget()
        for sheet in body:
            if local(sheet.tag) == "table":
                self._turn()
                self.composer.heading(1, attribute(sheet, "name") or "")
                merged: list[grid.Area] = []
                grid.write(self._grid_rows(sheet, merged, budget), self.composer, merged)

    def _turn(self) -> None:
        self._page += 1
        self.composer.page(self._page)

    def _blocks(self, container: Element) -> None:
        for each in container:
            self._block(each)

    def _block(self, element: Element) -> None:
        name = local(element.tag)
        if name == "h":
            level = attribute(element, "outline-level") or "1"
            self.composer.heading(int(level) if level.isdecimal() and len(level) < 3 else 1, self._inline(element))
        elif name == "p":
            self.composer.block("paragraph", self._inline(element))
        elif name == "list":
            self._list(element, 0, attribute(element, "style-name") or "")
        elif name == "table":
            self._table(element)
        elif name == "soft-page-break":
            self._turn()
        elif name in _GROUPS:
            self._blocks(element)
            return
        self._float()

    def _float(self) -> None:
        """Write the boxes that were anchored in the text before."""
        waiting, self._floating = self._floating, []
        for each in waiting:
            self._blocks(each)

    def _list(self, element: Element, depth: int, style: str) -> None:
        count = 0
        for entry in element:
            if local(entry.tag) not in ("list-item", "list-header"):
                continue
            first = True
            for each in entry:
                name = local(each.tag)
                if name in ("p", "h"):
                    count += first
                    mark = f"{count}." if (style, depth + 1) in self._numbered else "-"
                    text = self._inline(each)
                    self.composer.item(text, depth=depth + (not first), mark=mark if first else "")
                    first = False
                elif name == "list":
                    self._list(each, depth + 1, attribute(each, "style-name") or style)
                else:
                    self._block(each)

    def _inline(self, element: Element) -> str:
        parts = [element.text or ""]
        for each in element:
            name = local(each.tag)
            if name == "s":
                count = attribute(each, "c") or "1"
                parts.append(" " * min(int(count) if count.isdecimal() and len(count) < 9 else 1, _MAX_SPACES))
            elif name == "tab":
                parts.append("\t")
            elif name == "line-break":
                parts.append("\n")
            elif name == "soft-page-break":
                self._page += 1
            elif name == "note":
                self._notes.append(" ".join(self._cell(inner) for inner in each if local(inner.tag) == "note-body"))
            elif name in _SHAPES:
                self._floating.append(each)
            elif name not in _SKIPPED and name != "ruby-text":
                parts.append(self._inline(each))
            parts.append(each.tail or "")
        return "".join(parts)

    def _cell(self, element: Element) -> str:
        """All text in an element on one line."""
        parts: list[str] = []
        for each in element:
            name = local(each.tag)
            if name in ("p", "h"):
                parts.append(self._inline(each))
                waiting, self._floating = self._floating, []
                parts.extend(self._cell(box) for box in waiting)
            elif name == "list":
                parts.append(self._items(each, 0, attribute(each, "style-name") or ""))
            elif name not in _SKIPPED:
                parts.append(self._cell(each))
        return " ".join(filter(None, parts))

    def _items(self, element: Element, depth: int, style: str) -> str:
        parts: list[str] = []
        for count, entry in enumerate((each for each in element if local(each.tag) == "list-item"), 1):
            numbered = (style, depth + 1) in self._numbered
            parts.append(f"{count}. {self._cell(entry)}" if numbered else f"- {self._cell(entry)}")
        return " ".join(parts)

    def _table(self, table: Element) -> None:
        self.composer.table(self._lines(table))

    def _lines(self, table: Element) -> Iterator[list[str]]:
        for row in _rows(table):
            line: list[str] = []
            for cell in row:
                if local(cell.tag) in ("table-cell", "covered-table-cell") and len(line) < _MAX_COLUMNS:
                    text = self._cell(cell)
                    line += [text] * min(_repeated(cell, "columns"), _MAX_COLUMNS - len(line))
            yield line

    def _grid_rows(self, sheet: Element, merged: list[grid.Area], budget: grid.CellBudget) -> Iterator[grid.Row]:
        number = 0
        for row in _rows(sheet):
            cells: dict[int, str] = {}
            column = 0
            for cell in row:
                if local(cell.tag) not in ("table-cell", "covered-table-cell"):
                    continue
                repeated = _repeated(cell, "columns")
                text = self._cell(cell) if len(cell) else ""
                if text:
                    cells.update({column + each: text for each in range(min(repeated, _MAX_SHEET_COLUMNS - column))})
                    area = _spanned(cell, number, column)
                    if area is not None:
                        merged.append(area)
                column += repeated
            repeated = _repeated(row, "rows")
            if cells:
                budget.spend(len(cells) * repeated)
                for each in range(repeated):
                    yield number + each, dict(cells)
            number += repeated


def _rows(table: Element) -> Iterator[Element]:
    for each in table:
        name = local(each.tag)
        if name == "table-row":
            yield each
        elif name in ("table-rows", "table-header-rows", "table-row-group"):
            yield from _rows(each)


def _repeated(element: Element, what: str) -> int:
    text = attribute(element, f"number-{what}-repeated") or "1"
    return max(1, int(text)) if text.isdecimal() and len(text) < 9 else 1


def _spanned(cell: Element, row: int, column: int) -> grid.Area | None:
    rows, columns = attribute(cell, "number-rows-spanned") or "1", attribute(cell, "number-columns-spanned") or "1"
    if (rows, columns) == ("1", "1") or not (rows.isdecimal() and columns.isdecimal()) or len(rows + columns) > 12:
        return None
    return grid.Area(row, column, row + int(rows) - 1, column + int(columns) - 1)


def _numbered(roots: list[Element]) -> frozenset[tuple[str, int]]:
    """Style and level of the lists whose items have numbers."""
    found: set[tuple[str, int]] = set()
    for root in roots:
        for style in root.iter():
            if local(style.tag) == "list-style":
                name = attribute(style, "name") or ""
                for level in style:
                    number = attribute(level, "level") or ""
                    if local(level.tag) == "list-level-style-number" and number.isdecimal() and len(number) < 3:
                        found.add((name, int(number)))
    return frozenset(found)


def _title(meta: Element | None) -> str:
    return next((each.text or "" for each in meta.iter() if local(each.tag) == "title"), "") if meta is not None else ""
