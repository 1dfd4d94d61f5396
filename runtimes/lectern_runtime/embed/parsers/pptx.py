"""Turns PowerPoint presentations (pptx, pptm and their templates) into text: a page a slide, its title as heading."""

from __future__ import annotations

from collections.abc import Iterator

from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers import chart, equation
from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime.embed.parsers.faults import fault
from lectern_runtime.embed.parsers.opc import Package
from lectern_runtime.embed.parsers.xml_tree import Element, attribute, local

_WHAT = "the PowerPoint presentation"
_MAX_SLIDES = 5000
_TITLES = ("title", "ctrTitle")
_FURNITURE = ("dt", "ftr", "sldNum")
_MAX_COLUMNS = 1024


def parse(data: bytes) -> ParsedDocument:
    """The presentation: for each slide its title, its texts, tables and charts, its notes and comments."""
    package = Package(data, _WHAT)
    main = package.main
    composer = Composer()
    relations = package.relations(main)
    slides = [each for each in package.archive.xml(main).iter() if local(each.tag) == "sldId"]
    if len(slides) > _MAX_SLIDES:
        raise fault("TooLarge", f"it has {len(slides)} slides, the limit is {_MAX_SLIDES}")
    authors = _authors(package, main)
    for number, slide in enumerate(slides, 1):
        relation = relations.get(next((value for key, value in slide.items() if key.endswith("}id")), ""))
        if relation is not None and relation.target in package.archive:
            composer.page(number)
            _slide(package, relation.target, composer, authors)
    return composer.finish(package.title)


def _slide(package: Package, part: str, composer: Composer, authors: dict[str, str]) -> None:
    root = package.archive.xml(part)
    shapes = _in_reading_order(package, part, root)
    titles = [shape for shape in shapes if _placeholder(shape) in _TITLES]
    for shape in titles[:1]:
        composer.heading(1, " ".join(_paragraph(each) for each in _paragraphs(shape)))
    for shape in shapes:
        if shape not in titles[:1] and _placeholder(shape) not in _FURNITURE:
            _shape(package, part, shape, composer)
    for name in package.related(part, "notesSlide"):
        for tree in package.archive.xml(name).iter():
            if local(tree.tag) == "spTree":
                for shape in _shapes(tree):
                    if _placeholder(shape) == "body":
                        composer.block("paragraph", "\n".join(_paragraph(each) for each in _paragraphs(shape)))
    _comments(package, part, composer, authors)


def _in_reading_order(package: Package, part: str, root: Element) -> list[Element]:
    """Shapes from top to bottom and left to right; the order of the file is that in which they are drawn."""
    layout = package.related_xml(part, "slideLayout")
    inherited: dict[str, tuple[int, int]] = {}
    for shape in _all_shapes(layout) if layout is not None else ():
        if (found := _corner(shape)) is not None:
            for key in _roles(shape):
                inherited.setdefault(key, found)
    shapes = _all_shapes(root)
    last = (0, 0)
    corners = []
    for shape in shapes:
        place = _corner(shape) or next((inherited[key] for key in _roles(shape) if key in inherited), None)
        last = place or last  # what has no place stays behind what it was drawn after
        corners.append(last)
    order = sorted(range(len(shapes)), key=lambda number: corners[number])
    return [shapes[number] for number in order]


def _all_shapes(root: Element) -> list[Element]:
    tree = next((each for each in root.iter() if local(each.tag) == "spTree"), None)
    return list(_shapes(tree)) if tree is not None else []


def _corner(shape: Element) -> tuple[int, int] | None:
    """Distance of the upper left corner from top and left, in the units of the file."""
    for each in shape.iter():
        if local(each.tag) == "off":
            top, left = each.get("y", ""), each.get("x", "")
            if top.lstrip("-").isdecimal() and left.lstrip("-").isdecimal() and len(top) + len(left) < 40:
                return int(top), int(left)
    return None


def _roles(shape: Element) -> list[str]:
    """Names under which the layout may hold the place of a placeholder, the surest first."""
    for each in shape.iter():
        if local(each.tag) == "ph":
            return [f"#{each.get('idx')}", each.get("type", "body")] if each.get("idx") else [each.get("type", "body")]
    return []


def _shapes(tree: Element) -> Iterator[Element]:
    """Shapes in the order in which they are drawn, those of groups in their place."""
    for each in tree:
        name = local(each.tag)
        if name in ("grpSp", "spTree"):
            yield from _shapes(each)
        elif name == "AlternateContent":
            yield from _shapes(next(iter(each), each))
        elif name in ("sp", "graphicFrame", "cxnSp"):
            yield each


