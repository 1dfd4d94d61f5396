"""Measures how well passages are found: nDCG@10 of the three kinds of search on wiki-a, with the shipped defaults.

The questions go the way of the query runtime: its embedder, its term encoder, its search request, the embedded store.
Only HTTP, the answer cache and the answer are left out. `bench.skeleton` reports the result.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench import resources, wiki_index
from bench.data import RetrievalSet
from bench.report import Aim, Goal
from lectern_contract import query_wiring, wiring
from lectern_contract.ids import ChunkId
from lectern_contract.query_settings import RetrievalSettings
from lectern_contract.scope import Scope
from lectern_contract.settings import WorkerSettings
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.evaluate import retrieval
from lectern_runtime.evaluate.retrieval import RetrievalScores
from lectern_runtime.ports import CollectionSpec, Embedder, Vectors, VectorStore
from lectern_runtime.query.retrieve import search_request
from lectern_runtime.sparse import SparseEncoder

Mode = Literal["Hybrid", "Dense", "Sparse"]
DEPTH = 10
AIM_OF: Mapping[Mode, Aim] = {
    "Sparse": Aim("quality-bm25", f"wiki-a nDCG@{DEPTH}, BM25", ">=", 0.86),
    "Dense": Aim("quality-dense", f"wiki-a nDCG@{DEPTH}, dense", ">=", 0.735),
    "Hybrid": Aim("quality-hybrid", f"wiki-a nDCG@{DEPTH}, hybrid", ">=", 0.87),
}
AIMS = tuple(AIM_OF.values())


@dataclass(frozen=True)
class Quality:
    """Scores of the three kinds of search, and the settings that they were reached with."""

    scores: Mapping[Mode, RetrievalScores]
    settings: RetrievalSettings
    passages: int

    def goals(self, seed: int | None) -> list[Goal]:
        """Return one goal for each kind of search; the floor of the fused one is the better of the two others."""
        best = max(self.scores["Sparse"].ndcg.value, self.scores["Dense"].ndcg.value)
        return [self._goal(mode, best if mode == "Hybrid" else None, seed) for mode in AIM_OF]

    def _goal(self, mode: Mode, floor: float | None, seed: int | None) -> Goal:
        score = self.scores[mode]
        return AIM_OF[mode].measured(
            score.ndcg.value,
            floor=floor,
            ratio=score.ndcg.value / floor if floor else None,
            n=score.questions,
            seed=seed,
            reason=f"standard error {score.ndcg.standard_error:.3f}; recall@{DEPTH} {score.recall.value:.3f} "
            f"over {self.passages} passages",
        )

    def told(self) -> dict[str, object]:
        """Return the settings of the search, for the report."""
        shipped = self.settings
        return {
            "search": f"candidates {shipped.candidates}, rrfK {shipped.rrf_k}, sparseWeight {shipped.sparse_weight} "
            "(defaults of RagEndpoint)",
        }


async def measure(corpus: RetrievalSet, vectors: Vectors, embedder: Embedder) -> Quality:
    """Return the scores over all questions of `corpus`; `vectors` are its paragraphs', in their order."""
    kb = resources.knowledge_base()
    settings = query_wiring.query_settings(resources.endpoint(), {kb.name: kb}).retrieval
    worker = wiring.worker_settings(kb, generation=1)
    assert worker.sparse_language is not None, "the shipped default has a term index"
    encoder = SparseEncoder(worker.sparse_language)
    with tempfile.TemporaryDirectory(prefix="lectern-bench-") as directory:
        store = await EdgeStore.open(Path(directory) / "store")
        try:
            await store.ensure_collection(spec_of(worker))
            paragraph_of = await wiki_index.fill(store, resources.NAME, corpus.paragraphs, vectors, encoder)
            asked = np.concatenate([await embedder.embed([text]) for text in corpus.questions.values()])
            scores = {
                mode: await _scores(
                    corpus, store, settings.model_copy(update={"mode": mode}), asked, encoder, paragraph_of
                )
                for mode in AIM_OF
            }
        finally:
            await store.close()
    return Quality(scores, settings, len(corpus.paragraphs))


def spec_of(worker: WorkerSettings) -> CollectionSpec:
    """Return the collection that a worker with these settings would make, under the benchmarks' name."""
    return CollectionSpec(
        name=resources.NAME,
        dimensions=worker.embedder.dimensions,
        sparse=worker.sparse_language is not None,
        identity=worker.index_identity,
    )


async def _scores(
    corpus: RetrievalSet,
    store: VectorStore,
    settings: RetrievalSettings,
    asked: Vectors,
    encoder: SparseEncoder,
    paragraph_of: Mapping[ChunkId, str],
) -> RetrievalScores:
    scope = Scope.of_writer(resources.PARTITION)  # reads what the only reader may read
    rankings: dict[str, list[str]] = {}
    for (question, text), dense in zip(corpus.questions.items(), asked, strict=True):
        request = search_request(settings, dense, encoder.query(text), DEPTH)
        hits = [] if request is None else await store.search(resources.NAME, scope, request)
        rankings[question] = [paragraph_of[hit.id] for hit in hits[:DEPTH]]
    return retrieval.score(rankings, corpus.judgements, DEPTH)
