"""Doubles of rerankers on a real port: shared words for relevance, and faults when they are told.

They answer with the statuses and sentences of Text Embeddings Inference 1.9 and of vLLM, and refuse what those would
refuse. What they cannot show: a real model's judgement, its tokens, batching over time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lectern_contract.query_settings import RerankerSettings
from lectern_runtime_tests.adapters import embedding_servers
from lectern_runtime_tests.adapters.embedding_servers import EmbeddingServer, Reply

MODEL = "acme/judge"
MOST_TEXTS = 4
"""Of one batch; the real server's default is 32."""
LONGEST = 40
"""Tokens of a pair, one for each word."""
_TEI_FIELDS = {"query", "texts", "raw_scores", "return_text", "truncate", "truncation_direction"}
_WORD = re.compile(r"\w+")


def relevance(question: str, passage: str) -> float:
    """Share of the question's words that the passage has, among as many words as the model reads."""
    asked = _WORD.findall(question.lower())
    read = set(_WORD.findall(passage.lower())[: max(0, LONGEST - len(asked))])
    return sum(word in read for word in asked) / max(1, len(asked))


def tei(server: EmbeddingServer, path: str, body: Any) -> Reply:
    """Text Embeddings Inference with a classifier of one label; ranks come best first."""
    if path == "/info":
        limits = {"max_input_length": LONGEST, "max_client_batch_size": MOST_TEXTS, "max_batch_tokens": 400}
        return 200, {"model_id": MODEL, "model_sha": "c0ffee", "model_type": {"reranker": {}}, **limits}
    if path != "/rerank":
        return 404, {"error": "Not Found"}
    if not isinstance(body.get("query"), str) or not _texts(body.get("texts")) or set(body) - _TEI_FIELDS:
        return 422, {"error": "Failed to deserialize the JSON body into the target type", "error_type": "Validation"}
    query, texts = body["query"], body["texts"]
    if not texts:
        return 400, {"error": "`texts` cannot be empty", "error_type": "Empty"}
    if len(texts) > MOST_TEXTS:
        said = f"batch size {len(texts)} > maximum allowed batch size {MOST_TEXTS}"
        return 413, {"error": said, "error_type": "Validation"}
    for text in texts:
        given = len(_WORD.findall(query)) + len(_WORD.findall(text))
        if given > LONGEST and not body.get("truncate"):
            said = f"`inputs` must have less than {LONGEST} tokens. Given: {given}"
            return 413, {"error": said, "error_type": "Validation"}
    # Raw scores are logits; these only must not look like what was asked for.
    stretch = 10.0 if body.get("raw_scores") else 1.0
    ranks = [{"index": index, "score": stretch * relevance(query, text)} for index, text in enumerate(texts)]
    return 200, sorted(ranks, key=lambda rank: -rank["score"])


def vllm(server: EmbeddingServer, path: str, body: Any) -> Reply:
    """A vLLM that serves a classifier; results come best first, with their documents."""
    if path != "/v1/rerank":
        return 404, {"detail": "Not Found"}
    if not isinstance(body.get("query"), str) or not _texts(body.get("documents")):
        return 400, {"error": {"message": "Input should be a valid list", "type": "BadRequestError", "code": 400}}
    if body.get("model") not in (None, MODEL):
        return 404, {"error": {"message": f"The model `{body['model']}` does not exist.", "code": 404}}
    query, documents = body["query"], body["documents"]
    for text in documents:
        given = len(_WORD.findall(query)) + len(_WORD.findall(text))
        if given > LONGEST and body.get("truncate_prompt_tokens") is None:
            said = f"This model's maximum context length is {LONGEST} tokens. However, you requested {given} tokens"
            return 400, {"error": {"message": said, "type": "BadRequestError", "code": 400}}
    results = [
        {"index": index, "document": {"text": text}, "relevance_score": relevance(query, text)}
        for index, text in enumerate(documents)
    ]
    best = sorted(results, key=lambda result: -float(str(result["relevance_score"])))
    kept = best[: body.get("top_n") or len(best)]
    return 200, {"id": "rerank-1", "model": MODEL, "usage": {"total_tokens": 7}, "results": kept}


@contextmanager
def running(protocol: Any, *, api_key: str | None = None) -> Iterator[EmbeddingServer]:
    """Run the double that speaks `protocol` until the block ends."""
    with embedding_servers.running(protocol, api_key=api_key) as server:
        yield server


def settings(url: str, **changes: Any) -> RerankerSettings:
    """Settings of a TEI at `url`, with a deadline that no test reaches by itself."""
    given: dict[str, Any] = {
        "url": url,
        "protocol": "TEI",
        "model": MODEL,
        "revision": "main",
        "api_key_file": None,
        "ca_file": None,
        "candidates": 50,
        "deadline_milliseconds": 60_000,
    }
    return RerankerSettings(**{**given, **changes})


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
