"""Finds some start tags of HTML in one pass, in time that only grows with the length, and builds no tree.

Pure. A tree of a hostile page can take minutes (100 kB of nested elements take a good parser ten seconds), and
finding links needs none. Comments are skipped, and the text of elements that hold no markup; text inside an attribute
that looks like a tag is taken for one, which at worst finds a link too many. A search that finds nothing ends the
reading.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping

MAX_VALUE = 8192
_RAW = ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
_END = {name: re.compile(rf"</{name}[\t\n\f\r />]", re.IGNORECASE) for name in _RAW}
_ATTRIBUTE = re.compile(r"[\t\n\f\r /]*(>|[^\t\n\f\r />][^\t\n\f\r />=]*)")
_EQUALS = re.compile(r"[\t\n\f\r ]*=[\t\n\f\r ]*")
_UNQUOTED = re.compile(r"[^\t\n\f\r >]*")
Attributes = Mapping[str, str]


def start_tags(text: str, wanted: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, Attributes]]:
    """Each start tag whose lower-case name is in `wanted`, with those of its attributes that are wanted, in order.

    Of an attribute that is given twice the first counts; values longer than `MAX_VALUE` are left out.
    """
    names = "|".join(map(re.escape, sorted({*wanted, *_RAW})))
    marks = re.compile(rf"<(?:(!--)|({names})(?=[\t\n\f\r />]))", re.IGNORECASE)
    at = 0
    while at >= 0 and (mark := marks.search(text, at)) is not None:
        if mark[1]:
            at = text.find("-->", mark.end() - 2)
            continue
        name = mark[2].lower()
        found, at = _attributes(text, mark.end(), wanted.get(name, frozenset()))
        if at >= 0 and name in wanted:
            yield name, found
        if at >= 0 and name in _END:
            closed = _END[name].search(text, at)
            at = closed.start() if closed else -1


def _attributes(text: str, at: int, wanted: frozenset[str]) -> tuple[dict[str, str], int]:
    """The wanted attributes of the tag whose name ends at `at`, and where it ends; negative when it does not."""
    found: dict[str, str] = {}
    while (match := _ATTRIBUTE.match(text, at)) is not None:
        at = match.end()
        if match[1] == ">":
            return found, at
        start = end = at
        equals = _EQUALS.match(text, at)
        if equals is not None:
            start = equals.end()
            quote = text[start : start + 1]
            if quote and quote in "\"'":
                start += 1
                end = text.find(quote, start)
                if end < 0:
                    return found, -1
                at = end + 1
            else:
                unquoted = _UNQUOTED.match(text, start)
                at = end = unquoted.end() if unquoted else start
        name = match[1].lower()
        if name in wanted and name not in found and end - start <= MAX_VALUE:
            found[name] = html.unescape(text[start:end])
    return found, -1
