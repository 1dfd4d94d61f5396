"""Reciprocal rank fusion of rankings from several shards; over one shard the engine fuses by itself.

`reads` calls it with one ranking of ids a prefetch.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

from qdrant_client.http import models

from e2e.testbed.qdrant_double.queries import DEFAULT_RRF_K
from e2e.testbed.qdrant_double.refusals import unsupported

Id = TypeVar("Id", bound=Hashable)


def reciprocal_rank(rankings: Sequence[Sequence[Id]], query: Any) -> dict[Id, float]:
    """The score of each id; raises Refused (501) for a fusion by something else than ranks.

    The engine's formula: 1 / ((rank + 1) / weight + k - 1) with ranks from 0, so that a weight stretches the ranks.
    """
    match query:
        case models.RrfQuery(rrf=rrf):
            k, weights = DEFAULT_RRF_K if rrf.k is None else rrf.k, rrf.weights
        case models.FusionQuery(fusion=models.Fusion.RRF):
            k, weights = DEFAULT_RRF_K, None
        case _:
            raise unsupported("a fusion other than RRF over several shards")
    scores: dict[Id, float] = {}
    for ranking, weight in zip(rankings, weights or [1.0] * len(rankings), strict=True):
        for rank, id_ in enumerate(ranking):
            score = 1 / ((rank + 1) / weight + k - 1) if weight > 0 else 0.0
            scores[id_] = scores.get(id_, 0.0) + score
    return scores
