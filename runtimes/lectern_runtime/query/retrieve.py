"""Turns a question into the best passages that its reader may see: embed, search each knowledge base, fuse, rerank.

The pipeline and the retrieve route call it with scopes from `principals.py`; nothing here makes one. Knowledge bases
are searched in parallel, each in the collection that its alias stood for when the request began.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_contract.query_settings import RetrievalSettings
from lectern_contract.scope import Scope
from lectern_contract.settings import QuerySettings, SearchedKnowledgeBase
from lectern_runtime.errors import CollectionUnknown, InputTooLong
from lectern_runtime.http.problems import Refused
from lectern_runtime.ports import Embedder, Hit, SearchRequest, SparseVector
from lectern_runtime.query.problems import Problem
from lectern_runtime.query.rerank import NotReranked, reranking
from lectern_runtime.query.services import Services
from lectern_runtime.query.timing import Stopwatch
from lectern_runtime.sparse import SparseEncoder
from lectern_runtime.telemetry import genai

Dense = NDArray[np.float32]

QUESTION_CUT = "question_cut_for_embedding"
_GENERATION = re.compile(r"\.g([0-9]{1,9})$")
_SPECIAL_TOKENS = 8  # more than any embedding model in use adds around a text


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk with where it was found."""

    hit: Hit
    knowledge_base: str
    collection: str

    @property
    def generation(self) -> int | None:
        """Number of the index generation, as `lectern_contract.names.collection` writes it."""
        match = _GENERATION.search(self.collection)
        return int(match.group(1)) if match else None


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What was found, by knowledge base and over all, best first, and what had to be left out.

    `fused` is in the order of the reranker where there is one. Each list of `by_knowledge_base` is in the order of its
    searches and as long as without a reranker: support is calibrated on that.
    """

    by_knowledge_base: Mapping[str, tuple[Found, ...]]
    fused: tuple[Found, ...]
    degradations: tuple[str, ...]


class Retriever:
    """Searches the knowledge bases of one endpoint."""

    def __init__(self, settings: QuerySettings, services: Services) -> None:
        self._settings = settings.retrieval
        self._bases = {kb.name: kb for kb in settings.knowledge_bases}
        self._services = services
        self._encoders = _encoders(settings)
        self._reranking = reranking(settings, services)

    async def resolve(self, scopes: Mapping[str, Scope]) -> Mapping[str, str]:
        """Collection behind each knowledge base's alias; those that have none yet are left out."""
        names = list(scopes)
        found = await asyncio.gather(
            *(self._services.stores[name].resolve_alias(self._bases[name].alias) for name in names)
        )
        return {name: collection for name, collection in zip(names, found, strict=True) if collection is not None}

    async def retrieve(
        self,
        question: str,
        scopes: Mapping[str, Scope],
        collections: Mapping[str, str],
        *,
        top_k: int,
        watch: Stopwatch,
    ) -> Retrieved:
        """Best chunks for `question`, at least `top_k` where there are as many.

        Raises `Refused` when no knowledge base has an index, `DependencyError` when none could be searched.
        """
        if not collections:
            raise Refused(Problem.INDEX_NOT_READY, "No knowledge base behind this endpoint has an index yet.")
        left_out = [f"no_index:{name}" for name in scopes if name not in collections]
        with watch.stage("embed"):
            vectors, cut = await self._embedded(question, collections)
        with watch.stage("retrieve"):
            results = await asyncio.gather(
                *(
                    self._search(self._bases[name], scopes[name], collection, question, vectors.get(name), top_k)
                    for name, collection in collections.items()
                ),
                return_exceptions=True,
            )
        found, failed = _sorted_out(list(collections), results)
        fused, unranked = await self._reranked(question, self._fused(found), watch)
        judged = search_limit(self._settings, top_k)
        return Retrieved(
            by_knowledge_base={name: hits[:judged] for name, hits in found.items()},
            fused=fused,
            degradations=(*left_out, *failed, *((QUESTION_CUT,) if cut else ()), *unranked),
        )

    async def _reranked(
        self, question: str, fused: tuple[Found, ...], watch: Stopwatch
    ) -> tuple[tuple[Found, ...], tuple[str, ...]]:
        """The first candidates in the reranker's order, the others behind them, and what had to be left out."""
        if self._reranking is None or not fused:
            return fused, ()
        candidates, others = fused[: self._reranking.candidates], fused[self._reranking.candidates :]
        try:
            scores = await self._reranking.scores(question, [each.hit for each in candidates], watch)
        except NotReranked as error:
            return fused, (error.degradation,)
        scored = sorted(zip(scores, candidates, strict=True), key=lambda pair: -pair[0])  # equal ones stay as fused
        return (*(_rescored(each, score) for score, each in scored), *others), ()

    async def _embedded(self, question: str, names: Mapping[str, str]) -> tuple[Mapping[str, Dense], bool]:
        """The question's vector for each knowledge base, and whether it was too long for one of the models."""
        if self._settings.mode == "Sparse":
            return {}, False
        groups: dict[tuple[int, str], list[str]] = {}
        for name in names:
            groups.setdefault(self._embedder_key(name), []).append(name)
        embedded = await asyncio.gather(
            *(self._vector(members[0], prefix + question) for (_, prefix), members in groups.items())
        )
        vectors = {
            name: vector for members, (vector, _) in zip(groups.values(), embedded, strict=True) for name in members
        }
        return vectors, any(cut for _, cut in embedded)

    async def _vector(self, name: str, text: str) -> tuple[Dense, bool]:
        model = self._bases[name].embedder
        with genai.embeddings(model.model, dimensions=model.dimensions, texts=1):
            return await embed_question(self._services.embedders[name], text)

    async def _search(
        self,
        kb: SearchedKnowledgeBase,
        scope: Scope,
        collection: str,
        question: str,
        dense: Dense | None,
        top_k: int,
    ) -> tuple[Found, ...]:
        encoder = self._encoders.get(kb.name)
        sparse = encoder.query(question) if encoder is not None else None
        wanted = self._reranking.candidates if self._reranking is not None else 0
        request = search_request(self._settings, dense, sparse, top_k, reranked=wanted)
        if request is None:
            return ()
        store = self._services.stores[kb.name]
        with genai.retrieval(kb.name, candidates=request.candidates) as span:
            try:
                hits = await store.search(collection, scope, request)
            except CollectionUnknown:
                # The alias moved and the old generation was dropped since this request began: again, in the new one.
                now = await store.resolve_alias(kb.alias)
                if now is None:
                    raise
                collection, hits = now, await store.search(now, scope, request)
            span.note({"lectern.hits": len(hits)})
        return tuple(Found(hit, kb.name, collection) for hit in hits)

    def _fused(self, found: Mapping[str, tuple[Found, ...]]) -> tuple[Found, ...]:
        lists = [hits for hits in found.values() if hits]
        if len(lists) <= 1:
            return lists[0] if lists else ()
        return fuse_across(
            [each for hits in lists for each in hits],
            settings=self._settings,
            dense_group=lambda each: self._embedder_key(each.knowledge_base),
            sparse_group=lambda each: self._bases[each.knowledge_base].sparse_language,
        )

    def _embedder_key(self, name: str) -> tuple[int, str]:
        """Equal where the question has the same vector: same adapter and same prefix."""
        return id(self._services.embedders.get(name)), self._bases[name].embedder.query_prefix


