"""Finds where a text may be cut into chunks and how good each place is, in tokens of the embedding model.

Pure: from a parsed document and the spans of its tokens to an array of boundaries, and from a start to the
best end. `chunk.py` walks along with it and checks each chunk's real length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lectern_runtime.embed.parsed import Block, ParsedDocument

Strategy = Literal["Recursive", "Fixed", "Markdown"]
Places = NDArray[np.int64]

NEVER, INSIDE, WORD, SENTENCE, LINE, BLOCK, HEADING = -1, 0, 1, 2, 3, 4, 5
"""How good a place is: inside a character, inside a word or a thing kept whole, and then ever better."""
LONGEST_PIECE = 64
PIECE = 16
"""A token or gap of more than LONGEST_PIECE characters (a key, an encoded image) counts as pieces of PIECE each."""

_SENTENCE_END = re.compile(
    r"[.!?…]['\"”’)\]]*\s+|[\u3002\uff01\uff1f]+"
)  # the last three end sentences in Chinese and Japanese
_LINE_END = re.compile(r"\n[^\S\n]*")
_EMPTY_LINE = re.compile(r"\n[^\S\n]*\n\s*")


@dataclass(frozen=True, slots=True)
class Cuts:
    """A text in `count` pieces. `at[i]` is the character before piece i, `level[i]` how good a cut there is.

    `latest[l][i]` is the last place up to i whose level is at least l, and `hard[i]` the next place after i that
    no chunk may cross. All arrays have count + 1 items.
    """

    at: Places
    level: Places
    latest: dict[int, Places]
    hard: Places

    @property
    def count(self) -> int:
        """Pieces of the text."""
        return len(self.at) - 1

    def end(self, start: int, size: int, overlap: int) -> int:
        """The best end of a chunk that begins at piece `start` and has at most `size` pieces; always after `start`.

        The best boundary in the second half of the room is taken, else any word boundary that leaves more than the
        overlap, else the last place between characters.
        """
        last = min(start + size, int(self.hard[start]))
        if last == self.hard[start]:
            return last
        for low, levels in (
            (start + max(size // 2, overlap + 1), (HEADING, BLOCK, LINE, SENTENCE, WORD)),
            (start + overlap + 1, (WORD,)),
        ):
            for level in levels:
                if (place := int(self.latest[level][last])) >= low:
                    return place
        place = int(self.latest[INSIDE][last])
        if place > start:
            return place
        return int(next(place for place in range(last + 1, self.count + 1) if self.level[place] >= INSIDE))

    def fixed_end(self, start: int, size: int) -> int:
        """The end of a chunk of exactly `size` pieces, or of fewer where a character would be torn."""
        last = min(start + size, self.count)
        place = int(self.latest[INSIDE][last])
        if place > start:
            return place
        return int(next(place for place in range(last + 1, self.count + 1) if self.level[place] >= INSIDE))

    def back(self, end: int, overlap: int, *, exact: bool) -> int:
        """Where the chunk after `end` begins: `overlap` pieces before it when `exact`.

        Else at the first sentence in those pieces, at the first word if no sentence begins there.
        """
        if overlap == 0 or end >= self.count:
            return end
        window = range(max(end - overlap, 0), end)
        for level in (INSIDE,) if exact else (SENTENCE, WORD):
            for place in window:
                if self.level[place] >= level:
                    return place
        return end


def find(parsed: ParsedDocument, spans: Sequence[tuple[int, int]], strategy: Strategy, *, size: int) -> Cuts:
    """The cuts of a document. Linear in the text; `spans` are the characters of its tokens, in order."""
    starts, ends = _pieces(spans, len(parsed.text))
    at = np.append(starts, len(parsed.text))
    at[0] = 0
    level = np.full(len(at), INSIDE)
    level[1:-1] = np.select([starts[1:] < ends[:-1], starts[1:] > ends[:-1]], [NEVER, WORD], INSIDE)
    for pattern, value in ((_SENTENCE_END, SENTENCE), (_LINE_END, LINE), (_EMPTY_LINE, BLOCK)):
        _raise(level, starts, [match.end() for match in pattern.finditer(parsed.text)], value)
    hard = np.zeros(len(at), bool)
    hard[-1] = True
    _apply_blocks(parsed.blocks, starts, level, hard, strategy, size)
    level[0] = level[-1] = HEADING
    places = np.arange(len(at))
    latest = {
        value: np.maximum.accumulate(np.where(level >= value, places, 0))
        for value in (INSIDE, WORD, SENTENCE, LINE, BLOCK, HEADING)
    }
    # The next hard place strictly after i: a running minimum from the right.
    following = np.where(hard, places, len(at) - 1)
    following = np.append(np.minimum.accumulate(following[::-1])[::-1][1:], len(at) - 1)
    return Cuts(at, level, latest, following)


def _pieces(spans: Sequence[tuple[int, int]], length: int) -> tuple[Places, Places]:
    """Starts and ends of the pieces: the tokens, with very long tokens and gaps taken apart.

    Otherwise a chunk of a few tokens could hold megabytes, since a model may call a whole megabyte one token.
    """
    table = np.asarray(spans, np.int64).reshape(-1, 2)
    table = table[table[:, 1] > table[:, 0]]
    starts = np.maximum.accumulate(table[:, 0])
    ends = np.maximum(table[:, 1], starts)
    if not len(starts):
        return starts, ends
    if int((ends - starts).max()) <= LONGEST_PIECE and int(np.diff(starts, append=length).max()) <= LONGEST_PIECE:
        return starts, ends
    taken: list[tuple[int, int]] = []
    for start, end, following in zip(starts.tolist(), ends.tolist(), [*starts[1:].tolist(), length], strict=True):
        taken.extend(_apart(start, end))
        if following - end > LONGEST_PIECE:
            taken.extend(_apart(end, following))
    pieces = np.asarray(taken, np.int64)
    return pieces[:, 0], pieces[:, 1]


def _apart(start: int, end: int) -> list[tuple[int, int]]:
    if end - start <= LONGEST_PIECE:
        return [(start, end)]
    return [(place, min(place + PIECE, end)) for place in range(start, end, PIECE)]


def _raise(level: Places, starts: Places, characters: Sequence[int], value: int) -> None:
    """Lift the places at the first piece from each of `characters` on to `value`, except inside a character."""
    where = np.searchsorted(starts, np.asarray(characters, np.int64))
    where = where[where < len(starts)]
    where = where[level[where] >= INSIDE]
    level[where] = np.maximum(level[where], value)


def _apply_blocks(
    blocks: Sequence[Block], starts: Places, level: Places, hard: NDArray[np.bool_], strategy: Strategy, size: int
) -> None:
    """Let blocks decide: headings begin something and stay with what follows; Markdown keeps code and tables whole."""
    first = np.searchsorted(starts, [block.start for block in blocks]).tolist()
    after_heading = False
    for number, block in enumerate(blocks):
        begin, end = first[number], first[number + 1] if number + 1 < len(blocks) else len(starts)
        if begin >= len(starts) or level[begin] < INSIDE:
            continue
        heading = block.kind == "heading"
        level[begin] = WORD if after_heading else HEADING if heading else BLOCK
        hard[begin] = strategy == "Markdown" and heading and not after_heading and begin > 0
        if strategy == "Markdown" and block.kind in ("code", "table") and end - begin <= size:
            inner = level[begin + 1 : end]
            inner[inner > INSIDE] = INSIDE
        after_heading = heading
