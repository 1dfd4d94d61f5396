"""Turns a document's bytes into text, whatever charset they are in, or says why they are no text.

It never puts in replacement characters: bytes that fit no
charset without loss are a fault of the document.
"""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from lectern_contract.errors import DocumentError

_BOMS = (  # UTF-32 first: its mark begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NOT_TEXT = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1", "an Office document of the old kind"),
    (b"\x7fELF", "a program"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"Rar!\x1a", "a RAR archive"),
    (b"{\\rtf", "an RTF document"),
)
_WHATWG_1252 = frozenset({"ascii", "iso8859-1"})  # what browsers take these names for
_SAMPLE = 65536
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_MAX_CONTROL_SHARE = 0.02
_HIGH = bytes(range(128, 256))
_FEW = 4
_NEWLINES = re.compile("\r\n?")


def decode(data: bytes, *, declared: str | None = None) -> str:
    """The text of `data`, with a line feed as line end and without a byte order mark.

    `declared` is the charset that the document itself names; it is believed when the bytes fit it. Raises
    `DocumentError`: NotWhatItSays, BinaryContent or CharsetUnknown.
    """
    for magic, what in _NOT_TEXT:
        if data.startswith(magic):
            raise _fault("NotWhatItSays", f"its bytes are those of {what}; name it so, or exclude it")
    text = _of_mark(data)
    if text is None:
        text = _strict(data, "utf-8") if b"\x00" not in data else _wide(data)
    if text is None and declared is not None:
        text = _strict(data, _known(declared))
    if text is None:
        text = _detected(data)
    size = min(len(text), _SAMPLE)
    if len(_CONTROLS.findall(text[:_SAMPLE])) > max(min(4, size // 8), _MAX_CONTROL_SHARE * size) or "\x00" in text:
        raise _fault("BinaryContent", "it holds control characters as binary data does; name it so, or exclude it")
    return _NEWLINES.sub("\n", text)


def _of_mark(data: bytes) -> str | None:
    for mark, charset in _BOMS:
        if data.startswith(mark):
            text = _strict(data[len(mark) :], charset)
            if text is not None:
                return text
    return None


def _wide(data: bytes) -> str:
    """UTF-16 without a mark: every other byte of western text is zero."""
    even, odd = data[:_SAMPLE:2].count(0), data[1:_SAMPLE:2].count(0)
    half = max(1, min(len(data), _SAMPLE) // 2)
    charset = "utf-16-le" if odd > 0.3 * half > even * 4 else "utf-16-be" if even > 0.3 * half > odd * 4 else None
    text = _strict(data, charset) if charset else None
    if text is None:
        raise _fault("BinaryContent", "it holds zero bytes, as binary data does; name it so, or exclude it")
    return text


def _detected(data: bytes) -> str:
    # A few odd bytes are too little to guess from, and are most often accents or curly quotes.
    if len(data) - len(data.translate(None, _HIGH)) <= _FEW and (text := _strict(data, "cp1252")) is not None:
        return text
    # The beginning usually tells; where it misleads, the whole is looked at.
    for part in (data[:_SAMPLE], data) if len(data) > _SAMPLE else (data,):
        best = from_bytes(part).best()
        text = _strict(data, best.encoding) if best is not None else None
        if text is not None:
            return text
    text = _strict(data, "cp1252")
    if text is None:
        raise _fault("CharsetUnknown", "its bytes fit no charset; save it as UTF-8")
    return text


def _known(declared: str) -> str | None:
    try:
        name = codecs.lookup(declared.strip().strip("\"'")).name
    except (LookupError, ValueError):
        return None
    return "cp1252" if name in _WHATWG_1252 else name


def _strict(data: bytes, charset: str | None) -> str | None:
    if charset is None:
        return None
    try:
        return data.decode(charset)
    except (UnicodeError, LookupError):
        return None


def _fault(reason: str, message: str) -> DocumentError:
    return DocumentError(message, stage="parse", reason=reason)
