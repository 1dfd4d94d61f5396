"""Documents made to exhaust a parser: small files that want endless time, memory or depth. None of them is real."""

from __future__ import annotations

import copy
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lectern_runtime_tests.embed.made_files import (
    ASCIIDOC,
    CSV,
    DOCX,
    EPUB,
    HTML,
    JSON,
    MAIL,
    MARKDOWN,
    MSG,
    ODS,
    ODT,
    PDF,
    PLAIN,
    PPTX,
    XLSX,
    S,
    body,
    book,
    cell,
    electronic_book,
    open_document,
    packed,
    pdf,
    sheet,
    slides,
    stream,
    word,
)

_LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


@dataclass(frozen=True, slots=True)
class Bomb:
    """A document, its type, and how it may end: reasons of faults, or "text" where it may be parsed."""

    media_type: str
    make: Callable[[], bytes]
    ends: frozenset[str]


_CATALOGUE = b"<</Type /Catalog /Pages 2 0 R>>"
_PAGES = b"<</Type /Pages /Count 1 /Kids [3 0 R]>>"
_PAGE = b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R /Resources <<%s>>>>"
_FONT = b"/Font <</F <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>>>"


def _many_entries() -> bytes:
    return packed({"[Content_Types].xml": "", **{f"word/{number}": "" for number in range(30_000)}})


