"""Spec fields that nothing acts on yet, each with the stage that will: the only place where they may be named.

`unread` tells which of them a resource sets; the operator and the embedded mode say so in the condition
SpecHonored. A test walks every leaf of every kind: one that changes no output must be below an entry here, one that
does must not, and their number may only fall.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from lectern_contract.resources import AnyResource


class Stage(StrEnum):
    """When a field starts to be acted on, in the order of delivery."""

    B = "B"
    C = "C"
    D = "D"
    E = "E"


PENDING: Mapping[str, Mapping[str, Stage]] = {
    "KnowledgeBase": {
        "spec.backup": Stage.E,
        "spec.generations.activation": Stage.E,
        "spec.generations.gate": Stage.E,
        "spec.generations.pinned": Stage.E,
        "spec.generations.retain": Stage.E,
        "spec.restoreFrom": Stage.E,
    },
    "IngestionSource": {},
    "RagEndpoint": {
        "spec.evaluation": Stage.E,
        "spec.rollout": Stage.E,
    },
}
"""By kind: a leaf, or a part of the spec with all that is in it, and the stage that acts on it."""

UNUSED: Mapping[str, Mapping[str, Stage]] = {
    "KnowledgeBase": {},
    "IngestionSource": {},
    "RagEndpoint": {
        "spec.cache.exact.staleSeconds": Stage.D,
        "spec.cache.redis": Stage.D,
        "spec.cache.semantic": Stage.D,
        "spec.exposure.corsAllowOrigins": Stage.D,
        "spec.generation": Stage.D,
        "spec.jobs": Stage.D,
        "spec.rateLimit": Stage.D,
        "spec.resilience.circuitBreaker": Stage.D,
        "spec.resilience.fallbacks": Stage.D,
        "spec.retrieval.followUps": Stage.D,
        "spec.retrieval.variants": Stage.D,
    },
}
"""Parts of the spec that reach a setting or a server on a cluster already, and that no runtime makes use of yet."""

UNREAD_SETTINGS: Mapping[str, Stage] = {
    "AnswerCacheSettings.semantic": Stage.D,
    "ExactCacheSettings.stale_seconds": Stage.D,
    "GenerationSettings.context_window": Stage.D,
    "GenerationSettings.fallback": Stage.D,
    "GenerationSettings.prompt_file": Stage.D,
    "GenerationSettings.temperature": Stage.D,
    "JobsSettings.result_ttl_seconds": Stage.D,
    "LanguageModelSettings.cache_salt_file": Stage.D,
    "QuerySettings.cors_allow_origins": Stage.D,
    "QuerySettings.jobs": Stage.D,
    "QuerySettings.rate_limit": Stage.D,
    "RateLimitSettings.burst": Stage.D,
    "RateLimitSettings.requests_per_minute": Stage.D,
    "ResilienceSettings.failure_threshold": Stage.D,
    "ResilienceSettings.fallbacks": Stage.D,
    "ResilienceSettings.open_seconds": Stage.D,
    "RetrievalSettings.follow_ups": Stage.D,
    "RetrievalSettings.variants": Stage.D,
    "SearchedKnowledgeBase.audit_topic": Stage.D,
    "SemanticCacheSettings.min_similarity": Stage.D,
}
"""Fields of settings files that no runtime reads yet, by model and field, and the stage that reads them."""


EMBEDDED = frozenset({"spec.generations.retain"})
"""What the embedded mode acts on already, though the operator does not."""

CLUSTER_ONLY: Mapping[str, tuple[str, ...]] = {
    "KnowledgeBase": (),
    "IngestionSource": (),
    "RagEndpoint": (
        "spec.reranker.server.external.apiKeySecretRef",
        "spec.reranker.server.external.caSecretRef",
        "spec.reranker.server.managed",
    ),
}
"""What the embedded mode cannot act on: it runs no servers and has no Secrets."""


def unread(resource: AnyResource, *, embedded: bool = False) -> tuple[str, ...]:
    """Return the entries of `PENDING` and `UNUSED` that `resource` sets to something else than their default.

    In the embedded mode those of `CLUSTER_ONLY` too, and not those of `EMBEDDED`.
    """
    whole = UNUSED[resource.kind_name]
    parts = [path for path in PENDING[resource.kind_name] if not any(path.startswith(f"{part}.") for part in whole)]
    named = {*parts, *whole}
    if embedded:
        named = (named - EMBEDDED) | {*CLUSTER_ONLY[resource.kind_name]}
    return tuple(path for path in sorted(named) if _is_set(resource.spec, path.split(".")[1:]))


def covers(kind: str, path: str) -> bool:
    """Say whether the field at `path` of a resource of `kind` is one that nothing acts on yet."""
    bare = re.sub(r"\[\d+\]", "[]", path)
    return any(bare == each or bare.startswith((f"{each}.", f"{each}[")) for each in PENDING[kind])


def _is_set(model: BaseModel, parts: list[str]) -> bool:
    return any(
        default is PydanticUndefined or value != default for value, default in _values(model, parts[0], parts[1:])
    )


def _values(model: BaseModel, part: str, rest: list[str]) -> Iterator[tuple[Any, Any]]:
    """Every value at the path, with its default; a part that is left out has none."""
    name = part.removesuffix("[]")
    field_name, field = next(
        (key, each) for key, each in type(model).model_fields.items() if (each.alias or key) == name
    )
    value = getattr(model, field_name)
    if not rest:
        yield value, field.get_default(call_default_factory=True)
        return
    for item in value if part.endswith("[]") else (value,):
        if item is not None:
            yield from _values(item, rest[0], rest[1:])
