"""Turns Word documents (docx, docm and their templates) into text: in reading order, with headings and pages.

The parts are walked as they are written, because what libraries call a paragraph leaves out content controls, text
boxes, equations and charts. Deleted text, field codes, headers and footers are no text of the document.
"""

from __future__ import annotations

from collections.abc import Iterator

from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers import chart, equation
from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime.embed.parsers.docx_styles import Numbering, Place, Styles
from lectern_runtime.embed.parsers.opc import Package
from lectern_runtime.embed.parsers.xml_tree import Element, attribute, local

_WHAT = "the Word document"
_INSIDE = frozenset(("ins", "moveTo", "smartTag", "customXml", "sdtContent", "hyperlink", "fldSimple", "dir", "bdo"))
_INSIDE |= {"r", "rubyBase", "ruby"}
_SKIPPED = frozenset(("del", "moveFrom", "instrText", "delText", "pPr", "rPr", "sdtPr", "rt", "Fallback"))
_CHARACTERS = {"tab": "\t", "cr": "\n", "noBreakHyphen": "-", "softHyphen": ""}
_MAX_COLUMNS = 1024
_CHECKED = ("1", "true", "on")


def parse(data: bytes) -> ParsedDocument:
    """The document with its footnotes at the end. Pages are those that Word saw when it saved it."""
    package = Package(data, _WHAT)
    main = package.main
    root = package.archive.xml(main)
    composer = Composer()
    styles = Styles(package.related_xml(main, "styles"))
    numbering = Numbering(package.related_xml(main, "numbering"), styles)
    body = next((each for each in root if local(each.tag) == "body"), root)
    _Body(package, main, composer, styles, numbering, body).run()
    return composer.finish(package.title)