def _overlapping() -> bytes:
    """One file that the directory names a thousand times."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>" + " " * 1_000_000)
        first = archive.filelist[0]
        for number in range(1000):
            again = copy.copy(first)
            again.filename = f"word/{number}.xml"
            archive.filelist.append(again)
    return out.getvalue()


def _many_strings() -> bytes:
    return book(sheet(""), strings=f"<sst {S}/>" + " " * (64 << 20))


def _corners() -> bytes:
    rows = f'<row r="1">{cell("A1", "a")}</row><row r="1048576">{cell("XFD1048576", "z")}</row>'
    return book(sheet(rows))


def _subject() -> bytes:
    return b"From: a@b\nSubject: " + b"=?utf-8?q?a?= " * 200_000 + b"\n\nx"


def _rows_in_rows() -> bytes:
    return book(sheet("<row>" * 5000 + "</row>" * 5000))


def _blank_page() -> bytes:
    return pdf(_CATALOGUE, _PAGES, _PAGE % b"", stream(b" " * (50 << 20)))


def _lying() -> bytes:
    """The directory says 10 bytes; there are 20 million."""
    data = word(body("<w:p/>") + " " * 20_000_000)
    place = data.rindex(b"PK\x01\x02", 0, data.rindex(b"word/document.xml"))
    return data[: place + 24] + (10).to_bytes(4, "little") + data[place + 28 :]


def _many_sheets() -> bytes:
    wide = (sheet("") + " " * (4 << 20)).encode()
    return book(*([wide] * 60))


def _nested_zip() -> bytes:
    data = packed({"0.txt": "x" * 1_000_000})
    for _ in range(20):
        data = packed({f"{number}.zip": data for number in range(4)} if len(data) < 1 << 20 else {"0.zip": data})
    return data


def _entities(encoding: str) -> bytes:
    declared = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE w [<!ENTITY l0 "ha">{_LAUGHS}]>'
    return word((declared + body("<w:p><w:r><w:t>&l11;</w:t></w:r></w:p>")).encode(encoding))


def _quadratic() -> bytes:
    declared = f'<!DOCTYPE w [<!ENTITY a "{"a" * 100_000}">]>'
    return word(declared + body(f"<w:p><w:r><w:t>{'&a;' * 100_000}</w:t></w:r></w:p>"))


def _outside() -> bytes:
    declared = '<!DOCTYPE w [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    return word(declared + body("<w:p><w:r><w:t>&a;</w:t></w:r></w:p>"))


def _nested_mail(kind: str) -> bytes:
    lines = ["From: a@b", "Subject: deep"]
    for number in range(10_000):
        if kind == "rfc822":
            lines += ["Content-Type: message/rfc822", ""]
        else:
            lines += [f'Content-Type: multipart/mixed; boundary="b{number}"', "", f"--b{number}"]
    return "\n".join([*lines, "", "text"]).encode()


def _flat_mail() -> bytes:
    head = b'From: a@b\nSubject: flat\nContent-Type: multipart/mixed; boundary="b"\n\n'
    return head + b"--b\n\nx\n" * 100_000 + b"--b--\n"


def _page_tree(depth: int) -> bytes:
    """Page trees within page trees."""
    nodes = [b"<</Type /Pages /Count 1 /Kids [%d 0 R]>>" % (number + 3) for number in range(depth)]
    return pdf(_CATALOGUE, *nodes, _PAGE % b"")


def _forms() -> bytes:
    """A form that draws itself, twice."""
    shape = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources <</XObject <</X 5 0 R>>>>"
    form = stream(b"/X Do /X Do", shape)
    return pdf(_CATALOGUE, _PAGES, _PAGE % b"/XObject <</X 5 0 R>>", stream(b"/X Do"), form)


def _ole(sectors: int) -> bytes:
    """A container whose table of sectors leads round in circles."""
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + b"\x3e\x00\x03\x00\xfe\xff\x09\x00\x06\x00" + bytes(6)
    numbers = (0, sectors, 1, 0, 4096, 2, 1, 0, 0)
    head += b"".join(number.to_bytes(4, "little") for number in numbers) + bytes(4 * 109)
    table = b"".join(((number + 1) % 4).to_bytes(4, "little") for number in range(128))
    return head[:512].ljust(512, b"\x00") + table * 8


_LOUD = frozenset(("ZipBomb", "TooLarge"))
_TEXT = frozenset(("text",))
_ANY = frozenset(("text", "TimedOut", "OutOfMemory", "ParserCrashed", "TooLarge", "TooDeep", "OutputTooLarge"))
_ANY |= {"NoText"}
_ODD = _ANY | {"CharsetUnknown", "BinaryContent"}
_HUGE = b"<</Type /Pages /Count 1000000000 /Kids [3 0 R]>>"
_LOOP = b"<</Type /Pages /Count 9 /Kids [2 0 R]>>"
_COVER = '<mergeCell ref="A1:XFD1048576"/>'
_WIDE = '<w:tc><w:tcPr><w:gridSpan w:val="99999"/></w:tcPr><w:p><w:r><w:t>x</w:t></w:r></w:p></w:tc>'
_BAD = frozenset(("Corrupt", "NoText", "NotWhatItSays"))

BOMBS: Mapping[str, Mapping[str, Bomb]] = {
    "archives": {
        "one file of 64 MB": Bomb(DOCX, lambda: word(body("<w:p/>") + " " * (64 << 20)), _LOUD),
        "shared strings of 64 MB": Bomb(XLSX, _many_strings, _LOUD),
        "a chapter of 64 MB": Bomb(EPUB, lambda: electronic_book(b" " * (64 << 20)), _LOUD),
        "content of 64 MB": Bomb(ODT, lambda: open_document("text", " " * (64 << 20)), _LOUD),
        "30,000 files": Bomb(DOCX, _many_entries, frozenset(("TooLarge",))),
        "60 sheets of 4 MB": Bomb(XLSX, _many_sheets, _LOUD | _ANY),
        "files that overlap": Bomb(DOCX, _overlapping, _BAD),
        "a size that is a lie": Bomb(DOCX, _lying, _BAD),
        "archives in archives": Bomb(DOCX, _nested_zip, _BAD),
    },
    "entities": {
        "billion laughs": Bomb(DOCX, lambda: _entities("utf-8"), frozenset(("XmlEntities",))),
        "billion laughs in UTF-16": Bomb(DOCX, lambda: _entities("utf-16"), frozenset(("XmlEntities",))),
        "quadratic blowup": Bomb(DOCX, _quadratic, frozenset(("XmlEntities",))),
        "a file of the machine": Bomb(DOCX, _outside, frozenset(("XmlEntities",))),
    },
    "depth": {
        "XML of 200,000 levels": Bomb(DOCX, lambda: word(body("<w:p>" * 200_000)), _BAD | {"TooDeep"}),
        "closed XML of 50,000 levels": Bomb(
            DOCX, lambda: word(body("<w:sdt>" * 50_000 + "</w:sdt>" * 50_000)), frozenset(("TooDeep",))
        ),
        "tables in tables": Bomb(
            DOCX,
            lambda: word(body("<w:tbl><w:tr><w:tc/><w:tc>" * 90 + "</w:tc></w:tr></w:tbl>" * 90)),
            _BAD | {"TooDeep"},
        ),
        "groups in groups": Bomb(PPTX, lambda: slides("<p:grpSp>" * 900 + "</p:grpSp>" * 900), frozenset(("TooDeep",))),
        "rows in a sheet that nest": Bomb(XLSX, _rows_in_rows, frozenset(("TooDeep",))),
        "JSON": Bomb(JSON, lambda: b"[" * 1_000_000, _BAD | {"TooDeep"}),
        "closed JSON": Bomb(JSON, lambda: b'{"a":' * 700 + b"1" + b"}" * 700, frozenset(("TooDeep",))),
        "HTML lists": Bomb(HTML, lambda: b"<li><ul>" * 300_000 + b"x", _ANY),
        "HTML tables": Bomb(HTML, lambda: b"<table><tr><td>x" * 100_000, _ANY),
        "HTML divisions": Bomb(HTML, lambda: b"<div>" * 500_000 + b"x", _ANY),
        "Markdown quotes": Bomb(MARKDOWN, lambda: b">" * 200_000 + b" x", _ANY),
        "Markdown lists": Bomb(MARKDOWN, lambda: b"".join(b" " * n + b"- x\n" for n in range(2000)), _ANY),
        "mails in mails": Bomb(MAIL, lambda: _nested_mail("rfc822"), frozenset(("TooDeep", "TooLarge"))),
        "parts in parts": Bomb(MAIL, lambda: _nested_mail("mixed"), frozenset(("TooDeep", "TooLarge"))),
    },
    "sheets": {
        "a cell in the last corner": Bomb(XLSX, _corners, _TEXT),
        "everything merged": Bomb(
            XLSX,
            lambda: book(
                sheet(
                    f'<row r="1">{cell("A1", "a")}</row>',
                    "<mergeCells>" + _COVER * 10_000 + "</mergeCells>",
                )
            ),
            _TEXT,
        ),
        "columns that repeat": Bomb(
            ODS,
            lambda: open_document(
                "spreadsheet",
                '<table:table><table:table-row table:number-rows-repeated="1048576">'
                '<table:table-cell table:number-columns-repeated="16384"><text:p>x</text:p></table:table-cell>'
                "</table:table-row></table:table>",
            ),
            frozenset(("TooLarge",)),
        ),
        "cells that span": Bomb(
            DOCX,
            lambda: word(body("<w:tbl><w:tr>" + _WIDE * 999 + "</w:tr></w:tbl>")),
            _TEXT,
        ),
        "HTML cells that span": Bomb(
            HTML, lambda: b"<table>" + b"<tr><td colspan=1000 rowspan=65534>abc" * 20_000, _ANY
        ),
        "ten million columns": Bomb(CSV, lambda: b"," * 3_900_000 + b"x", frozenset(("TooLarge",))),
        "a quote that never ends": Bomb(CSV, lambda: b'a,"' + b"x\n" * 1_500_000, _ANY | _BAD),
    },
    "text": {
        "brackets": Bomb(MARKDOWN, lambda: b"[" * 500_000, _ANY),
        "a table of 3,000 columns": Bomb(
            MARKDOWN, lambda: b"|a" * 3000 + b"|\n" + b"|-" * 3000 + b"|\n" + (b"|b" * 3000 + b"|\n") * 200, _ANY
        ),
        "links that never end": Bomb(ASCIIDOC, lambda: b"link:" * 300_000 + b"\n" + b"<<" * 300_000, _ANY),
        "terms that never end": Bomb(ASCIIDOC, lambda: b"a " * 700_000, _ANY),
        "cells of marks": Bomb(ASCIIDOC, lambda: b"|===\n" + b"1.2+^.>a" * 200_000 + b"\n|===", _ANY),
        "headings without words": Bomb(MARKDOWN, lambda: b"# " + b"*" * 1_000_000, _ANY),
        "a number of 3 million digits": Bomb(JSON, lambda: b"1" * 3_000_000, _ANY),
        "bytes of no charset": Bomb(PLAIN, lambda: bytes(range(128, 256)) * 16_000, _ODD),
        "words of a subject": Bomb(MAIL, _subject, _ANY),
        "100,000 parts": Bomb(MAIL, _flat_mail, frozenset(("TooLarge",))),
        "a container in circles": Bomb(MSG, lambda: _ole(100_000_000), _ANY | _BAD),
    },
    "pdf": {
        "pages that hold themselves": Bomb(PDF, lambda: pdf(_CATALOGUE, _LOOP), _BAD),
        "a billion pages": Bomb(PDF, lambda: pdf(_CATALOGUE, _HUGE, _PAGE % b""), _BAD | {"TooLarge"}),
        "page trees of 50,000 levels": Bomb(PDF, lambda: _page_tree(50_000), _BAD | _ANY),
        "a table that leads to itself": Bomb(PDF, lambda: pdf(_CATALOGUE, _PAGES, trailer=b"/Prev SELF"), _BAD),
        "a page of a million words": Bomb(
            PDF,
            lambda: pdf(_CATALOGUE, _PAGES, _PAGE % _FONT, stream(b"BT /F 9 Tf " + b"(word) Tj " * 1_000_000 + b"ET")),
            _ANY,
        ),
        "content of 50 MB": Bomb(PDF, _blank_page, _ANY | _BAD),
        "filters upon filters": Bomb(
            PDF,
            lambda: pdf(_CATALOGUE, _PAGES, _PAGE % b"", stream(b"x", b"/Filter [%s]" % (b"/FlateDecode " * 50_000))),
            _ANY | _BAD,
        ),
        "a form that draws itself": Bomb(PDF, _forms, _BAD | {"TimedOut", "ParserCrashed"}),
        "an outline in circles": Bomb(
            PDF,
            lambda: pdf(
                b"<</Type /Catalog /Pages 2 0 R /Outlines 5 0 R>>",
                _PAGES,
                _PAGE % _FONT,
                stream(b"BT /F 9 Tf (word) Tj ET"),
                b"<</First 6 0 R /Last 6 0 R>>",
                b"<</Title (word) /Next 6 0 R /First 6 0 R /Dest [3 0 R /Fit]>>",
            ),
            _TEXT,
        ),
    },
}
