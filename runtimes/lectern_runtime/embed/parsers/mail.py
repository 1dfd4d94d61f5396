"""Turns e-mail (eml and whole mailboxes) into text: subject, who wrote to whom, the body, names of what is attached.

Attachments are named and not opened; mails within a mail are read up to a depth.
"""

from __future__ import annotations

import email
import email.header
import re
from collections.abc import Iterator
from email.message import Message
from email.policy import compat32

from lectern_contract.errors import DocumentError
from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers import charset, html
from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime.embed.parsers.faults import fault

MAX_PARTS = 2000
MAX_DEPTH = 8
MAX_MAILS = 20_000
_MAX_HEADER = 4096
_MAX_BOUNDARIES = 5000
_MAX_DASHES = 50_000
"""Lines that begin as one between parts does: an honest mail has few more than parts."""
_SHOWN = ("From", "To", "Cc", "Date")
_FROM_LINE = re.compile(rb"(?:\A|\n)From [^\r\n]{3,200}\r?\n(?=[A-Za-z][\w-]{0,60}:)")


def parse(data: bytes) -> ParsedDocument:
    """One mail. Raises `DocumentError` TooLarge or TooDeep for one with too many parts."""
    message = _message(data)
    if not any(_header(message, name) for name in ("Subject", *_SHOWN)):
        raise fault("NotWhatItSays", "it has none of the headers of a mail; name it as what it is")
    composer = Composer()
    title = _mail(message, composer, 1, _Parts())
    return composer.finish(title)


def parse_mailbox(data: bytes) -> ParsedDocument:
    """All mails of a mailbox, each a page of its own."""
    starts = [match.end() for match in _FROM_LINE.finditer(data)]
    if len(starts) > MAX_MAILS:
        raise fault("TooLarge", f"the mailbox has {len(starts)} mails, the limit is {MAX_MAILS}; split it")
    ends = [*(match.start() for match in _FROM_LINE.finditer(data)), len(data)][1:]
    composer = Composer()
    for number, (start, end) in enumerate(zip(starts, ends, strict=False), 1):
        composer.page(number)
        _mail(_message(data[start:end]), composer, 1, _Parts())
    return composer.finish()


class _Parts:
    """Counts the parts of one mail."""

    def __init__(self) -> None:
        self._left = MAX_PARTS

    def take(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise fault("TooLarge", f"the mail has more than {MAX_PARTS} parts")


def _message(data: bytes) -> Message:
    # Each multipart costs one; the parser of the standard library calls itself for each that is nested.
    if data.lower().count(b"boundary=") > _MAX_BOUNDARIES or data.count(b"\n--") > _MAX_DASHES:
        raise fault("TooLarge", f"the mail has more than {MAX_PARTS} parts")
    try:
        return email.message_from_bytes(data, policy=compat32)
    except RecursionError as error:
        raise fault("TooDeep", "the parts of the mail are nested too deeply") from error


def _mail(message: Message, composer: Composer, level: int, parts: _Parts) -> str:
    """Write one mail and give its subject."""
    subject = _header(message, "Subject")
    composer.heading(level, subject)
    heads = [(name, _header(message, name)) for name in _SHOWN]
    composer.block("paragraph", "\n".join(f"{name}: {text}" for name, text in heads if text))
    attached: list[str] = []
    for each in _leaves(message, parts, 0):
        name = _name(each)
        kind = each.get_content_type()
        if kind == "message/rfc822" or (each.is_multipart() and each is not message):
            inner = each.get_payload()
            if level >= MAX_DEPTH:
                raise fault("TooDeep", f"mails are attached to mails more than {MAX_DEPTH} deep")
            if isinstance(inner, list) and inner and isinstance(inner[0], Message):
                _mail(inner[0], composer, level + 1, parts)
        elif kind in ("text/plain", "text/html") and each.get_content_disposition() != "attachment":
            _body(each, composer)
        elif name or each.get_content_disposition() == "attachment":
            attached.append(f"{name or 'without a name'} ({kind})")
    for attachment in attached:
        composer.item(f"Attachment: {attachment}")
    return subject


def _leaves(message: Message, parts: _Parts, depth: int) -> Iterator[Message]:
    """The parts to show: of alternatives the plain one when it says anything, else the last that can be read."""
    parts.take()
    if depth > MAX_PARTS or not message.is_multipart() or message.get_content_type() == "message/rfc822":
        yield message
        return
    inner = [each for each in message.get_payload() if isinstance(each, Message)]
    if message.get_content_type() == "multipart/alternative":
        plain = [each for each in inner if each.get_content_type() == "text/plain" and _payload(each).strip()]
        inner = plain[:1] or inner[-1:]
    for each in inner:
        yield from _leaves(each, parts, depth + 1)


def _body(part: Message, composer: Composer) -> None:
    data = _payload(part)
    if not data.strip():
        return
    declared = str(part.get_param("charset") or "") or None
    try:
        if part.get_content_type() == "text/html":
            composer.insert(html.parse_text(charset.decode(data, declared=declared or html.declared_charset(data))))
            return
        text = charset.decode(data, declared=declared)
    except DocumentError:
        composer.item(f"A part that is no text ({part.get_content_type()})")
        return
    for paragraph in re.split(r"\n[^\S\n]*\n", text):
        composer.block("paragraph", paragraph)


def _payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _name(part: Message) -> str:
    try:
        return _decoded(part.get_filename() or "")
    except (ValueError, LookupError, TypeError):  # the library fails on some broken encodings of names
        return "with a broken name"


def _header(message: Message, name: str) -> str:
    for key, value in message.raw_items():
        if key.lower() == name.lower():
            return _decoded(str(value))
    return ""


def _decoded(raw: str) -> str:
    """A header as it reads: encoded words decoded, raw bytes in whatever charset they are."""
    data = raw[:_MAX_HEADER].encode("utf-8", "surrogateescape")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = charset.decode(data)
    try:
        pieces = email.header.decode_header(text)
        return " ".join("".join(_piece(*piece) for piece in pieces).split())
    except (ValueError, email.errors.HeaderParseError):
        return " ".join(text.split())


def _piece(content: str | bytes, named: str | None) -> str:
    if isinstance(content, str):
        return content
    return charset.decode(content, declared=named) if content else ""