class _Body:
    """Walks the body of one document."""

    def __init__(
        self, package: Package, part: str, composer: Composer, styles: Styles, numbering: Numbering, root: Element
    ) -> None:
        self._package, self._part, self._composer = package, part, composer
        self._styles, self._numbering, self._root = styles, numbering, root
        self._rendered = any(local(each.tag) == "lastRenderedPageBreak" for each in root.iter())
        self._page: int | None = None
        self._asides: list[Element] = []

    def run(self) -> None:
        """Write the body, then the notes."""
        if self._rendered or any(self._breaks(each) for each in self._root.iter()):
            self._page = 1
            self._composer.page(1)
        self._blocks(self._root)
        self._page = None
        self._composer.page(None)
        for kind in ("footnotes", "endnotes"):
            notes = self._package.related_xml(self._part, kind)
            for note in notes if notes is not None else ():
                if attribute(note, "type") is None:
                    self._composer.block("paragraph", self._joined(note))

    def _blocks(self, container: Element) -> None:
        for each in container:
            name = local(each.tag)
            if name == "p":
                self._paragraph(each)
            elif name == "tbl":
                self._table(each)
            elif name == "AlternateContent":
                self._blocks(_chosen(each))
            elif name == "oMathPara":
                self._composer.block("paragraph", equation.latex(each))
            elif name in ("sdt", "sdtContent", "customXml", "smartTag", "ins", "moveTo"):
                self._blocks(each)

    def _paragraph(self, paragraph: Element) -> None:
        text = self._inline(paragraph)
        place = self._styles.place(paragraph)
        if text.strip():
            self._write(text, place)
        if self._asides:
            asides, self._asides = self._asides, []
            for aside in asides:
                self._aside(aside)

    def _write(self, text: str, place: Place) -> None:
        mark = self._numbering.mark(place.number, place.depth) if place.number else ""
        if place.heading is not None:
            self._composer.heading(place.heading, f"{mark.rstrip('.')} {text}" if mark not in ("", "-") else text)
        elif mark:
            self._composer.item(text, depth=place.depth, mark=mark)
        elif text.lstrip().startswith(("[x] ", "[ ] ")):
            self._composer.item(text)
        else:
            self._composer.block("code" if place.code else "paragraph", text)

    def _aside(self, element: Element) -> None:
        """What floats beside the text: boxes and charts."""
        if local(element.tag) == "txbxContent":
            self._blocks(element)
            return
        relation = self._package.relations(self._part).get(attribute(element, "id") or "")
        root = self._package.archive.optional_xml(relation.target) if relation is not None else None
        if root is not None:
            chart.write(root, self._composer)

    def _inline(self, element: Element) -> str:
        parts: list[str] = []
        self._collect(element, parts)
        return "".join(parts)

    def _collect(self, element: Element, parts: list[str]) -> None:
        for each in element:
            name = local(each.tag)
            if name == "t":
                parts.append(each.text or "")
            elif name in _INSIDE:
                self._collect(each, parts)
            elif name in _CHARACTERS:
                parts.append(_CHARACTERS[name])
            elif name in _SKIPPED:
                continue
            elif name in ("br", "lastRenderedPageBreak"):
                self._break(each, parts)
            elif name == "sdt":
                self._control(each, parts)
            elif name == "AlternateContent":
                self._collect(_chosen(each), parts)
            elif name in ("oMath", "oMathPara"):
                parts.append(f" ${equation.latex(each)}$ ")
            elif name in ("drawing", "pict", "object"):
                self._asides.extend(_floating(each))

    def _control(self, element: Element, parts: list[str]) -> None:
        """A content control; a check box is written as Markdown does."""
        checked = next((each for each in element.iter() if local(each.tag) == "checked"), None)
        if checked is not None:
            parts.append("[x]" if attribute(checked, "val") in _CHECKED else "[ ]")
            return
        for each in element:
            if local(each.tag) == "sdtContent":
                for inner in each:
                    # A control around a paragraph, inside of another paragraph: written wrongly, but read by Word.
                    self._collect(inner if local(inner.tag) == "p" else each, parts)
                    if local(inner.tag) != "p":
                        break

    def _breaks(self, element: Element) -> bool:
        if local(element.tag) == "lastRenderedPageBreak":
            return True
        return not self._rendered and local(element.tag) == "br" and attribute(element, "type") == "page"

    def _break(self, element: Element, parts: list[str]) -> None:
        if local(element.tag) == "br":
            parts.append("\n")
        if self._page is not None and self._breaks(element):
            # The paragraph that goes on over the end of a page belongs to the page where it begins.
            self._page += 1
            if not "".join(parts).strip():
                self._composer.page(self._page)
            else:
                self._asides.append(element)

    def _table(self, table: Element) -> None:
        rows = list(_rows(table))
        if len(rows) == 1 and len(cells := list(_cells(rows[0]))) == 1:
            self._blocks(cells[0])  # a frame around text
            return
        self._composer.table(self._lines(rows))

    def _lines(self, rows: list[Element]) -> Iterator[list[str]]:
        """Rows of cells; a cell that spans several stands in each of them, so that a row can be read alone."""
        above: dict[int, str] = {}
        for row in rows:
            line: list[str] = []
            for cell in _cells(row):
                span, merged = _span(cell)
                text = above.get(len(line), "") if merged else self._joined(cell)
                if merged or text:
                    above[len(line)] = text
                line += [text] * min(span, _MAX_COLUMNS - len(line))
            yield line

    def _joined(self, container: Element) -> str:
        """All text of a cell or note on one line."""
        parts: list[str] = []
        for each in container:
            name = local(each.tag)
            if name == "p":
                text = self._inline(each)
                place = self._styles.place(each)
                mark = self._numbering.mark(place.number, place.depth) if place.number and text.strip() else ""
                parts.append(f"{mark} {text}" if mark else text)
            elif name == "tbl":
                parts.extend(" ".join(line) for line in self._lines(list(_rows(each))))
            elif name in ("sdt", "sdtContent", "customXml"):
                parts.append(self._joined(each))
        asides, self._asides = self._asides, []
        parts.extend(self._joined(each) for each in asides if local(each.tag) == "txbxContent")
        return " ".join(filter(None, parts))


def _chosen(alternatives: Element) -> Element:
    """The first choice, else the fallback: they say the same."""
    return next(iter(alternatives), alternatives)


def _floating(drawing: Element) -> Iterator[Element]:
    """Text boxes and charts in a drawing; a text box inside of another comes with it."""
    stack = [drawing]
    while stack:
        element = stack.pop()
        name = local(element.tag)
        if name in ("txbxContent", "chart"):
            yield element
        elif name == "AlternateContent":
            stack.append(_chosen(element))
        else:
            stack.extend(reversed(list(element)))


def _rows(table: Element) -> Iterator[Element]:
    for each in table:
        if local(each.tag) == "tr":
            yield each
        elif local(each.tag) in ("sdt", "sdtContent", "customXml", "ins"):
            yield from _rows(each)


def _cells(row: Element) -> Iterator[Element]:
    for each in row:
        if local(each.tag) == "tc":
            yield each
        elif local(each.tag) in ("sdt", "sdtContent", "customXml"):
            yield from _cells(each)


def _span(cell: Element) -> tuple[int, bool]:
    """How many columns a cell takes, and whether it goes on from the row above."""
    span, merged = 1, False
    for properties in cell:
        if local(properties.tag) == "tcPr":
            for each in properties:
                if local(each.tag) == "gridSpan":
                    value = attribute(each, "val") or "1"
                    span = max(1, int(value)) if value.isdecimal() and len(value) < 6 else 1
                elif local(each.tag) == "vMerge":
                    merged = attribute(each, "val") != "restart"
    return span, merged
