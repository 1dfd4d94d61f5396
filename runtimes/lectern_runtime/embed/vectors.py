"""Embeds what a batch of documents needs, each text once, in calls of the size that the model likes.

The worker's second stage. A batch that fails for one text's sake is halved until the document is found that the text
belongs to, so that the others are not lost with it and few calls are made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lectern_contract.errors import DependencyError, DocumentError
from lectern_runtime.embed.prepare import Failpoint, Fault, Plan, unexpected
from lectern_runtime.embed.retry import Retry
from lectern_runtime.embed.vector_cache import VectorCache
from lectern_runtime.errors import EmbedderFailed
from lectern_runtime.ports import Embedder, EmbedderInfo
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Text:
    digest: str
    text: str
    tokens: int


_HARMLESS = _Text("", "word", 1)


@dataclass(frozen=True, slots=True)
class Vectorizer:
    """What embedding needs of the worker; `info` holds the limits of one call."""

    embedder: Embedder
    info: EmbedderInfo
    cache: VectorCache
    retry: Retry
    metrics: WorkerMetrics
    failpoint: Failpoint

    async def embed(self, plans: Sequence[Plan]) -> tuple[list[Plan], dict[str, Vector]]:
        """The plans, some of them now with a fault, and a vector for the digest of every text that is not known."""
        if not any(_missing(plan) for plan in plans):
            return list(plans), {}
        plans = await self._recalled(plans)
        vectors: dict[str, Vector] = {}
        self.failpoint("embed")
        judged = await self._judged(plans, vectors, self.retry)
        await self.cache.put(vectors)
        return judged, vectors

    async def _recalled(self, plans: Sequence[Plan]) -> list[Plan]:
        """The plans with the vectors that the cache has among those that they know."""
        wanted = list(dict.fromkeys(each.digest for plan in plans for each in _missing(plan)))
        kept = await self.cache.get(wanted)
        if not kept:
            return list(plans)
        return [
            replace(plan, known={**plan.known, **{each: kept[each] for each in plan.digests if each in kept}})
            for plan in plans
        ]

    async def _judged(self, plans: Sequence[Plan], vectors: dict[str, Vector], retry: Retry) -> list[Plan]:
        """The plans, those with a fault that cannot be embedded; adds to `vectors` what the others need."""
        missing = {each.digest: each for plan in plans for each in _missing(plan) if each.digest not in vectors}
        try:
            vectors |= await self._call_all(list(missing.values()), retry)
        except (DocumentError, DependencyError):
            if len(plans) == 1:
                return [await self._alone(plans[0], vectors)]
            middle, once = len(plans) // 2, replace(self.retry, max_attempts=1)
            first = await self._judged(plans[:middle], vectors, once)
            return first + await self._judged(plans[middle:], vectors, once)
        return list(plans)

    async def _alone(self, plan: Plan, vectors: dict[str, Vector]) -> Plan:
        """The plan of the only document that fails, with a fault unless it can be embedded after all."""
        missing = [each for each in _missing(plan) if each.digest not in vectors]
        try:
            vectors |= await self._insisted(missing)
        except DocumentError as error:
            return replace(plan, fault=Fault("embed", error.reason, str(error)))
        except DependencyError as error:
            return replace(plan, fault=Fault("embed", "DependencyFailed", str(error), self.retry.max_attempts))
        return plan

    async def _insisted(self, texts: list[_Text]) -> dict[str, Vector]:
        """Vectors of one document. Raises `DependencyError` only when the model answers others and not this one.

        While it does not answer a harmless word either, it is away, which is no text's fault, and is waited for.
        """
        once = replace(self.retry, max_attempts=1)
        attempt = 1
        while True:
            try:
                return await self._call_all(texts, once)
            except DependencyError as error:
                if attempt >= self.retry.max_attempts:
                    raise
                await self.retry.sleep(self.retry.delay(attempt, error.retry_after_seconds))
                await self.retry.call(partial(self._call, [_HARMLESS]), forever=True)
            attempt += 1

    async def _call_all(self, texts: list[_Text], retry: Retry) -> dict[str, Vector]:
        found: dict[str, Vector] = {}
        for call in self._calls(texts):
            with self.metrics.stage("embed"):
                vectors = await retry.call(partial(self._call, call))
            found.update(zip((each.digest for each in call), vectors, strict=True))
            self.metrics.embedded_tokens.inc(sum(each.tokens for each in call))
        return found

    async def _call(self, call: Sequence[_Text]) -> NDArray[np.float32]:
        try:
            vectors = await self.embedder.embed([each.text for each in call])
        except (DocumentError, DependencyError):
            raise
        except Exception as error:
            fault = unexpected("embed", error)
            raise DocumentError(fault.detail, stage=fault.stage, reason=fault.reason) from error
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True) if vectors.ndim == 2 else np.zeros(1)
        usable = vectors.shape == (len(call), self.info.dimensions) and bool(np.isfinite(lengths).all())
        if not usable or not lengths.all():
            raise EmbedderFailed(
                f"{self.info.model} answered {len(call)} texts with vectors of shape {vectors.shape}, or some that "
                "are zero or not finite; check the model server",
                dependency="embedder",
            )
        return np.asarray(vectors / lengths, np.float32)

    def _calls(self, texts: list[_Text]) -> list[list[_Text]]:
        """Calls within the model's limits, of texts of similar length, so that little is padded."""
        calls: list[list[_Text]] = []
        tokens = 0
        for each in sorted(texts, key=lambda text: text.tokens, reverse=True):
            full = calls and (
                len(calls[-1]) >= self.info.max_batch_size or tokens + each.tokens > self.info.max_batch_tokens
            )
            if not calls or full:
                calls.append([])
                tokens = 0
            calls[-1].append(each)
            tokens += each.tokens
        return calls


def _missing(plan: Plan) -> list[_Text]:
    if plan.settled or plan.fault is not None:
        return []
    return [
        _Text(digest, chunk.embedded, chunk.embedded_tokens)
        for digest, chunk in zip(plan.digests, plan.chunks, strict=True)
        if digest not in plan.known
    ]
