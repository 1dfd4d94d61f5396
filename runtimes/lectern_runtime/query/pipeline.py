"""The life of a question: scope, cache, retrieval, support, passages, generator, citations, cache.

Routes call `Pipeline.answer` or `.retrieve` with a principal from `principals.py`. Deadline, concurrency and HTTP are
theirs; everything here is a step that can be read in order.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from lectern_contract.cachekey import AnswerKeyParts, answer_key
from lectern_contract.ids import DocumentId
from lectern_contract.scope import FilterValue, Principal, Scope
from lectern_contract.settings import QuerySettings
from lectern_runtime.ports import AnswerPiece, GenerationRequest
from lectern_runtime.query import passages, principals, support
from lectern_runtime.query.cache import ExactCache, Outcome
from lectern_runtime.query.citations import CitationCheck
from lectern_runtime.query.flights import Flights
from lectern_runtime.query.retrieve import Retrieved, Retriever
from lectern_runtime.query.schema import AnswerBody, CacheTier, PieceBody
from lectern_runtime.query.services import Services
from lectern_runtime.query.timing import Stopwatch
from lectern_runtime.telemetry import genai
from lectern_runtime.telemetry.query_metrics import QueryMetrics
from lectern_runtime.terms import Terms

REFUSAL = "The documents that I may read do not answer this question."
PROMPT_VERSION = "extractive-1"
MAX_ANSWER_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as a route read it; `max_tokens` bounds the answer."""

    question: str
    top_k: int
    filters: Mapping[str, tuple[FilterValue, ...]]
    max_tokens: int = MAX_ANSWER_TOKENS


Event = PieceBody | Outcome


class Pipeline:
    """Answers the questions of one endpoint."""

    def __init__(self, settings: QuerySettings, services: Services, metrics: QueryMetrics) -> None:
        self._settings = settings
        self._services = services
        self._metrics = metrics
        self._retriever = Retriever(settings, services)
        self._terms = _terms(settings)
        self._flights: Flights[Event] = Flights()
        self.cache = _exact_cache(settings, services)

    async def retrieve(self, asked: Asked, principal: Principal, watch: Stopwatch) -> Retrieved:
        """The best passages that `principal` may see, without judging them."""
        scopes = principals.reader_scopes(principal, self._settings, asked.filters)
        with watch.stage("resolve"):
            collections = await self._retriever.resolve(scopes)
        found = await self._retriever.retrieve(asked.question, scopes, collections, top_k=asked.top_k, watch=watch)
        self._metrics.stages(watch.stages())
        return found

    async def answer(self, asked: Asked, principal: Principal, watch: Stopwatch) -> AsyncGenerator[Event, None]:
        """Pieces of the answer as they come, then its outcome."""
        scopes = principals.reader_scopes(principal, self._settings, asked.filters)
        with watch.stage("resolve"):
            collections = await self._retriever.resolve(scopes)
        key = self._key(asked, scopes, collections)
        if (kept := await self._kept(key, watch)) is not None:
            yield PieceBody(text=kept.body.answer, citations=kept.body.citations)
            yield _stamped(kept, cache="exact", watch=watch)
            return

        def start() -> AsyncGenerator[Event, None]:
            return self._run(asked, scopes, collections, key, watch)

        # Who asks after a document changed must not be given what was retrieved before.
        since = await self.cache.mark() if self.cache is not None else None
        async with aclosing(self._flights.join(f"{key}/{since}", start)) as events:
            async for event, shared in events:
                if isinstance(event, PieceBody):
                    yield event
                else:
                    yield _stamped(event, cache="shared" if shared else event.body.cache, watch=watch)

    async def _kept(self, key: str, watch: Stopwatch) -> Outcome | None:
        if self.cache is None:
            return None
        with watch.stage("cache") as span:
            kept = await self.cache.get(key)
            span.note({"lectern.cache.hit": kept is not None, "lectern.cache.tier": "exact"})
        if kept is None:
            self._metrics.cache_misses.inc()
        else:
            self._metrics.cache_hits.labels(tier="exact").inc()
        return kept

    async def _run(
        self,
        asked: Asked,
        scopes: Mapping[str, Scope],
        collections: Mapping[str, str],
        key: str,
        watch: Stopwatch,
    ) -> AsyncGenerator[Event, None]:
        since = await self.cache.mark() if self.cache is not None else None
        found = await self._retriever.retrieve(asked.question, scopes, collections, top_k=asked.top_k, watch=watch)
        with watch.stage("judge"):
            confidence = self._confidence(asked.question, found)
            context = passages.chosen(
                found.fused, top_k=asked.top_k, token_budget=self._settings.retrieval.context_token_budget
            )
        check = CitationCheck(context)
        said: list[str] = []
        if context.passages and confidence >= self._settings.retrieval.min_score:
            with watch.stage("generate"):
                async with aclosing(self._generated(asked, context)) as pieces:
                    async for piece in pieces:
                        text, citations = check.check(piece)
                        said.append(text)
                        yield PieceBody(text=text, citations=citations)
        citations = check.citations()
        body = AnswerBody(
            answer="".join(said) if citations else REFUSAL,
            citations=citations,
            refused=not citations,
            confidence=round(confidence, 4),
            degraded=bool(found.degradations),
            degradations=list(found.degradations),
            cache="off" if self.cache is None else "miss",
            timings=watch.timings(),
        )
        self._metrics.stages(watch.stages())
        outcome = Outcome(body=body, passage_tokens=_tokens(context) if said else 0)
        if self.cache is not None:
            await self.cache.put(key, outcome, _documents(context), since=since)
        yield outcome

    async def _generated(self, asked: Asked, context: passages.Context) -> AsyncGenerator[AnswerPiece, None]:
        generator = self._services.generator
        request = GenerationRequest(asked.question, context.passages, asked.max_tokens)
        with genai.chat(generator.model, max_tokens=asked.max_tokens, passages=len(context.passages)):
            async with aclosing(_closable(generator.generate(request))) as pieces:
                async for piece in pieces:
                    yield piece

    def _confidence(self, question: str, found: Retrieved) -> float:
        """The best support that one of the knowledge bases gives; 0 when nothing was found."""
        return max(
            (
                support.support(support.evidence(question, [each.hit for each in hits], self._terms[name]))
                for name, hits in found.by_knowledge_base.items()
                if hits
            ),
            default=0.0,
        )

    def _key(self, asked: Asked, scopes: Mapping[str, Scope], collections: Mapping[str, str]) -> str:
        epoch = self.cache.revision if self.cache is not None else ""
        parts = AnswerKeyParts(
            endpoint_revision=f"{self._services.config_hash}/{self._services.version}/{epoch}",
            scope_digests={name: scope.digest() for name, scope in scopes.items()},
            collections=collections,
            model=self._services.generator.model,
            prompt_version=f"{PROMPT_VERSION}/{asked.max_tokens}",
            top_k=asked.top_k,
        )
        return answer_key(parts, asked.question)


