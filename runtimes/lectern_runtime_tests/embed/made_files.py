"""Small documents of each format, made from parts: what a parser meets, without an office suite to write it."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping

_OFFICE = "application/vnd.openxmlformats-officedocument."
DOCX = _OFFICE + "wordprocessingml.document"
PPTX = _OFFICE + "presentationml.presentation"
XLSX = _OFFICE + "spreadsheetml.sheet"
ODT, ODS = "application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.spreadsheet"
EPUB, PDF, MAIL, MSG = "application/epub+zip", "application/pdf", "message/rfc822", "application/vnd.ms-outlook"
HTML, MARKDOWN, PLAIN, JSON = "text/html", "text/markdown", "text/plain", "application/json"
CSV, ASCIIDOC = "text/csv", "text/asciidoc"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_DOCUMENT_TYPE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
S = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
P = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
OPEN = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
)


def packed(parts: Mapping[str, str | bytes]) -> bytes:
    """A ZIP archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def relations(*targets: tuple[str, str, str]) -> str:
    """A part of relations: id, kind, target."""
    entries = "".join(f'<Relationship Id="{i}" Type="{_DOCUMENT_TYPE}{k}" Target="{t}"/>' for i, k, t in targets)
    return f'<Relationships xmlns="{_RELATIONS}">{entries}</Relationships>'


def word(document: str | bytes, **more: str) -> bytes:
    """A Word document with this main part; `more` are further parts beside it, related by their names."""
    parts: dict[str, str | bytes] = {"[Content_Types].xml": "<Types/>"}
    parts["_rels/.rels"] = relations(("r1", "officeDocument", "word/document.xml"))
    parts["word/document.xml"] = document
    parts["word/_rels/document.xml.rels"] = relations(*((name, name, f"{name}.xml") for name in more))
    return packed(parts | {f"word/{name}.xml": content for name, content in more.items()})


def body(inner: str) -> str:
    """The main part of a Word document."""
    return f"<w:document {W}><w:body>{inner}</w:body></w:document>"


def book(*sheets: str | bytes, strings: str = "") -> bytes:
    """An Excel workbook with these sheets."""
    count = range(1, len(sheets) + 1)
    listed = "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="r{n}"/>' for n in count)
    parts: dict[str, str | bytes] = {"[Content_Types].xml": "<Types/>"}
    parts["_rels/.rels"] = relations(("r1", "officeDocument", "xl/workbook.xml"))
    parts["xl/workbook.xml"] = f"<workbook {S} {R}><sheets>{listed}</sheets></workbook>"
    targets = [(f"r{n}", "worksheet", f"worksheets/s{n}.xml") for n in count]
    parts["xl/_rels/workbook.xml.rels"] = relations(*targets, ("rs", "sharedStrings", "strings.xml"))
    parts["xl/strings.xml"] = strings or f"<sst {S}/>"
    return packed(parts | {f"xl/worksheets/s{n}.xml": sheet for n, sheet in zip(count, sheets, strict=True)})


def sheet(rows: str, more: str = "") -> str:
    """A worksheet."""
    return f'<worksheet {S}><dimension ref="A1:XFD1048576"/><sheetData>{rows}</sheetData>{more}</worksheet>'


def cell(reference: str, text: str) -> str:
    """A cell with a text of its own."""
    return f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'


def strings(*texts: str) -> str:
    """The part of strings that cells refer to."""
    return f"<sst {S}>" + "".join(f"<si><t>{text}</t></si>" for text in texts) + "</sst>"


def open_document(kind: str, inner: str) -> bytes:
    """An OpenDocument file."""
    content = f"<office:document-content {OPEN}><office:body><office:{kind}>{inner}</office:{kind}></office:body>"
    return packed({"content.xml": content + "</office:document-content>"})


def slides(inner: str) -> bytes:
    """A presentation of one slide."""
    parts: dict[str, str | bytes] = {"[Content_Types].xml": "<Types/>"}
    parts["_rels/.rels"] = relations(("r1", "officeDocument", "ppt/presentation.xml"))
    listed = '<p:sldIdLst><p:sldId id="256" r:id="r1"/></p:sldIdLst>'
    parts["ppt/presentation.xml"] = f"<p:presentation {P} {R}>{listed}</p:presentation>"
    parts["ppt/_rels/presentation.xml.rels"] = relations(("r1", "slide", "slides/s1.xml"))
    parts["ppt/slides/s1.xml"] = f"<p:sld {P}><p:cSld><p:spTree>{inner}</p:spTree></p:cSld></p:sld>"
    return packed(parts)


def shape(text: str, top: int, placeholder: str = "") -> str:
    """A shape with text, this far from the top of its slide."""
    role = f'<p:nvSpPr><p:nvPr><p:ph type="{placeholder}"/></p:nvPr></p:nvSpPr>' if placeholder else ""
    drawing = "http://schemas.openxmlformats.org/drawingml/2006/main"
    place = f'<p:spPr><a:xfrm><a:off x="0" y="{top}"/></a:xfrm></p:spPr>'
    words = f"<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody>"
    return f'<p:sp xmlns:a="{drawing}">{role}{place}{words}</p:sp>'


def electronic_book(chapter: bytes) -> bytes:
    """An e-book of one chapter."""
    package = '<package><manifest><item id="c" href="c.html" media-type="text/html"/></manifest>'
    return packed(
        {
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="b.opf"/></rootfiles></container>',
            "b.opf": package + '<spine><itemref idref="c"/></spine></package>',
            "c.html": chapter,
        }
    )


def pdf(*objects: bytes, trailer: bytes = b"") -> bytes:
    """A PDF whose first object is the catalogue."""
    parts, offsets, start = [b"%PDF-1.7\n"], [], 9
    for number, content in enumerate(objects, 1):
        offsets.append(start)
        parts.append(b"%d 0 obj\n%s\nendobj\n" % (number, content))
        start += len(parts[-1])
    out = b"".join(parts)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    trailer = trailer.replace(b"SELF", b"%d" % start)
    return out + b"trailer <</Size %d /Root 1 0 R %s>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, trailer, start)


def stream(content: bytes, more: bytes = b"") -> bytes:
    """A compressed stream of a PDF."""
    squeezed = zlib.compress(content)
    return b"<</Length %d /Filter /FlateDecode %s>>\nstream\n%s\nendstream" % (len(squeezed), more, squeezed)


def pdf_page(content: bytes) -> bytes:
    """A PDF of one page with a font F."""
    font = b"/Font <</F <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>>>"
    page = b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources <<%s>>>>" % font
    pages = b"<</Type /Pages /Count 1 /Kids [3 0 R]>>"
    return pdf(b"<</Type /Catalog /Pages 2 0 R>>", pages, page, stream(content))
