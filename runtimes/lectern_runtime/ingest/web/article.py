"""Takes out of a MediaWiki article's HTML what is no text of the article: menus, footnotes, notices, edit links.

Pure, and in time that only grows with the length. MediaWiki writes balanced HTML, so that an element ends where as
many of its name are closed as were opened; where that is not so, the rest is left as it is.
"""

from __future__ import annotations

import html
import re

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:\s[^<>]*)?)>")
_CLASSES = re.compile(r"""\sclass\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_NO_TEXT = frozenset(
    (
        "ambox",
        "authority-control",
        "catlinks",
        "mw-editsection",
        "mw-empty-elt",
        "mw-indicators",
        "mw-references-wrap",
        "navbox",
        "navbox-styles",
        "noprint",
        "portalbox",
        "printfooter",
        "reference",
        "references",
        "reflist",
        "sistersitebox",
        "toc",
        "vertical-navbox",
    )
)
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)


def document(title: str, content: str) -> str:
    """An HTML document with the article's text under its title."""
    shown = html.escape(title)
    return (
        f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{shown}</title></head>\n'
        f"<body><h1>{shown}</h1>\n{text_only(content)}\n</body></html>\n"
    )


def text_only(content: str) -> str:
    """`content` without the elements whose class says that they are no text."""
    kept: list[str] = []
    start = at = 0
    while (tag := _TAG.search(content, at)) is not None:
        at = tag.end()
        if tag[1] or tag[2].lower() in _VOID or not _is_no_text(tag[3]):
            continue
        end = _end(content, tag[2].lower(), at)
        if end < 0:
            break
        kept.append(content[start : tag.start()])
        start = at = end
    kept.append(content[start:])
    return "".join(kept)


def _is_no_text(attributes: str) -> bool:
    named = _CLASSES.search(attributes)
    return named is not None and not _NO_TEXT.isdisjoint((named[1] or named[2] or "").split())


def _end(content: str, name: str, at: int) -> int:
    """Where the element `name` ends whose content begins at `at`; negative when it does not."""
    depth = 1
    for tag in _TAG.finditer(content, at):
        if tag[2].lower() == name:
            depth += -1 if tag[1] else 1
            if not depth:
                return tag.end()
    return -1
