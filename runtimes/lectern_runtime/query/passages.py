"""Turns hits into the passages that the generator is given: no text twice, within the token budget, best at both ends.

The pipeline calls `chosen` once a question is not refused. Models read the beginning and the end of their context
best (Liu et al. 2024, Lost in the Middle), hence the order; a passage's number is its rank all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lectern_runtime.ports import Passage
from lectern_runtime.query.retrieve import Found

_MOST_SHARED = 0.5
"""Share of a chunk's characters that a better chunk of the document may have before the chunk is left out."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the generator reads, in its order, and where each numbered passage comes from."""

    passages: tuple[Passage, ...]
    sources: dict[int, Found]


def chosen(found: Sequence[Found], *, top_k: int, token_budget: int) -> Context:
    """At most `top_k` of the passages (best first) that fit into `token_budget` tokens together.

    One that does not fit is passed over for a shorter one after it; when not even the best one fits alone, its
    beginning is used.
    """
    kept: list[Found] = []
    left = token_budget
    for each in found:
        if len(kept) == top_k:
            break
        if each.hit.payload.tokens <= left and not any(_repeats(each, better) for better in kept):
            kept.append(each)
            left -= each.hit.payload.tokens
    if not kept and found:
        kept = [found[0]]
    numbered = dict(enumerate(kept, start=1))
    passages = {number: Passage(number, _title(each), _within(each, token_budget)) for number, each in numbered.items()}
    return Context(tuple(passages[number] for number in both_ends(list(passages))), numbered)


def both_ends(ranked: Sequence[int]) -> list[int]:
    """The best first, the second best last, the worst in the middle: 1 2 3 4 5 becomes 1 3 5 4 2."""
    return [*ranked[::2], *reversed(ranked[1::2])]


def _repeats(each: Found, better: Found) -> bool:
    """Whether most of the chunk stands in a better one: neighbours overlap, and a text may be in two places."""
    mine, theirs = each.hit.payload, better.hit.payload
    if mine.text == theirs.text:
        return True
    if mine.document_id != theirs.document_id or each.collection != better.collection:
        return False
    shared = min(mine.end, theirs.end) - max(mine.start, theirs.start)
    return shared > _MOST_SHARED * (mine.end - mine.start)


def _title(each: Found) -> str:
    payload = each.hit.payload
    return " > ".join(part for part in (payload.title, payload.section) if part)


def _within(each: Found, token_budget: int) -> str:
    payload = each.hit.payload
    if payload.tokens <= token_budget:
        return payload.text
    return payload.text[: max(1, len(payload.text) * token_budget // payload.tokens)]
