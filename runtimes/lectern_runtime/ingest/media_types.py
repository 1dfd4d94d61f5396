"""Tells the media type of a document from its name, and from its bytes where the name says nothing.

The parser checks later whether the bytes are what the type says; here it only matters which documents are handed
over at all.
"""

from __future__ import annotations

import io
import mimetypes
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable

RULES_VERSION = 2
"""Raised whenever the same name and bytes would get another type; part of the manifest's digest."""

_OFFICE = "application/vnd.openxmlformats-officedocument."
_WORD = _OFFICE + "wordprocessingml.document"
_SLIDES = _OFFICE + "presentationml.presentation"
_SHEETS = _OFFICE + "spreadsheetml.sheet"
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
_UNKNOWN = "application/octet-stream"
_BY_SUFFIX = {
    "md": "text/markdown",
    "markdown": "text/markdown",
    "mdown": "text/markdown",
    "mkd": "text/markdown",
    "html": "text/html",
    "htm": "text/html",
    "xhtml": "text/html",
    "txt": "text/plain",
    "text": "text/plain",
    "log": "text/plain",
    "adoc": "text/asciidoc",
    "asciidoc": "text/asciidoc",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "ndjson": "application/x-ndjson",
    "pdf": "application/pdf",
    "epub": "application/epub+zip",
    "docx": _WORD,
    "docm": _WORD,
    "dotx": _WORD,
    "dotm": _WORD,
    "pptx": _SLIDES,
    "pptm": _SLIDES,
    "ppsx": _SLIDES,
    "ppsm": _SLIDES,
    "potx": _SLIDES,
    "potm": _SLIDES,
    "xlsx": _SHEETS,
    "xlsm": _SHEETS,
    "xltx": _SHEETS,
    "xltm": _SHEETS,
    "xls": "application/vnd.ms-excel",
    "odt": _OPEN_DOCUMENT + "text",
    "ott": _OPEN_DOCUMENT + "text",
    "ods": _OPEN_DOCUMENT + "spreadsheet",
    "ots": _OPEN_DOCUMENT + "spreadsheet",
    "odp": _OPEN_DOCUMENT + "presentation",
    "otp": _OPEN_DOCUMENT + "presentation",
    "eml": "message/rfc822",
    "mbox": "application/mbox",
    "msg": "application/vnd.ms-outlook",
    "rtf": "application/rtf",
    "fdf": "application/vnd.fdf",
    "7z": "application/x-7z-compressed",
    "rar": "application/vnd.rar",
}
# Only the library's own table: the system's files differ from machine to machine.
_TABLE = mimetypes.MimeTypes(())
_SNIFFED = 4096
_MAX_ENTRIES = 20_000
_FIRST_PARTS = (("word/", _WORD), ("ppt/", _SLIDES), ("xl/", _SHEETS))
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_STREAMS = (
    ("__properties_version1.0", "application/vnd.ms-outlook"),
    ("Workbook", "application/vnd.ms-excel"),
)
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]{1,60}:[ \t\r\n]")
_MAIL_HEADERS = re.compile(
    rb"^(?:from|to|subject|date|received|message-id|mime-version|return-path|delivered-to):[ \t\r\n]", re.I | re.M
)


def by_name(path: str) -> str | None:
    """The type that the suffix stands for, or None when the name has no suffix that is known."""
    name = path.rpartition("/")[2].lower()
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        return None
    return _BY_SUFFIX.get(suffix) or _TABLE.guess_type("x." + suffix)[0]


def by_content(data: bytes) -> str:
    """The type that the bytes show, from text to Office documents; `application/octet-stream` for what is neither."""
    head = data[:_SNIFFED]
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return "text/plain"
    if b"%PDF-" in head[:1024]:
        return "application/pdf"
    if head.startswith(b"PK\x03\x04"):
        return _in_archive(data)
    if head.startswith(_OLE):
        return next((kind for name, kind in _OLE_STREAMS if name.encode("utf-16-le") in data), _UNKNOWN)
    if b"\x00" in head or head.startswith(b"\x1f\x8b"):
        return _UNKNOWN
    start = head.lstrip()[:64].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "text/html"
    return _mail(head) or "text/plain"


def _mail(head: bytes) -> str | None:
    """A mail begins with headers, of which several are those of mails; a mailbox has a line before them."""
    if head.startswith(b"From ") and len(_MAIL_HEADERS.findall(head)) >= 2:
        return "application/mbox"
    return "message/rfc822" if _HEADER.match(head) and len(_MAIL_HEADERS.findall(head)) >= 2 else None


def _in_archive(data: bytes) -> str:
    """What kind of document a ZIP archive is, from the names in it and from the type that it begins with."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > _MAX_ENTRIES:
                return _UNKNOWN
            names = {entry.filename for entry in entries}
            if "mimetype" in names and archive.getinfo("mimetype").file_size < 200:
                told = archive.read("mimetype").decode("ascii", "replace").strip()
                return told.removesuffix("-template")
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, RuntimeError, struct.error, zlib.error):
        return _UNKNOWN
    if "[Content_Types].xml" not in names:
        return _UNKNOWN
    return next((kind for part, kind in _FIRST_PARTS if any(name.startswith(part) for name in names)), _UNKNOWN)


def accepted(media_type: str, offers: Iterable[str]) -> bool:
    """Whether `media_type` is one of `offers`, of which some may end in `/*`."""
    family = media_type.partition("/")[0] + "/*"
    return any(offer in (media_type, family) for offer in offers)
