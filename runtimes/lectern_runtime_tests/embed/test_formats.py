"""Each format, from bytes to blocks: what a person sees of it comes back, with headings, pages and tables."""

from __future__ import annotations

import pytest

from lectern_contract.errors import DocumentError
from lectern_contract.media_types import PARSED_MEDIA_TYPES
from lectern_runtime.embed import parse
from lectern_runtime.embed.parsers import archive, mail, pdf_lines
from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime_tests.embed import made_files as made

XLS, MBOX = "application/vnd.ms-excel", "application/mbox"
ODP = "application/vnd.oasis.opendocument.presentation"


def shape(data: bytes, media_type: str) -> list[tuple[str, str, int | None, str]]:
    """Blocks as (kind, section, page, text)."""
    parsed = parse.parse(data, media_type)
    return [
        (block.kind, " > ".join(block.section), block.page, parsed.text[block.start : block.end])
        for block in parsed.blocks
    ]


def fault_of(data: bytes, media_type: str) -> tuple[str, str]:
    with pytest.raises(DocumentError) as caught:
        parse.parse(data, media_type)
    return caught.value.reason, str(caught.value)


def test_every_type_of_the_contract_has_a_parser_and_no_other() -> None:
    assert set(PARSED_MEDIA_TYPES) == set(parse.PARSERS)
    for media_type in PARSED_MEDIA_TYPES:
        assert fault_of(b"\x00\x01\x02\x03" * 64, media_type)[0] in ("NotWhatItSays", "BinaryContent", "NoText")


# ---------------------------------------------------------------------------------------------- Word


