"""Tells the media type of a document from its name, and from its first bytes where the name says nothing.

Called by `run.py`. The parser checks later whether the bytes are what the type says; here it only
matters which documents are handed over at all.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable

RULES_VERSION = 1
"""Raised whenever the same name and bytes would get another type; part of the manifest's digest."""

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
}
# Only the library's own table: the system's files differ from machine to machine.
_TABLE = mimetypes.MimeTypes(())
_SNIFFED = 4096


def by_name(path: str) -> str | None:
    """The type that the suffix stands for, or None when the name has no suffix that is known."""
    name = path.rpartition("/")[2].lower()
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        return None
    return _BY_SUFFIX.get(suffix) or _TABLE.guess_type("x." + suffix)[0]


def by_content(data: bytes) -> str:
    """`text/html`, `text/plain` or `application/octet-stream`, from the first 4 KiB."""
    head = data[:_SNIFFED]
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return "text/plain"
    if b"\x00" in head or head.startswith((b"%PDF-", b"PK\x03\x04", b"\x1f\x8b")):
        return "application/octet-stream"
    start = head.lstrip()[:64].lower()
    return "text/html" if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) else "text/plain"


def accepted(media_type: str, offers: Iterable[str]) -> bool:
    """Whether `media_type` is one of `offers`, of which some may end in `/*`."""
    family = media_type.partition("/")[0] + "/*"
    return any(offer in (media_type, family) for offer in offers)
