"""Reads the XML that S3 servers answer with: pages of a listing, and refusals.

Called by `s3_client` with bodies of bounded size. A document type, and with it every entity of the sender's own, is
refused. The reference is the Amazon S3 API (ListObjectsV2, Error Responses).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus
from xml.parsers import expat

from lectern_runtime.retries import retry_after

_ETAG = re.compile(r'(?:W/)?"?([!#-~]{1,200})"?')
_REGION = re.compile(r"[a-z0-9-]{1,63}")
_CODE = re.compile(r"[A-Za-z.]{1,64}")
PRESENT = "PreconditionFailed"
"""Code for an object that is not as the request asks: there, for a put of new ones; another version, for a get."""
Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """An object in a listing.

    `key` is None where the name is no UTF-8, and `shown` then still names it. `etag` is bare, and empty where there
    is none that can be asked for; `changed` is when the object was written, as the server says it.
    """

    key: str | None
    shown: str
    etag: str
    size: int
    changed: str


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing; `token` asks for the next one, and is empty on the last."""

    entries: tuple[Entry, ...]
    token: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The server will not; `code` is its word for why, empty where the answer is none of an S3 server.

    `region` is the one that it expects, `date` what its clock says and `wait` the seconds that it asks for.
    """

    status: int
    code: str
    region: str = ""
    date: str = ""
    wait: float = 0.0


class _Reader:
    """Collects the texts of an answer: those below the root, and those of each `Contents`."""

    def __init__(self) -> None:
        self.root = ""
        self.fields: dict[str, str] = {}
        self.contents: list[dict[str, str]] = []
        self._path: list[str] = []
        self._text: list[str] = []

    def read(self, body: bytes) -> None:
        """Parse `body`; raises ValueError."""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _no_document_type
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        try:
            parser.Parse(body, True)
        except expat.ExpatError as error:
            raise ValueError("no XML") from error

    def _start(self, name: str, _attributes: Mapping[str, str]) -> None:
        self._path.append(name.rpartition(":")[2])
        self._text.clear()
        if len(self._path) == 1:
            self.root = self._path[0]
        elif len(self._path) == 2 and self._path[1] == "Contents":
            self.contents.append({})

    def _end(self, _name: str) -> None:
        match self._path:
            case [_, name]:
                self.fields[name] = "".join(self._text)
            case [_, "Contents", name]:
                self.contents[-1][name] = "".join(self._text)
        self._path.pop()
        self._text.clear()


def page(body: bytes) -> Page:
    """Return the page of a listing that was asked for with encoding-type=url. Raises ValueError for all else."""
    reader = _Reader()
    reader.read(body)
    truncated = reader.fields.get("IsTruncated", "").strip()
    if reader.root != "ListBucketResult" or truncated not in ("true", "false"):
        raise ValueError("no listing")
    token = reader.fields.get("NextContinuationToken", "")
    if truncated == "true" and not token:
        raise ValueError("a listing that goes on and does not say where")
    encoded = reader.fields.get("EncodingType", "").strip() == "url"
    entries = tuple(_entry(each, encoded=encoded) for each in reader.contents)
    return Page(entries, token if truncated == "true" else "")


def _entry(fields: Fields, *, encoded: bool) -> Entry:
    shown, size = fields.get("Key", ""), fields.get("Size", "").strip()
    if not shown or not size.isdecimal():
        raise ValueError("an object without key or size")
    return Entry(
        key=_decoded(shown) if encoded else _undamaged(shown),
        shown=shown,
        etag=bare_etag(fields.get("ETag", "")),
        size=int(size),
        changed=fields.get("LastModified", "").strip(),
    )


def _decoded(key: str) -> str | None:
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        return None


def _undamaged(key: str) -> str | None:
    # What XML cannot carry is written as this character by servers that do not know encoding-type.
    return None if "\ufffd" in key else key


def bare_etag(text: str) -> str:
    """Return an entity tag without its quotes; empty for one that is no tag."""
    match = _ETAG.fullmatch(text.strip())
    return match.group(1) if match is not None else ""


def refusal(status: int, body: bytes, headers: Mapping[str, str], *, now: float) -> Refusal:
    """Return what an answer with another status than success says; `now` is in seconds since 1970 UTC."""
    reader = _Reader()
    with contextlib.suppress(ValueError):  # a proxy before the server speaks in its own way
        reader.read(body)
    fields = reader.fields if reader.root == "Error" else {}
    code = fields.get("Code", "").strip()
    if status == 412:  # some servers send no body with it
        code = PRESENT
    region = headers.get("x-amz-bucket-region", "") or fields.get("Region", "").strip()
    return Refusal(
        status,
        code if _CODE.fullmatch(code) else "",
        region if _REGION.fullmatch(region) else "",
        headers.get("date", ""),
        retry_after(headers.get("retry-after"), now=now) or 0.0,
    )


def _no_document_type(*_: object) -> None:
    raise ValueError("a document type")
