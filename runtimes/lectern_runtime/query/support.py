"""Turns what was found into one number from 0 to 1: how likely it is that the passages answer the question.

The pipeline calls `support` after retrieval and refuses below `retrieval.minScore`, before any generator is asked.
`bench/refusal_calibration.py` fits the coefficients below and prints how well they refuse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lectern_runtime import sentences
from lectern_runtime.ports import Hit
from lectern_runtime.terms import Terms

READ = 5
"""Best passages whose sentences are read."""
COMPARED = 20
"""Best passages that tell how rare a word of the question is."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for an answer, each from 0 to 1 but `cosine` (-1 to 1).

    `cosine` is the best passage's, None without a vector search. `passage` and `sentence` are the largest share of
    the question's content words, weighted by rarity, in one passage and in one sentence of the best ones. `agreement`
    is 1 / (1 + r) where r is the rank, in the term search, of what the vector search puts first; None without both.
    """

    cosine: float | None
    passage: float
    sentence: float
    agreement: float | None


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Weights of a logistic regression over `Evidence`."""

    bias: float
    cosine: float
    passage: float
    sentence: float
    agreement: float


# Fitted by `bench/refusal_calibration.py` on 600 answerable and 1,361 unanswerable questions, equal classes, for the
# cosines of all-MiniLM-L6-v2; another embedding model spreads its cosines differently and needs a fit of its own.
HYBRID = Coefficients(bias=-9.01, cosine=16.02, passage=0.72, sentence=1.48, agreement=1.26)
DENSE = Coefficients(bias=-9.23, cosine=17.55, passage=0.86, sentence=1.37, agreement=0.0)
SPARSE = Coefficients(bias=-3.08, cosine=0.0, passage=6.49, sentence=0.3, agreement=0.0)


def support(evidence: Evidence) -> float:
    """Estimated probability that the passages answer, with the coefficients for the searches that were made."""
    if evidence.cosine is None:
        return chance(evidence, SPARSE)
    return chance(evidence, DENSE if evidence.agreement is None else HYBRID)


def chance(evidence: Evidence, weights: Coefficients) -> float:
    """1 / (1 + exp(-(bias + weights . evidence))); a part that is None counts as 0."""
    total = (
        weights.bias
        + weights.cosine * (evidence.cosine or 0.0)
        + weights.passage * evidence.passage
        + weights.sentence * evidence.sentence
        + weights.agreement * (evidence.agreement or 0.0)
    )
    return 1.0 / (1.0 + math.exp(-total))


def evidence(question: str, hits: Sequence[Hit], terms: Terms) -> Evidence:
    """What `hits` (best first) say for an answer to `question`; all zero when there is none."""
    if not hits:
        return Evidence(cosine=None, passage=0.0, sentence=0.0, agreement=None)
    asked = terms.distinct(question)
    read = [terms.distinct(said(hit)) for hit in hits[:COMPARED]]
    rarity = rarities(asked, read)
    in_sentences = (
        share(rarity, terms.distinct(unit.plain)) for hit in hits[:READ] for unit in sentences.units(hit.payload.text)
    )
    return Evidence(
        cosine=max((hit.scores.dense for hit in hits if hit.scores.dense is not None), default=None),
        passage=max(share(rarity, spoken) for spoken in read[:READ]),
        sentence=max(in_sentences, default=0.0),
        agreement=_agreement(hits),
    )


def said(hit: Hit) -> str:
    """All words of a passage: its text under its title and headings."""
    return f"{hit.payload.title}\n{hit.payload.section}\n{hit.payload.text}"


def rarities(asked: frozenset[str], read: Sequence[frozenset[str]]) -> Mapping[str, float]:
    """Weight of each asked word: ln(1 + (n - d + 0.5) / (d + 0.5)), d of the n passages having it (as in BM25)."""
    count = len(read)
    having = {word: sum(word in spoken for spoken in read) for word in asked}
    return {word: math.log(1 + (count - d + 0.5) / (d + 0.5)) for word, d in having.items()}


def share(rarity: Mapping[str, float], spoken: frozenset[str]) -> float:
    """Share of the weight of the asked words that `spoken` has; 0 when the question has no content word."""
    total = sum(rarity.values())
    return sum(weight for word, weight in rarity.items() if word in spoken) / total if total else 0.0


def _agreement(hits: Sequence[Hit]) -> float | None:
    by_vector = [hit for hit in hits if hit.scores.dense is not None]
    by_term = [hit.scores.sparse for hit in hits if hit.scores.sparse is not None]
    if not by_vector or not by_term:
        return None
    first = max(by_vector, key=lambda hit: hit.scores.dense or 0.0)
    if first.scores.sparse is None:
        return 1.0 / (2 + len(by_term))
    return 1.0 / (1 + sum(score > first.scores.sparse for score in by_term))
