"""Fuses the dense and the sparse list of a search into one order that is the same in every run.

The vector stores call it with two lists that are already sorted; it stands between retrieval and payloads.
"""

from __future__ import annotations

from collections.abc import Sequence

from lectern_runtime.ports import Scores

Ranked = Sequence[tuple[str, float]]
"""Ids with their scores, best first, equal scores by id."""


def fuse(dense: Ranked, sparse: Ranked, *, k: int, sparse_weight: float) -> list[tuple[str, Scores]]:
    """Reciprocal rank fusion (Cormack et al. 2009) in the form of Qdrant's engine, best first, ties by id.

    Rank r from 0 in a list of weight w gives 1 / ((r + 1) / w + k - 1); the dense list has weight 1.
    """
    dense_scores, sparse_scores = dict(dense), dict(sparse)
    fused: dict[str, float] = {}
    for ranked, weight in ((dense, 1.0), (sparse, sparse_weight)):
        for rank, (id_, _) in enumerate(ranked):
            fused[id_] = fused.get(id_, 0.0) + 1.0 / ((rank + 1) / weight + k - 1)
    order = sorted(fused, key=lambda id_: (-fused[id_], id_))
    return [
        (id_, Scores(dense=dense_scores.get(id_), sparse=sparse_scores.get(id_), fused=fused[id_])) for id_ in order
    ]
