"""Spans of calls to models and indexes, named and described as OpenTelemetry's GenAI conventions say (in development).

They say model, sizes and tokens; the conventions' attributes for prompts, answers and queries are never set.
"""

from __future__ import annotations

from typing import Literal

from opentelemetry.trace import SpanKind

from lectern_runtime.telemetry import tracing
from lectern_runtime.telemetry.tracing import Attribute, Attributes, Span

Operation = Literal["embeddings", "retrieval", "rerank", "chat"]
PROVIDER = "lectern"
"""Who serves the model, until its adapter says so by `served_by`."""


def embeddings(model: str, *, dimensions: int | None = None, texts: int | None = None) -> Span:
    """One call of the embedding model."""
    more = {"gen_ai.embeddings.dimension.count": dimensions, "lectern.texts": texts}
    return _span("embeddings", model, {"gen_ai.request.model": model}, more)


def retrieval(index: str, *, candidates: int | None = None) -> Span:
    """One search in an index, named by its knowledge base."""
    return _span("retrieval", index, {"gen_ai.data_source.id": index}, {"lectern.candidates": candidates})


def rerank(model: str, *, passages: int | None = None) -> Span:
    """One call of the reranker."""
    return _span("rerank", model, {"gen_ai.request.model": model}, {"lectern.passages": passages})


def chat(model: str, *, max_tokens: int | None = None, passages: int | None = None) -> Span:
    """One answer of the language model, from the request to the last piece."""
    more = {"gen_ai.request.max_tokens": max_tokens, "lectern.passages": passages}
    return _span("chat", model, {"gen_ai.request.model": model, "gen_ai.output.type": "text"}, more)


def used(
    *, input_tokens: int | None = None, output_tokens: int | None = None, finish_reason: str | None = None
) -> Attributes:
    """What a call cost, to be noted on its span."""
    found: dict[str, Attribute] = {}
    if input_tokens is not None:
        found["gen_ai.usage.input_tokens"] = input_tokens
    if output_tokens is not None:
        found["gen_ai.usage.output_tokens"] = output_tokens
    if finish_reason is not None:
        found["gen_ai.response.finish_reasons"] = [finish_reason]
    return found


def served_by(provider: str, *, address: str | None = None, port: int | None = None) -> None:
    """Say on the span that is under way who serves the model, for adapters."""
    if tracing.on():
        where: Attributes = {"server.address": address, "server.port": port} if address and port else {}
        tracing.note({"gen_ai.provider.name": provider, **where})


def _span(operation: Operation, subject: str, attributes: Attributes, more: dict[str, int | None]) -> Span:
    if not tracing.on():
        return tracing.span(operation)
    given: dict[str, Attribute] = {name: value for name, value in more.items() if value is not None}
    common = {"gen_ai.operation.name": operation, "gen_ai.provider.name": PROVIDER}
    return tracing.span(f"{operation} {subject}", {**common, **attributes, **given}, kind=SpanKind.CLIENT)
