"""What a set of retrieved chunks is worth to a reader: recall, precision, precision-omega and IoU, by characters.

The measures of B. Smith and A. Troynikov, "Evaluating Chunking Strategies for Retrieval" (Chroma, 2024): what answers a
question are excerpts, ranges of one text. Overlapping chunks count twice against precision and IoU, once for recall.
Tokens are counted as characters, as the published code does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Span = tuple[int, int]
"""Characters [start, end) of a text."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk: the name of its text and where it lies there."""

    text: str
    start: int
    end: int

    @property
    def span(self) -> Span:
        """Where it lies."""
        return self.start, self.end


@dataclass(frozen=True, slots=True)
class Worth:
    """Scores of one question, from 0 to 1."""

    recall: float
    precision: float
    precision_omega: float
    iou: float


def worth(text: str, excerpts: Sequence[Span], retrieved: Sequence[Piece], chunks: Iterable[Piece]) -> Worth:
    """Return the scores of what was retrieved for a question about `text`, among all `chunks` of that text.

    Raises ValueError for a question without an excerpt, or when nothing was retrieved.
    """
    wanted = union(excerpts)
    read = sum(piece.end - piece.start for piece in retrieved)
    if not length(wanted) or not read:
        raise ValueError(f"a question about {text} has no excerpt, or nothing was retrieved for it")
    found = shared(wanted, union(piece.span for piece in retrieved if piece.text == text))
    missed = length(wanted) - found
    return Worth(
        recall=found / length(wanted),
        precision=found / read,
        precision_omega=omega(wanted, [piece.span for piece in chunks if piece.text == text]),
        iou=found / (read + missed),
    )


def omega(wanted: Sequence[Span], chunks: Iterable[Span]) -> float:
    """Return the best precision that these chunks allow: all those retrieved that hold any of what is wanted."""
    holding = union(chunk for chunk in chunks if shared(wanted, [chunk]))
    found = shared(wanted, holding)
    total = length(holding) + length(wanted) - found
    return found / total if total else 0.0


def union(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in order, those that overlap or touch as one, empty ones left out."""
    joined: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def length(spans: Iterable[Span]) -> int:
    """Return how many characters spans have that do not overlap."""
    return sum(end - start for start, end in spans)


def shared(left: Sequence[Span], right: Sequence[Span]) -> int:
    """Return how many characters two lists of spans share; within a list none overlap."""
    return sum(max(0, min(one[1], other[1]) - max(one[0], other[0])) for one in left for other in right)