async def embed_question(embedder: Embedder, text: str) -> tuple[Dense, bool]:
    """Vector of the question, shape (dimensions,), and whether only its beginning fits the model.

    The term search still reads the whole question, so a long one is answered, and flagged.
    """
    try:
        return (await embedder.embed([text]))[0], False
    except InputTooLong as error:
        spans = (await embedder.tokenize([text]))[0]
        kept = max(1, error.limit - _SPECIAL_TOKENS)
        return (await embedder.embed([text[: spans[kept - 1][1]]]))[0], True


def search_request(
    settings: RetrievalSettings, dense: Dense | None, sparse: SparseVector | None, top_k: int, *, reranked: int = 0
) -> SearchRequest | None:
    """The search of one knowledge base; None when the question holds nothing that its mode could search for.

    A question of stop words alone has no terms: a hybrid search is then one by vector. More than `top_k` is asked
    for, because overlapping passages are dropped later and rarity is judged on more than a few, and up to `reranked`
    where there is a reranker.
    """
    terms = sparse if sparse is not None and sparse.indices else None
    mode = settings.mode
    if mode == "Hybrid" and terms is None:
        mode = "Dense"
    if mode == "Sparse" and terms is None:
        return None
    candidates = max(settings.candidates, top_k)
    limit = max(search_limit(settings, top_k), min(candidates, reranked))
    return SearchRequest(
        mode=mode,
        dense=None if mode == "Sparse" else dense,
        sparse=None if mode == "Dense" else terms,
        candidates=candidates,
        limit=limit,
        rrf_k=settings.rrf_k,
        sparse_weight=settings.sparse_weight,
    )


