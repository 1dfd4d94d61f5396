"""Turns Outlook messages (msg) into text: the properties that hold subject, people and body."""

from __future__ import annotations

import io
import re
import struct

import olefile

from lectern_contract.errors import DocumentError
from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers import charset, html
from lectern_runtime.embed.parsers.archive import OLE_MAGIC
from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime.embed.parsers.faults import corrupt, fault

_SUBJECT, _SENDER, _SENDER_ADDRESS, _TO, _CC = "0037", "0C1A", "0C1F", "0E04", "0E03"
_BODY, _HTML = "1000", "1013"
_LONG_NAME, _SHORT_NAME = "3707", "3704"
_CODE_PAGES = (0x3FFD, 0x3FDE)
_UNICODE, _ANSI, _BINARY = "001F", "001E", "0102"
_MAX_ATTACHMENTS = 1000
_PROPERTIES_HEADER = 32
_PROPERTY = struct.Struct("<HHIQ")


def parse(data: bytes) -> ParsedDocument:
    """The message. Raises `DocumentError` Corrupt or NotWhatItSays."""
    if not data.startswith(OLE_MAGIC):
        raise fault("NotWhatItSays", "it is no Outlook message as its type says; name it as what it is")
    try:
        with olefile.OleFileIO(io.BytesIO(data)) as container:
            return _Message(container).written()
    except DocumentError:
        raise
    except (OSError, ValueError, IndexError, struct.error, TypeError, AttributeError) as error:
        raise corrupt("the Outlook message", "its container cannot be read") from error


class _Message:
    """Reads the properties of one message."""

    def __init__(self, container: olefile.OleFileIO[bytes]) -> None:
        self._container = container
        self._streams = {"/".join(path): path for path in container.listdir()}
        if "__properties_version1.0" not in self._streams:
            raise fault("NotWhatItSays", "it is an Office document of the old kind, but no Outlook message")
        self._charset = self._code_page()

    def written(self) -> ParsedDocument:
        """Subject, people, body, and the names of what is attached."""
        composer = Composer()
        subject = self._text(_SUBJECT)
        composer.heading(1, subject)
        sender = self._text(_SENDER)
        address = self._text(_SENDER_ADDRESS)
        heads = [("From", f"{sender} <{address}>" if "@" in address and address != sender else sender)]
        heads += [("To", self._text(_TO)), ("Cc", self._text(_CC))]
        composer.block("paragraph", "\n".join(f"{name}: {text}" for name, text in heads if text))
        body = self._text(_BODY)
        if body.strip():
            for paragraph in re.split(r"\n[^\S\n]*\n", body.replace("\r\n", "\n")):
                composer.block("paragraph", paragraph)
        elif markup := self._raw(_HTML, _BINARY) or self._text(_HTML).encode():
            composer.insert(html.parse(markup))
        for folder in sorted({name.partition("/")[0] for name in self._streams if name.startswith("__attach_")})[
            :_MAX_ATTACHMENTS
        ]:
            name = self._text(_LONG_NAME, folder + "/") or self._text(_SHORT_NAME, folder + "/")
            composer.item(f"Attachment: {name or 'without a name'}")
        return composer.finish(subject)

    def _text(self, key: str, folder: str = "") -> str:
        wide = self._raw(key, _UNICODE, folder)
        if wide:
            return wide.decode("utf-16-le", "ignore").rstrip("\x00")
        narrow = self._raw(key, _ANSI, folder).rstrip(b"\x00")
        return charset.decode(narrow, declared=self._charset) if narrow else ""

    def _raw(self, key: str, kind: str, folder: str = "") -> bytes:
        path = self._streams.get(f"{folder}__substg1.0_{key}{kind}")
        if path is None:
            return b""
        content: bytes = self._container.openstream(path).read()
        return content

    def _code_page(self) -> str | None:
        content = self._container.openstream("__properties_version1.0").read()[_PROPERTIES_HEADER:]
        found: dict[int, int] = {}
        for _, key, _, value in _PROPERTY.iter_unpack(content[: len(content) // _PROPERTY.size * _PROPERTY.size]):
            found[key] = value & 0xFFFFFFFF
        for key in _CODE_PAGES:
            if key in found:
                return {65001: "utf-8", 20127: "ascii", 28591: "latin-1"}.get(found[key], f"cp{found[key]}")
        return None
