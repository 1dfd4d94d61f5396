"""Finds what a crawl needs of an HTML page: its links, and what it says to robots.

Pure; nothing is loaded, and no page takes more time than its length.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from lectern_runtime.ingest.web import robots, tags, urls
from lectern_runtime.ingest.web.urls import UrlRefused

HTML = frozenset({"text/html", "application/xhtml+xml"})
MAX_PARSED_BYTES = 4 << 20
"""What lies behind this of a page is searched for no links."""
MAX_LINKS = 5000
_WANTED = {
    "a": frozenset({"href", "rel"}),
    "area": frozenset({"href", "rel"}),
    "base": frozenset({"href"}),
    "meta": frozenset({"name", "content"}),
}
_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w:.-]{1,40})""", re.I)
_HEADER_CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([\w:.-]{1,40})""", re.I)


@dataclass(frozen=True, slots=True)
class Directives:
    """What a page asks of robots: not to be indexed, and that its links are not followed."""

    noindex: bool = False
    nofollow: bool = False

    def __or__(self, other: Directives) -> Directives:
        """Both together; whoever says no is heard."""
        return Directives(self.noindex or other.noindex, self.nofollow or other.nofollow)


@dataclass(frozen=True, slots=True)
class Page:
    """An HTML page as a crawl sees it. `links` are canonical, each once, in order."""

    links: tuple[str, ...]
    directives: Directives


def read(data: bytes, *, url: str, content_type: str = "") -> Page:
    """The links and directives of the page at the canonical `url`; `content_type` is the whole header."""
    directives = Directives()
    base, based = url, False
    found: dict[str, None] = {}
    references: dict[str, None] = {}
    for name, attributes in tags.start_tags(_text(data[:MAX_PARSED_BYTES], content_type), _WANTED):
        reference = attributes.get("href")
        if name == "meta":
            if attributes.get("name", "").strip().lower() in ("robots", robots.PRODUCT.lower()):
                directives |= directives_of([attributes.get("content", "")])
        elif reference is None:
            continue
        elif name == "base":
            base, based = (base, True) if based else (_base(url, reference), True)
        elif "nofollow" not in attributes.get("rel", "").lower().split():
            references[reference] = None
            if len(references) >= MAX_LINKS:
                break
    for reference in references:
        with contextlib.suppress(UrlRefused):  # mailto:, javascript: and the like
            found[urls.joined(base, reference)] = None
    return Page(tuple(found), directives)


def _base(url: str, reference: str) -> str:
    try:
        return urls.joined(url, reference)
    except UrlRefused:
        return url


def directives_of(values: Iterable[str]) -> Directives:
    """What `X-Robots-Tag` headers, or the contents of `meta` elements, ask for; another robot's are passed over."""
    found = Directives()
    for value in values:
        agent, colon, rest = value.partition(":")
        named = agent.strip().lower()
        if colon and "," not in agent and named not in _WITH_VALUE:
            if named != robots.PRODUCT.lower():
                continue
            value = rest
        words = {word.strip().lower() for word in value.split(",")}
        everything = "none" in words
        found |= Directives(everything or "noindex" in words, everything or "nofollow" in words)
    return found


_WITH_VALUE = frozenset({"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"})


def _text(data: bytes, content_type: str) -> str:
    named = _HEADER_CHARSET.search(content_type)
    declared = _META_CHARSET.search(data[:4096])
    candidates = [named[1] if named else "", declared[1].decode("ascii") if declared else "", "utf-8"]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        candidates.insert(0, "utf-16")
    for charset in filter(None, candidates):
        try:
            return data.decode(charset, "replace")
        except LookupError:
            continue
    return data.decode("latin-1")
