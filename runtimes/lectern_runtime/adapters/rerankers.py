"""A cross-encoder behind TEI's `/rerank` or vLLM's `/v1/rerank`, as the `Reranker` of the query runtime.

Both are told to read only the beginning of a pair that is too long for the model: a late word of a long passage must
not cost a question its order. Both are asked for scores from 0 to 1, and one beyond that is an error.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Protocol

from lectern_contract.errors import DependencyError, LecternError
from lectern_contract.query_settings import RerankerSettings
from lectern_runtime.adapters import model_server
from lectern_runtime.adapters.model_server import Kind, ModelServer, Refusal
from lectern_runtime.errors import first_of

RERANKER = Kind("reranker", "reranker", "spec.reranker")
MOST_PASSAGES = 512
"""Of one request to vLLM, which has no limit of its own."""
_REFUSABLE = (413, 422)


class Speech(Protocol):
    """What one protocol says and hears."""

    @property
    def provider(self) -> str:
        """Name of the server's kind on spans."""

    async def most_passages(self, server: ModelServer) -> int:
        """How many passages a request may have; raises `DependencyError`."""

    async def ask(self, server: ModelServer, question: str, passages: Sequence[str]) -> Any | Refusal:
        """The list of results, each with `index` and a score, or the refusal; raises `DependencyError`."""

    def score(self, result: Any) -> Any:
        """The score of a result; raises KeyError or TypeError where there is none."""

    def forget(self) -> None:
        """Ask the server for its limits again before the next request."""


class ServerReranker:
    """The `Reranker` of a server; it is asked in requests that it can take, at the same time."""

    def __init__(self, server: ModelServer, speech: Speech) -> None:
        self._server = server
        self._speech = speech

    @classmethod
    def open(cls, settings: RerankerSettings) -> ServerReranker:
        """Return the reranker of `settings`; the server is not asked before the first call."""
        server = ModelServer(settings, kind=RERANKER)
        return cls(server, Tei() if settings.protocol == "TEI" else Vllm(settings))

    async def scores(self, question: str, passages: Sequence[str]) -> Sequence[float]:
        """Return one number from 0 to 1 for each passage, in order, higher for the better ones.

        Raises `DependencyError`, with the pause that the server asks for; then all requests of the call have ended.
        """
        if not passages:
            return []
        most = await self._speech.most_passages(self._server)
        self._server.asked_for(self._speech.provider)

        async def scored(call: Sequence[str]) -> list[Any] | Refusal:
            return await self._scored(question, call)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(model_server.split(call, scored, self._alone))
                    for call in model_server.calls(passages, most=most)
                ]
        except BaseExceptionGroup as failed:
            known, other = failed.split(LecternError)
            if known is None or other is not None:
                raise
            raise first_of(known) from failed
        return [score for task in tasks for score in task.result()]

    async def close(self) -> None:
        """Close the connections; later calls raise `DependencyError`."""
        await self._server.close()

    async def _scored(self, question: str, passages: Sequence[str]) -> list[Any] | Refusal:
        answer = await self._speech.ask(self._server, question, passages)
        if isinstance(answer, Refusal):
            self._speech.forget()  # it was started anew with other limits
            return answer
        return self._in_order(answer, len(passages))

    def _in_order(self, results: Any, count: int) -> list[float]:
        """The scores in the order of the passages, which the results number."""
        try:
            found = [(result["index"], self._speech.score(result)) for result in results]
        except (KeyError, TypeError) as error:
            raise self._server.failed(
                "answers with something else than scores; check the protocol of spec.reranker.server"
            ) from error
        whole = all(type(index) is int for index, _ in found)  # True would pass for 1
        if not whole or sorted(index for index, _ in found) != list(range(count)):
            raise self._server.failed(
                f"does not score each of {count} passages once; check spec.reranker.server and its log"
            )
        by_index = dict(found)
        return [self._sound(by_index[index]) for index in range(count)]

    def _sound(self, score: Any) -> float:
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise self._server.failed("gives a score that is no finite number; see its log")
        if not 0 <= score <= 1:
            raise self._server.failed(
                "gives a score outside of 0 to 1; serve spec.reranker.model with the activation of a classifier"
            )
        return float(score)

    def _alone(self, index: int, refusal: Refusal) -> DependencyError:
        return self._server.failed(
            f"refuses a passage by itself (HTTP {refusal.status}); check that spec.reranker.model is a reranker, "
            "and the limits that its server was started with"
        )


class Tei:
    """Text Embeddings Inference, which tells its limits at `/info`; they are read once."""

    provider = "text-embeddings-inference"

    def __init__(self) -> None:
        self._most: int | None = None

    async def most_passages(self, server: ModelServer) -> int:
        """Return what the server tells as its largest batch."""
        if self._most is None:
            told = await server.get("/info")
            try:
                self._most = max(1, int(told["max_client_batch_size"]))
            except (KeyError, TypeError, ValueError) as error:
                raise server.failed("does not speak TEI's protocol; check spec.reranker.server") from error
        return self._most

    async def ask(self, server: ModelServer, question: str, passages: Sequence[str]) -> Any | Refusal:
        """Return the ranks of one batch, in any order."""
        body = {
            "query": question,
            "texts": list(passages),
            "raw_scores": False,
            "return_text": False,
            "truncate": True,
            "truncation_direction": "Right",
        }
        return await server.post("/rerank", body, refusable=_REFUSABLE)

    def score(self, result: Any) -> Any:
        """Return the score of a rank."""
        return result["score"]

    def forget(self) -> None:
        """Read the limits again before the next call."""
        self._most = None


class Vllm:
    """vLLM's rerank API, which tells no limits; the guarded path is asked, since `/rerank` takes no key."""

    provider = "vllm"

    def __init__(self, settings: RerankerSettings) -> None:
        self._model = settings.model
        self._path = "/rerank" if settings.url.rstrip("/").endswith("/v1") else "/v1/rerank"

    async def most_passages(self, server: ModelServer) -> int:
        """Return a bound of ours."""
        return MOST_PASSAGES

    async def ask(self, server: ModelServer, question: str, passages: Sequence[str]) -> Any | Refusal:
        """Return the results of one request, in any order."""
        body = {
            "model": self._model,
            "query": question,
            "documents": list(passages),
            "top_n": 0,
            "truncate_prompt_tokens": -1,
            "use_activation": True,
        }
        answer = await server.post(self._path, body, refusable=_REFUSABLE)
        return answer if isinstance(answer, Refusal) or not isinstance(answer, dict) else answer.get("results")

    def score(self, result: Any) -> Any:
        """Return the score of a result."""
        return result["relevance_score"]

    def forget(self) -> None:
        """Nothing was told."""
