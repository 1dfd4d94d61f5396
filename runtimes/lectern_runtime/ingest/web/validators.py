"""What a page's etag in the manifest says: the server's own validators, the digest of the bytes, their media type.

Pure. The crawl asks with them whether a page has changed, and the answer "no" (304) tells nothing but that, so that
the media type has to be remembered here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

_LONGEST = 256


@dataclass(frozen=True, slots=True)
class Validators:
    """How a page is recognised; each part may be empty."""

    sha256: str = ""
    media_type: str = ""
    etag: str = ""
    last_modified: str = ""

    def text(self) -> str:
        """The etag of the manifest; equal parts give equal text."""
        return json.dumps({key: value for key, value in asdict(self).items() if value}, sort_keys=True)

    def conditions(self) -> dict[str, str]:
        """The headers of a request that is answered with 304 when nothing has changed; none without a validator."""
        found = {}
        if self.etag:
            found["If-None-Match"] = self.etag
        if self.last_modified:
            found["If-Modified-Since"] = self.last_modified
        return found


def read(text: str) -> Validators:
    """The parts of an etag of the manifest; nothing of what is not of this form."""
    try:
        found = json.loads(text)
        return Validators(**{key: value for key, value in found.items() if isinstance(value, str)})
    except (ValueError, TypeError, AttributeError):
        return Validators()


def header(value: str | None) -> str:
    """A header that can be sent back; empty for one that is too long or holds odd characters."""
    text = (value or "").strip()
    return text if len(text) <= _LONGEST and text.isascii() and text.isprintable() else ""


def of(body: bytes, headers: Mapping[str, str], media_type: str) -> Validators:
    """The validators of an answer with its whole body."""
    return Validators(
        sha256=hashlib.sha256(body).hexdigest(),
        media_type=media_type,
        etag=header(headers.get("etag")),
        last_modified=header(headers.get("last-modified")),
    )
