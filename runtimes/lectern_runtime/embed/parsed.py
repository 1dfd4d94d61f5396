"""What parsing gives: the text of a document, its title, and the blocks that the text consists of.

The parsers make these inside the sandbox, the chunker reads them, and offsets in citations count
characters of `ParsedDocument.text`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

Kind = Literal["heading", "paragraph", "list", "code", "table", "quote", "markup"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SECTION_SEPARATOR = " > "
MAX_TITLE = 512
MAX_HEADING = 160
_SOMETHING = re.compile(r"\S")


@dataclass(frozen=True, slots=True)
class Block:
    """Characters [start, end) of the text. `section` is the path of headings that it stands under, its own included."""

    start: int
    end: int
    kind: Kind
    section: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The text of a document; blocks are in order, do not overlap, and cover all of it but white space."""

    title: str
    text: str
    blocks: tuple[Block, ...]

    def to_json(self) -> dict[str, Any]:
        """The document as JSON; each path of headings is written once."""
        sections = {path: number for number, path in enumerate(dict.fromkeys(block.section for block in self.blocks))}
        return {
            "title": self.title,
            "text": self.text,
            "sections": [list(path) for path in sections],
            "blocks": [[b.start, b.end, KINDS.index(b.kind), sections[b.section], b.page] for b in self.blocks],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ParsedDocument:
        """The document of `to_json`. Raises KeyError, ValueError or TypeError for anything else."""
        sections = [tuple(map(str, path)) for path in data["sections"]]
        blocks = tuple(
            Block(int(start), int(end), KINDS[kind], sections[section], page)
            for start, end, kind, section, page in data["blocks"]
        )
        return cls(str(data["title"]), str(data["text"]), blocks)


class Headings:
    """The headings above the place that a parser has reached."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []

    def enter(self, level: int, text: str) -> None:
        """Go on below the heading `text` of `level` 1 to 6."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, shortened(text, MAX_HEADING)))

    @property
    def path(self) -> tuple[str, ...]:
        """The open headings, outermost first."""
        return tuple(text for _, text in self._open if text)


def covering(text: str, blocks: Iterable[Block]) -> tuple[Block, ...]:
    """The blocks without white space at their ends, and a paragraph for whatever stands between them."""
    covered: list[Block] = []
    end = 0
    section: tuple[str, ...] = ()
    for block in blocks:
        _add(covered, text, Block(end, block.start, "paragraph", section))
        _add(covered, text, block)
        end, section = block.end, block.section
    _add(covered, text, Block(end, len(text), "paragraph", section))
    return tuple(covered)


def _add(covered: list[Block], text: str, block: Block) -> None:
    first = _SOMETHING.search(text, block.start, block.end)
    if first is not None:
        end = block.start + len(text[block.start : block.end].rstrip())
        covered.append(Block(first.start(), end, block.kind, block.section, block.page))


def shortened(text: str, limit: int) -> str:
    """`text` on one line, with single spaces, and at most `limit` characters."""
    line = " ".join(text[: 8 * limit].split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