def _placeholder(shape: Element) -> str | None:
    """The kind of placeholder that a shape fills; "body" where it is not said."""
    return next((each.get("type", "body") for each in shape.iter() if local(each.tag) == "ph"), None)


def _shape(package: Package, part: str, shape: Element, composer: Composer) -> None:
    if local(shape.tag) != "graphicFrame":
        _text(shape, composer)
        return
    for each in shape.iter():
        name = local(each.tag)
        if name == "tbl":
            composer.table(_rows(each))
        elif name == "chart":
            relation = package.relations(part).get(attribute(each, "id") or "")
            root = package.archive.optional_xml(relation.target) if relation is not None else None
            if root is not None:
                chart.write(root, composer)
        elif name == "relIds":  # a diagram: its texts stand in a part of their own
            relation = package.relations(part).get(attribute(each, "dm") or "")
            root = package.archive.optional_xml(relation.target) if relation is not None else None
            for paragraph in _paragraphs(root) if root is not None else ():
                composer.item(_paragraph(paragraph))


def _text(shape: Element, composer: Composer) -> None:
    """Paragraphs; those with a bullet or number, or below others, are items."""
    listed = _placeholder(shape) == "body"
    counts: dict[int, int] = {}
    for each in _paragraphs(shape):
        text = _paragraph(each)
        if not text.strip():
            continue
        properties = next((inner for inner in each if local(inner.tag) == "pPr"), None)
        marks = {local(inner.tag) for inner in properties} if properties is not None else set()
        level = (properties.get("lvl") or "0") if properties is not None else "0"
        depth = int(level) if level.isdecimal() and len(level) < 3 else 0
        if "buAutoNum" in marks:
            counts = {key: value for key, value in counts.items() if key <= depth}
            counts[depth] = counts.get(depth, 0) + 1
            composer.item(text, depth=depth, mark=f"{counts[depth]}.")
            continue
        counts = {key: value for key, value in counts.items() if key < depth}
        if "buNone" not in marks and (listed or depth or marks & {"buChar", "buBlip"}):
            composer.item(text, depth=depth)
        else:
            composer.block("paragraph", text)


def _paragraphs(element: Element) -> Iterator[Element]:
    return (each for each in element.iter() if local(each.tag) == "p" and "/drawingml/" in each.tag)


def _paragraph(paragraph: Element) -> str:
    parts: list[str] = []
    for each in paragraph:
        name = local(each.tag)
        if name in ("r", "fld"):
            parts.extend(inner.text or "" for inner in each if local(inner.tag) == "t")
        elif name == "br":
            parts.append("\n")
        elif name == "AlternateContent":
            parts.append(f" ${equation.latex(next(iter(each), each))}$ ")
        elif name == "m":
            parts.append(f" ${equation.latex(each)}$ ")
    return "".join(parts)


def _rows(table: Element) -> Iterator[list[str]]:
    """Rows of cells; a cell that spans several stands in each of them, so that a row can be read alone."""
    above: dict[int, str] = {}
    for row in table:
        if local(row.tag) != "tr":
            continue
        line: list[str] = []
        for cell in [each for each in row if local(each.tag) == "tc"][:_MAX_COLUMNS]:
            place = len(line)
            if cell.get("hMerge") in ("1", "true") and line:
                text = line[-1]
            elif cell.get("vMerge") in ("1", "true"):
                text = above.get(place, "")
            else:
                text = " ".join(_paragraph(each) for each in _paragraphs(cell))
            above[place] = text
            line.append(text)
        yield line


def _authors(package: Package, main: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind in ("commentAuthors", "authors"):
        for name in package.related(main, kind):
            for each in package.archive.xml(name):
                initials = each.get("initials")
                found[each.get("id", "")] = each.get("name", "") + (f" ({initials})" if initials else "")
    return found


def _comments(package: Package, part: str, composer: Composer, authors: dict[str, str]) -> None:
    for name in package.related(part, "comments"):
        for each in package.archive.xml(name).iter():
            if local(each.tag) in ("cm", "reply"):
                words = [
                    inner.text or "" for text in each for inner in text.iter() if local(inner.tag) in ("text", "t")
                ]
                moment = each.get("dt") or each.get("created") or ""
                author = authors.get(each.get("authorId", ""), "")
                composer.block("paragraph", f"[author: {author}, time: {moment}]: {' '.join(words)}")