def paragraph(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def test_word_gives_headings_lists_tables_boxes_and_pages() -> None:
    styles = f"""<w:styles {made.W}><w:style w:type="paragraph" w:styleId="H"><w:name w:val="heading 2"/>
        </w:style><w:style w:styleId="T"><w:name w:val="Title"/></w:style></w:styles>"""
    numbering = f"""<w:numbering {made.W}><w:abstractNum w:abstractNumId="7"><w:lvl w:ilvl="0"><w:start w:val="3"/>
        <w:numFmt w:val="lowerRoman"/><w:lvlText w:val="%1)"/></w:lvl></w:abstractNum>
        <w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num></w:numbering>"""
    item = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'
    content = [
        paragraph("Top", '<w:pStyle w:val="T"/>'),
        "<w:p><w:r><w:t>One </w:t></w:r><w:ins><w:r><w:t>added</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        "<w:sdt><w:sdtContent><w:r><w:t> controlled</w:t></w:r></w:sdtContent></w:sdt></w:p>",
        '<w:p><w:r><w:br w:type="page"/></w:r></w:p>',
        paragraph("Sub", '<w:pStyle w:val="H"/>'),
        paragraph("first", item) + paragraph("second", item),
        "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>A</w:t></w:r></w:p></w:tc>"
        '<w:tc><w:tcPr><w:gridSpan w:val="2"/></w:tcPr><w:p><w:r><w:t>wide</w:t></w:r></w:p></w:tc></w:tr>'
        '<w:tr><w:tc><w:tcPr><w:vMerge w:val="restart"/></w:tcPr><w:p><w:r><w:t>tall</w:t></w:r></w:p></w:tc>'
        "<w:tc><w:p/></w:tc><w:tc><w:p><w:r><w:t>1</w:t></w:r></w:p></w:tc></w:tr>"
        "<w:tr><w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc><w:tc><w:p><w:r><w:t>2</w:t></w:r></w:p></w:tc></w:tr></w:tbl>",
        "<w:p><w:r><w:drawing><w:txbxContent>" + paragraph("boxed") + "</w:txbxContent></w:drawing></w:r></w:p>",
    ]
    assert shape(made.word(made.body("".join(content)), styles=styles, numbering=numbering), made.DOCX) == [
        ("heading", "Top", 1, "Top"),
        ("paragraph", "Top", 1, "One added controlled"),
        ("heading", "Top > Sub", 2, "Sub"),
        ("list", "Top > Sub", 2, "iii) first\niv) second"),
        ("table", "Top > Sub", 2, "A | wide | wide\ntall |  | 1\ntall | 2"),
        ("paragraph", "Top > Sub", 2, "boxed"),
    ]


def test_equations_become_latex() -> None:
    half = "<m:f><m:num><m:r><m:t>π</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f>"
    square = "<m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup>"
    equation = f'<m:oMath xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math">{half}{square}</m:oMath>'
    parsed = parse.parse(made.word(made.body(f"<w:p>{equation}</w:p>")), made.DOCX)
    assert parsed.text == r"$\frac{\pi}{2}x^{2}$"


# -------------------------------------------------------------------------------- sheets and slides


def test_a_workbook_gives_a_heading_a_sheet_and_a_table_for_each_area() -> None:
    rows = "".join(
        [
            f'<row r="1">{made.cell("A1", "name")}{made.cell("B1", "count")}{made.cell("E1", "apart")}</row>',
            f'<row r="2">{made.cell("A2", "ducks")}<c r="B2"><v>3</v></c></row>',
            '<row r="3"><c r="B3" t="b"><v>1</v></c></row>',
            f'<row r="9">{made.cell("A9", "merged")}</row>',
        ]
    )
    more = '<mergeCells><mergeCell ref="A9:B9"/></mergeCells>'
    data = made.book(
        made.sheet(rows, more), made.sheet('<row><c t="s"><v>0</v></c></row>'), strings=made.strings("one")
    )
    assert shape(data, made.XLSX) == [
        ("heading", "S1", 1, "S1"),
        ("table", "S1", 1, "name | count\nducks | 3\n | TRUE"),
        ("table", "S1", 1, "apart"),
        ("table", "S1", 1, "merged | merged"),
        ("heading", "S2", 2, "S2"),
        ("table", "S2", 2, "one"),
    ]


def test_an_open_document_gives_lists_and_tables() -> None:
    inner = (
        '<text:h text:outline-level="1">Top</text:h><text:p>a<text:s text:c="2"/>b<text:line-break/>c</text:p>'
        "<text:list><text:list-item><text:p>x</text:p><text:list><text:list-item><text:p>y</text:p></text:list-item>"
        "</text:list></text:list-item></text:list>"
        '<table:table><table:table-row><table:table-cell table:number-columns-repeated="2"><text:p>t</text:p>'
        "</table:table-cell></table:table-row></table:table>"
    )
    assert shape(made.open_document("text", inner), made.ODT) == [
        ("heading", "Top", None, "Top"),
        ("paragraph", "Top", None, "a b\nc"),
        ("list", "Top", None, "- x\n  - y"),
        ("table", "Top", None, "t | t"),
    ]


def test_an_open_spreadsheet_gives_its_cells() -> None:
    inner = (
        '<table:table table:name="S"><table:table-row table:number-rows-repeated="2"><table:table-cell/>'
        "<table:table-cell><text:p>x</text:p></table:table-cell></table:table-row></table:table>"
    )
    assert shape(made.open_document("spreadsheet", inner), made.ODS) == [
        ("heading", "S", 1, "S"),
        ("table", "S", 1, "x\nx"),
    ]


def test_slides_are_pages_in_reading_order() -> None:
    assert shape(made.slides(made.shape("below", 900) + made.shape("Title", 100, "title")), made.PPTX) == [
        ("heading", "Title", 1, "Title"),
        ("paragraph", "Title", 1, "below"),
    ]


# --------------------------------------------------------------------------------- PDF and e-books


def test_a_pdf_has_pages_and_headings_in_larger_type() -> None:
    text = (
        b"BT /F 24 Tf 20 700 Td (Big heading) Tj /F 10 Tf 0 -40 Td (first line of text,) Tj 0 -12 Td (its second.) Tj"
    )
    text += b" 0 -40 Td (Another paragraph) Tj ET"
    assert shape(made.pdf_page(text), made.PDF) == [
        ("heading", "Big heading", 1, "Big heading"),
        ("paragraph", "Big heading", 1, "first line of text,\nits second."),
        ("paragraph", "Big heading", 1, "Another paragraph"),
    ]


def test_a_picture_of_text_says_how_to_have_it_read() -> None:
    reason, message = fault_of(made.pdf_page(b"0 0 9 9 re f"), made.PDF)
    assert (reason, message) == (
        "NoText",
        "its pages are pictures without text; turn on spec.parsing.ocr to read scans",
    )
    assert fault_of(made.pdf_page(b" "), made.PDF) == ("NoText", "it has no pages with text")


def test_words_that_touch_words_of_another_script_are_parted() -> None:
    assert pdf_lines._tidy("لغة Pythonمن") == "لغة Python من"
    assert pdf_lines._tidy("exam\ufffeple") == "example"


def test_a_book_has_chapters_below_each_other() -> None:
    data = made.electronic_book(b"<html><body><h1>One</h1><p>text</p></body></html>")
    assert shape(data, made.EPUB) == [("heading", "One", None, "One"), ("paragraph", "One", None, "text")]


# ------------------------------------------------------------------------------------------- text


def test_a_table_of_text_tells_its_separator() -> None:
    for mark in (",", ";", "\t", "|"):
        shown = " " if mark == "\t" else mark
        data = f'a{mark}b\n"1{mark}2"{mark}3\n'.encode()
        assert shape(data, made.CSV) == [("table", "", None, f"a | b\n1{shown}2 | 3")]


def test_json_becomes_an_outline_that_keeps_its_numbers() -> None:
    data = b'{"title": "T", "a": {"b": [1.50, true, null, {"c": "\\ud83d\\ude00 \\ud800"}]}, "e": []}'
    parsed = parse.parse(data, made.JSON)
    outline = "a:\n  b:\n    - 1.50\n    - true\n    -\n      c: \U0001f600"
    assert (parsed.title, parsed.text) == ("T", f"title: T\n\n{outline}\n\ne:")
    assert [text for *_, text in shape(b'{"a": 1}\n{"a": 2}\n', "application/x-ndjson")] == ["a: 1", "a: 2"]


def test_asciidoc_gives_text_without_its_commands() -> None:
    source = (
        "= Top\n:who: me\n\ntext of {who} at link:http://x[there] +\nmore\n\n.Caption\n|===\n|A |B\n\n|1\n|2\n|===\n"
    )
    source += "* x\n** y\n\n[source,sh]\n----\nrun\n----\ninclude::other.adoc[]\n// no\n////\nno\n////\n== Sub\nend\n"
    assert shape(source.encode(), made.ASCIIDOC) == [
        ("heading", "Top", None, "Top"),
        ("paragraph", "Top", None, "text of me at there +\nmore"),
        ("paragraph", "Top", None, "Caption"),
        ("table", "Top", None, "A | B\n1 | 2"),
        ("list", "Top", None, "- x\n  - y"),
        ("code", "Top", None, "run"),
        ("heading", "Top > Sub", None, "Sub"),
        ("paragraph", "Top > Sub", None, "end"),
    ]


def test_html_in_markdown_becomes_what_a_browser_shows() -> None:
    source = b"# T\n\n<!-- no -->\n\n<table><tr><td>a<td>b</table>\n\nend <b>bold</b>\n"
    assert shape(source, made.MARKDOWN) == [
        ("heading", "T", None, "# T"),
        ("table", "T", None, "a | b"),
        ("paragraph", "T", None, "end <b>bold</b>"),
    ]


def test_cells_and_items_of_html_can_be_read_alone() -> None:
    source = b"""<ol start=4><li>four<li>five</ol><table><tr><th colspan=2>wide<th>x
        <tr><td rowspan=2>tall<td>1<td>2<tr><td>3<td>4</table>"""
    assert shape(source, made.HTML) == [
        ("list", "", None, "4. four\n5. five"),
        ("table", "", None, "wide | wide | x\ntall | 1 | 2\ntall | 3 | 4"),
    ]


# ------------------------------------------------------------------------------------------- mail

MAIL = b"""From: =?utf-8?q?J=C3=B6?= <j@x.y>\r
To: a@b\r
Subject: =?iso-8859-1?q?Gr=FC=DFe?=\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
Content-Type: multipart/alternative; boundary=c\r
\r
--c\r
Content-Type: text/plain; charset=iso-8859-1\r
Content-Transfer-Encoding: quoted-printable\r
\r
sch=F6n\r
--c\r
Content-Type: text/html\r
\r
<p>not twice\r
--c--\r
--b\r
Content-Type: application/zip; name=a.zip\r
Content-Disposition: attachment; filename=a.zip\r
\r
PK\r
--b--\r
"""


def test_a_mail_gives_subject_people_body_and_names_of_attachments() -> None:
    assert shape(MAIL, made.MAIL) == [
        ("heading", "Grüße", None, "Grüße"),
        ("paragraph", "Grüße", None, "From: Jö <j@x.y>\nTo: a@b"),
        ("paragraph", "Grüße", None, "schön"),
        ("list", "Grüße", None, "- Attachment: a.zip (application/zip)"),
    ]


def test_a_mailbox_has_a_page_for_each_mail() -> None:
    data = b"From a@b Mon\nFrom: a@b\nSubject: one\n\nfirst\n\nFrom a@b Tue\nFrom: a@b\nSubject: two\n\nsecond\n"
    assert [(page, text) for _, _, page, text in shape(data, MBOX)] == [
        (1, "one"),
        (1, "From: a@b"),
        (1, "first"),
        (2, "two"),
        (2, "From: a@b"),
        (2, "second"),
    ]


# ---------------------------------------------------------------------------------------- refusals


def test_encrypted_documents_say_so() -> None:
    container = archive.OLE_MAGIC + "EncryptedPackage".encode("utf-16-le")
    assert [fault_of(container, kind)[0] for kind in (made.DOCX, made.XLSX, made.PPTX, made.ODT)] == ["Encrypted"] * 4
    key = made.packed({"content.xml": "<a/>", "META-INF/manifest.xml": "<m><encryption-data/></m>"})
    assert fault_of(key, made.ODT) == (
        "Encrypted",
        "the OpenDocument file is encrypted; remove its password, or exclude it",
    )


@pytest.mark.parametrize(
    ("data", "media_type", "reason"),
    [
        (b"PK\x03\x04 and no more", made.DOCX, "Corrupt"),
        (made.packed({"a.txt": "x"}), made.DOCX, "NotWhatItSays"),
        (made.packed({"a.txt": "x"}), made.EPUB, "NotWhatItSays"),
        (made.word("<w:document"), made.DOCX, "Corrupt"),
        (made.word(made.body("")), made.DOCX, "NoText"),
        (b"%PDF-1.7\nnothing", made.PDF, "Corrupt"),
        (b"{", made.JSON, "Corrupt"),
        (archive.OLE_MAGIC + bytes(600), made.MSG, "Corrupt"),
        (archive.OLE_MAGIC + bytes(600), XLS, "Corrupt"),
        (made.open_document("presentation", ""), ODP, "NoText"),
    ],
)
def test_a_broken_document_is_refused_with_a_reason(data: bytes, media_type: str, reason: str) -> None:
    assert fault_of(data, media_type)[0] == reason


def test_text_never_carries_what_no_text_may() -> None:
    composer = Composer()
    composer.block("paragraph", "a\x00b\ud800c\x0bd")
    composer.table([["x\ny", "", "z", ""], [""]])
    composer.heading(1, "  H \n h ")
    parsed = composer.finish()
    assert (parsed.title, parsed.text) == ("H h", "a b c d\n\nx y |  | z\n\nH h")
    assert mail._decoded("=?x-unknown?q?caf=E9?=") == "café"