def search_limit(settings: RetrievalSettings, top_k: int) -> int:
    """How many passages of a knowledge base are asked for, and judged, without a reranker."""
    return min(max(settings.candidates, top_k), max(2 * top_k, 20))


def fuse_across(
    found: Sequence[Found],
    *,
    settings: RetrievalSettings,
    dense_group: Callable[[Found], Hashable],
    sparse_group: Callable[[Found], Hashable],
) -> tuple[Found, ...]:
    """Chunks of several knowledge bases in one order: reciprocal ranks over lists that compare like with like.

    Cosines of one embedder compare across knowledge bases, and so do BM25 scores of one language, nearly. Ranks
    within each knowledge base alone would put the best of an unrelated one beside the best of the right one.
    """
    fused = dict.fromkeys(((each.knowledge_base, each.hit.id) for each in found), 0.0)
    lists: dict[tuple[str, float, Hashable], list[tuple[float, Found]]] = {}
    for each in found:
        if each.hit.scores.dense is not None:
            lists.setdefault(("dense", 1.0, dense_group(each)), []).append((each.hit.scores.dense, each))
        if each.hit.scores.sparse is not None:
            group = ("sparse", settings.sparse_weight, sparse_group(each))
            lists.setdefault(group, []).append((each.hit.scores.sparse, each))
    for (_, weight, _), ranked in lists.items():
        ranked.sort(key=lambda scored: (-scored[0], scored[1].hit.id))
        for rank, (_, each) in enumerate(ranked):
            fused[each.knowledge_base, each.hit.id] += 1.0 / ((rank + 1) / weight + settings.rrf_k - 1)
    rescored = [
        replace(
            each, hit=replace(each.hit, scores=replace(each.hit.scores, fused=fused[each.knowledge_base, each.hit.id]))
        )
        for each in found
    ]
    return tuple(sorted(rescored, key=lambda each: (-(each.hit.scores.fused or 0.0), each.hit.id)))


def _rescored(each: Found, score: float) -> Found:
    return replace(each, hit=replace(each.hit, scores=replace(each.hit.scores, rerank=score)))


def _sorted_out(
    names: Sequence[str], results: Sequence[tuple[Found, ...] | BaseException]
) -> tuple[dict[str, tuple[Found, ...]], tuple[str, ...]]:
    """Results by name, and what failed while something else did not; raises the first failure when all did."""
    found: dict[str, tuple[Found, ...]] = {}
    failures: dict[str, BaseException] = {}
    for name, result in zip(names, results, strict=True):
        if isinstance(result, BaseException):
            failures[name] = result
        else:
            found[name] = result
    for failure in failures.values():
        if not found or not isinstance(failure, DependencyError):
            raise failure
    return found, tuple(f"not_searched:{name}" for name in failures)


def _encoders(settings: QuerySettings) -> dict[str, SparseEncoder]:
    """The term encoder of each knowledge base that has one; one object for each language."""
    if settings.retrieval.mode == "Dense":
        return {}
    languages = {kb.name: kb.sparse_language for kb in settings.knowledge_bases}
    without = [name for name, language in languages.items() if language is None]
    if settings.retrieval.mode == "Sparse" and without:
        raise ConfigurationError(
            f"retrieval.mode is Sparse, but knowledge base {without[0]} has spec.sparse.enabled false; "
            "enable it there or choose another mode"
        )
    by_language = {language: SparseEncoder(language) for language in set(languages.values()) if language is not None}
    return {name: by_language[language] for name, language in languages.items() if language is not None}