async def _closable(pieces: AsyncIterator[AnswerPiece]) -> AsyncGenerator[AnswerPiece, None]:
    """The pieces of any iterator as a generator, which can be closed early."""
    try:
        async for piece in pieces:
            yield piece
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


def _stamped(outcome: Outcome, *, cache: CacheTier, watch: Stopwatch) -> Outcome:
    """The outcome for one caller: their own total beside the stages of whoever did the work."""
    stages = {} if cache == "exact" else outcome.body.timings
    timings = {**stages, **watch.timings()}
    return outcome.model_copy(update={"body": outcome.body.model_copy(update={"cache": cache, "timings": timings})})


def _documents(context: passages.Context) -> frozenset[DocumentId]:
    """Every document that the generator was shown: a change of any of them may change the answer."""
    return frozenset(found.hit.payload.document_id for found in context.sources.values())


def _tokens(context: passages.Context) -> int:
    return sum(found.hit.payload.tokens for found in context.sources.values())


def _terms(settings: QuerySettings) -> dict[str, Terms]:
    """How each knowledge base's words are read; one object for each language."""
    languages = {kb.name: kb.sparse_language for kb in settings.knowledge_bases}
    by_language = {language: Terms(language) for language in set(languages.values())}
    return {name: by_language[language] for name, language in languages.items()}


def _exact_cache(settings: QuerySettings, services: Services) -> ExactCache | None:
    """The exact layer, where one is asked for and somebody tells which documents change."""
    if settings.cache.exact is None or services.cache is None or services.log is None:
        return None
    topics = [kb.events_topic for kb in settings.knowledge_bases]
    return ExactCache(services.cache, services.log, topics, ttl_seconds=settings.cache.exact.ttl_seconds)
