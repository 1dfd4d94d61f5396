"""Scores rankings against relevance judgements: nDCG@k, recall@k and hit@k.

Evaluation jobs and benchmarks hand in, per question, the ids that were retrieved (best first) and the ids that are
relevant; they get the means back. Everything here is pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Ranking = Sequence[str]
"""Ids, best first, each at most once."""

Judgements = Mapping[str, int]
"""Relevance by id: 0 is not relevant, higher is better; ids that are absent count as 0."""


@dataclass(frozen=True, slots=True)
class Mean:
    """Mean over questions and its standard error (sample deviation / sqrt(n)); the error is 0 for one question."""

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class RetrievalScores:
    """Means over `questions` at cut-off `k`, each between 0 and 1."""

    questions: int
    k: int
    ndcg: Mean
    recall: Mean
    hit: Mean


def score(rankings: Mapping[str, Ranking], judgements: Mapping[str, Judgements], k: int) -> RetrievalScores:
    """Return the mean scores over all questions of `judgements`; a question without a ranking retrieved nothing.

    Raises ValueError when there is no question, or one has no relevant id (leave unanswerable ones out).
    """
    pairs = [(rankings.get(question, ()), judged) for question, judged in judgements.items()]
    if not pairs:
        raise ValueError("no question is judged, so there is no mean; hand in at least one question")
    return RetrievalScores(
        questions=len(pairs),
        k=k,
        ndcg=mean(ndcg_at(ranking, judged, k) for ranking, judged in pairs),
        recall=mean(recall_at(ranking, judged, k) for ranking, judged in pairs),
        hit=mean(hit_at(ranking, judged, k) for ranking, judged in pairs),
    )


def ndcg_at(ranking: Ranking, judgements: Judgements, k: int) -> float:
    """Return the discounted cumulative gain of the first k over that of the best possible order.

    Discount 1 / log2(rank + 1) as in Järvelin & Kekäläinen (2002), Cumulated Gain-Based Evaluation of IR Techniques;
    gain 2^relevance - 1 as in Burges et al. (2005), Learning to Rank using Gradient Descent.
    """
    _check(ranking, judgements, k)
    ideal = sorted(judgements.values(), reverse=True)
    return _discounted_gain([judgements.get(found, 0) for found in ranking[:k]]) / _discounted_gain(ideal[:k])


def recall_at(ranking: Ranking, judgements: Judgements, k: int) -> float:
    """Return the share of all relevant ids that are among the first k."""
    _check(ranking, judgements, k)
    relevant = _relevant(judgements)
    return len(relevant.intersection(ranking[:k])) / len(relevant)


def hit_at(ranking: Ranking, judgements: Judgements, k: int) -> float:
    """Return 1 when at least one relevant id is among the first k, else 0."""
    _check(ranking, judgements, k)
    return 0.0 if _relevant(judgements).isdisjoint(ranking[:k]) else 1.0


def mean(values: Iterable[float]) -> Mean:
    """Return the mean of at least one value with its standard error."""
    known = list(values)
    centre = math.fsum(known) / len(known)
    if len(known) == 1:
        return Mean(centre, 0.0)
    variance = math.fsum((value - centre) ** 2 for value in known) / (len(known) - 1)
    return Mean(centre, math.sqrt(variance / len(known)))


def _discounted_gain(relevances: Sequence[int]) -> float:
    return math.fsum((2**relevance - 1) / math.log2(rank + 1) for rank, relevance in enumerate(relevances, start=1))


def _relevant(judgements: Judgements) -> set[str]:
    return {found for found, relevance in judgements.items() if relevance > 0}


def _check(ranking: Ranking, judgements: Judgements, k: int) -> None:
    if k < 1:
        raise ValueError(f"cut-off k is {k}; it counts ranks from 1")
    if not _relevant(judgements):
        raise ValueError("no id is relevant, so recall and nDCG are undefined; leave unanswerable questions out")
    if len(set(ranking)) != len(ranking):
        raise ValueError("an id is ranked twice and would count twice; keep its first rank only")
