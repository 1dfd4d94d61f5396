"""How questions are answered: the parts of the query runtime's settings file.

`query_wiring` writes these, `lectern_runtime.query` reads them. Secrets are paths of files; decimals are numbers here.
"""

from __future__ import annotations

from typing import Literal

from lectern_contract.settings_parts import RedisSettings, SettingsModel

Fallback = Literal["StaleCache", "Extractive"]


class RetrievalSettings(SettingsModel):
    """How passages are found. `variants` counts the wordings of a question that are searched, its own included."""

    mode: Literal["Hybrid", "Dense", "Sparse"]
    candidates: int
    top_k: int
    rrf_k: int
    sparse_weight: float
    min_score: float
    context_token_budget: int
    follow_ups: Literal["Join", "Rewrite"]
    variants: int


class RerankerSettings(SettingsModel):
    """A cross-encoder by URL; TEI is asked at `/rerank`, Vllm at `/v1/rerank` of vLLM's score API."""

    url: str
    protocol: Literal["TEI", "Vllm"]
    model: str
    revision: str
    api_key_file: str | None
    ca_file: str | None
    candidates: int
    deadline_milliseconds: int


class LanguageModelSettings(SettingsModel):
    """One OpenAI-compatible server and its model; `cache_salt_file` is set for a vLLM server of ours alone."""

    url: str
    model: str
    api_key_file: str | None
    ca_file: str | None
    cache_salt_file: str | None


class GenerationSettings(SettingsModel):
    """Who words answers, and how; `fallback` is asked when `server` fails, `prompt_file` holds a template."""

    server: LanguageModelSettings
    fallback: LanguageModelSettings | None
    revision: str
    prompt_file: str | None
    max_tokens: int
    temperature: float
    context_window: int


class ExactCacheSettings(SettingsModel):
    """Answers to the same question again; for `stale_seconds` more they may stand in for a failed model."""

    ttl_seconds: int
    stale_seconds: int


class SemanticCacheSettings(SettingsModel):
    """Answers to nearly the same question; `min_similarity` is a cosine."""

    min_similarity: float
    ttl_seconds: int
    max_entries: int


class AnswerCacheSettings(SettingsModel):
    """The answer cache, in the memory of the process where there is no Redis."""

    redis: RedisSettings | None
    exact: ExactCacheSettings | None
    semantic: SemanticCacheSettings | None


class AnonymousSettings(SettingsModel):
    """What a caller without credentials may read."""

    tenant: str
    access_levels: tuple[str, ...]


class JwtSettings(SettingsModel):
    """Tokens of one issuer, and the claims that say whose they are."""

    issuer: str
    audience: str
    jwks_url: str
    tenant_claim: str
    access_levels_claim: str
    scopes_claim: str


class AuthSettings(SettingsModel):
    """Who may ask. Nothing set means nobody."""

    anonymous: AnonymousSettings | None
    jwt: JwtSettings | None
    api_keys_directory: str | None


class RateLimitSettings(SettingsModel):
    """How often one caller may ask, over all replicas where there is a Redis."""

    requests_per_minute: int
    burst: int


class ResilienceSettings(SettingsModel):
    """Bounds of one request; after `failure_threshold` failures in a row a dependency is left alone for a while."""

    timeout_seconds: int
    max_concurrent: int
    failure_threshold: int
    open_seconds: int
    fallbacks: tuple[Fallback, ...]


class JobsSettings(SettingsModel):
    """Questions that are answered later."""

    result_ttl_seconds: int
