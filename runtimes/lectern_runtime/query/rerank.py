"""Asks the reranker for the order of passages, within its deadline; who is late, away or broken is done without.

The retriever calls `Reranking.scores` after fusion. The order changes, the support does not: `support` is calibrated on
what the searches found, and a question is neither answered nor refused because a reranker is away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_contract.query_settings import RerankerSettings
from lectern_contract.settings import QuerySettings
from lectern_runtime.ports import Hit, Reranker
from lectern_runtime.query.services import Services
from lectern_runtime.query.timing import Stopwatch
from lectern_runtime.telemetry import genai

LATE = "not_reranked:late"
FAILED = "not_reranked:failed"
_logger = logging.getLogger(__name__)


class NotReranked(Exception):
    """The order of the searches has to do; `degradation` is what the answer says of it."""

    def __init__(self, degradation: str) -> None:
        super().__init__(degradation)
        self.degradation = degradation


class Reranking:
    """The reranker of one endpoint with its bounds."""

    def __init__(self, settings: RerankerSettings, reranker: Reranker) -> None:
        self.candidates = settings.candidates
        self._settings = settings
        self._reranker = reranker

    async def scores(self, question: str, hits: Sequence[Hit], watch: Stopwatch) -> Sequence[float]:
        """Return one score from 0 to 1 for each of `hits`; raises `NotReranked` at the deadline at the latest."""
        seconds = self._settings.deadline_milliseconds / 1000
        with watch.stage("rerank") as stage:
            try:
                with genai.rerank(self._settings.model, passages=len(hits)):
                    async with asyncio.timeout(seconds):
                        scores = await self._reranker.scores(question, [text_of(hit) for hit in hits])
            except TimeoutError:
                stage.note({"lectern.degraded": LATE})
                raise NotReranked(LATE) from None
            except DependencyError as error:
                _logger.warning("%s; the order of the searches stands", error)
                stage.note({"lectern.degraded": FAILED})
                raise NotReranked(FAILED) from error
            return scores


def reranking(settings: QuerySettings, services: Services) -> Reranking | None:
    """Return the reranking that the settings ask for; raises `ConfigurationError` when none was opened for them."""
    if settings.reranker is None:
        return None
    if services.reranker is None:
        raise ConfigurationError(
            f"RagEndpoint/{settings.name}: spec.reranker is set and no reranker was opened; "
            "open it with compose.open_reranker, or leave it out of the settings"
        )
    return Reranking(settings.reranker, services.reranker)


def text_of(hit: Hit) -> str:
    """What the reranker reads of a passage: its title, and its text below."""
    payload = hit.payload
    return f"{payload.title}\n{payload.text}" if payload.title else payload.text
