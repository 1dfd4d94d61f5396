"""Vectors of texts that some document had before: looked up before the model is asked, tier by tier.

The vectorizer's. Texts that a document itself had before are known from the store; this is for texts that several
documents share and for an index that is built anew. A tier that is away is passed over: the model computes instead.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lectern_contract.errors import DependencyError
from lectern_contract.settings import EmbedderSettings
from lectern_runtime.ports import EmbeddingCache
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics

Vectors = Mapping[str, NDArray[np.float32]]
logger = logging.getLogger("lectern.worker")


def model_digest(settings: EmbedderSettings) -> str:
    """Return a digest of all that decides, beside the text, which vector it gets; prefixes are part of the text."""
    parts = [settings.model, settings.revision, settings.dimensions, settings.max_input_tokens]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class VectorCache:
    """The tiers in the order in which they are asked; what a later one has is given to the earlier ones."""

    model: str
    tiers: Sequence[EmbeddingCache]
    metrics: WorkerMetrics

    async def get(self, digests: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the vectors that some tier has, by the digest of their text."""
        found: dict[str, NDArray[np.float32]] = {}
        for number, tier in enumerate(self.tiers):
            missing = [each for each in digests if each not in found]
            if not missing:
                break
            try:
                hits = await tier.get([self._key(each) for each in missing])
            except DependencyError as error:
                self._passed_over(tier, error)
                continue
            new = {each: hits[key] for each in missing if (key := self._key(each)) in hits}
            self.metrics.cache.hits.labels(tier=tier.tier).inc(len(new))
            await self._put(self.tiers[:number], new)
            found |= new
        if self.tiers:
            self.metrics.cache.misses.inc(len(digests) - len(found))
        return found

    async def put(self, vectors: Vectors) -> None:
        """Keep vectors that the model has given."""
        await self._put(self.tiers, vectors)

    async def _put(self, tiers: Sequence[EmbeddingCache], vectors: Vectors) -> None:
        if not vectors:
            return
        keyed = {self._key(digest): vector for digest, vector in vectors.items()}
        for tier in tiers:
            try:
                await tier.put(keyed)
            except DependencyError as error:
                self._passed_over(tier, error)

    def _key(self, digest: str) -> str:
        return f"{self.model}:{digest}"

    def _passed_over(self, tier: EmbeddingCache, error: DependencyError) -> None:
        self.metrics.cache.errors.labels(tier=tier.tier).inc()
        logger.debug("the embedding cache is passed over: %s", error)
