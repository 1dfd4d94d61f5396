"""Checks what a generator cites and turns it into citations that a reader can follow to the document.

The pipeline hands over each piece of an answer as it comes. A span outside the passage that it names, or a marker
that names no passage, is taken out; what remains is known to lie in retrieved text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lectern_runtime.ports import AnswerPiece, CitedSpan
from lectern_runtime.query.passages import Context
from lectern_runtime.query.retrieve import Found
from lectern_runtime.query.schema import CitationBody, HitBody, ScoresBody, SpanBody

# Only where it stands by itself: `rules[0]` in quoted text is no marker.
_MARKER = re.compile(r"(?:^|(?<=\])|[ ]|(?<=\n))\[(\d{1,4})\]")


class CitationCheck:
    """The citations of one answer; give it every piece in order."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._texts = {passage.number: passage.text for passage in context.passages}
        self._spans: dict[int, list[CitedSpan]] = {}

    def check(self, piece: AnswerPiece) -> tuple[str, list[CitationBody]]:
        """The piece's text without markers of unknown passages, and the citations that it is the first to use."""
        new: list[CitationBody] = []
        for span in piece.cites:
            text = self._texts.get(span.passage)
            if text is None or not 0 <= span.start < span.end <= len(text):
                continue
            if span.passage not in self._spans:
                self._spans[span.passage] = []
                new.append(self._citation(span.passage, [span]))
            self._spans[span.passage].append(span)
        return _MARKER.sub(self._kept, piece.text), new

    def citations(self) -> list[CitationBody]:
        """All citations so far, by number, each with every span that was cited."""
        return [self._citation(number, spans) for number, spans in sorted(self._spans.items())]

    def _kept(self, marker: re.Match[str]) -> str:
        return marker.group() if int(marker.group(1)) in self._texts else ""

    def _citation(self, number: int, spans: Sequence[CitedSpan]) -> CitationBody:
        merged = [SpanBody(start=start, end=end) for start, end in _merged(spans)]
        return CitationBody(**dict(hit_body(self._context.sources[number])), number=number, spans=merged)


def hit_body(found: Found) -> HitBody:
    """A hit as the API shows it."""
    payload, scores = found.hit.payload, found.hit.scores
    return HitBody(
        document_id=payload.document_id,
        uri=payload.uri,
        title=payload.title,
        text=payload.text,
        page=payload.page,
        section=payload.section,
        start=payload.start,
        end=payload.end,
        scores=ScoresBody(dense=scores.dense, sparse=scores.sparse, fused=scores.fused, rerank=scores.rerank),
        partition=f"{payload.tenant}/{payload.access_level}",
        knowledge_base=found.knowledge_base,
        generation=found.generation,
    )


def _merged(spans: Sequence[CitedSpan]) -> list[tuple[int, int]]:
    """The spans in order, those that touch or overlap made one."""
    merged: list[tuple[int, int]] = []
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if merged and span.start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], span.end))
        else:
            merged.append((span.start, span.end))
    return merged
