"""Embeds what a batch of documents needs, each text once, in calls of the size that the model likes.

The worker's second stage. A batch that fails for one text's sake is halved until the document is found that the text
belongs to, so that the others are not lost with it and few calls are made again. Whether it is one text's sake is told
by a harmless call: while that fails as well, the model is away, which is no text's fault, and is waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lectern_contract.errors import DependencyError, DocumentError
from lectern_runtime.embed.attempts import Attempts
from lectern_runtime.embed.prepare import Again, Fault, Plan, unexpected
from lectern_runtime.embed.vector_cache import VectorCache
from lectern_runtime.errors import EmbedderFailed
from lectern_runtime.failpoints import Failpoint
from lectern_runtime.ports import Embedder, EmbedderInfo
from lectern_runtime.telemetry import genai
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Text:
    digest: str
    text: str
    tokens: int


_HARMLESS = _Text("", "word", 1)
_SPECIAL_TOKENS = 2


@dataclass(frozen=True, slots=True)
class Vectorizer:
    """What embedding needs of the worker; `info` holds the limits of one call."""

    embedder: Embedder
    info: EmbedderInfo
    cache: VectorCache
    attempts: Attempts
    metrics: WorkerMetrics
    failpoint: Failpoint

    async def embed(self, plans: Sequence[Plan]) -> tuple[list[Plan], dict[str, Vector]]:
        """The plans, some now with a fault or to come again, and a vector for the digest of every text not known."""
        if not any(_missing(plan) for plan in plans):
            return list(plans), {}
        plans = await self._recalled(plans)
        vectors: dict[str, Vector] = {}
        judged = await self._judged(plans, vectors)
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

    async def _judged(self, plans: Sequence[Plan], vectors: dict[str, Vector]) -> list[Plan]:
        """The plans, those marked that cannot be embedded; adds to `vectors` what the others need."""
        missing = {each.digest: each for plan in plans for each in _missing(plan) if each.digest not in vectors}
        try:
            await self._call_all(list(missing.values()), vectors, alone=len(plans) == 1)
        except (DocumentError, DependencyError) as error:
            if len(plans) == 1:
                return [_marked(plans[0], error)]
            middle = len(plans) // 2
            first = await self._judged(plans[:middle], vectors)
            return first + await self._judged(plans[middle:], vectors)
        return list(plans)

    async def _call_all(self, texts: list[_Text], vectors: dict[str, Vector], *, alone: bool) -> None:
        for call in self._calls(texts):
            # The texts of a document that is alone have to stand against a call of their own weight: a model may be
            # too busy for them and still have time for a word.
            harmless = [_like(each) for each in call] if alone else [_HARMLESS]
            tokens = sum(each.tokens for each in call)
            with self.metrics.stage("embed"), genai.embeddings(self.info.model, texts=len(call)) as span:
                found = await self.attempts.judged(partial(self._call, call), partial(self._call, harmless))
                span.note(genai.used(input_tokens=tokens))
            vectors.update(zip((each.digest for each in call), found, strict=True))
            self.metrics.embedded_tokens.inc(tokens)

    async def _call(self, call: Sequence[_Text]) -> NDArray[np.float32]:
        self.failpoint("embed")
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


def _marked(plan: Plan, error: DocumentError | DependencyError) -> Plan:
    if isinstance(error, DocumentError):
        return replace(plan, fault=Fault("embed", error.reason, str(error)))
    return replace(plan, again=Again.after("embed", error))


def _like(text: _Text) -> _Text:
    """A text of about as many tokens that nobody can object to."""
    return _Text("", " ".join(["word"] * max(1, text.tokens - _SPECIAL_TOKENS)), text.tokens)


def _missing(plan: Plan) -> list[_Text]:
    if plan.settled or plan.fault is not None or plan.again is not None:
        return []
    return [
        _Text(digest, chunk.embedded, chunk.embedded_tokens)
        for digest, chunk in zip(plan.digests, plan.chunks, strict=True)
        if digest not in plan.known
    ]
