"""A RagEndpoint over its knowledge bases as the settings of its query service; the other half of `wiring`."""

from __future__ import annotations

from collections.abc import Mapping

from lectern_contract import names
from lectern_contract.errors import ConfigurationError
from lectern_contract.names import Role, Topic
from lectern_contract.query_settings import (
    AnonymousSettings,
    AnswerCacheSettings,
    AuthSettings,
    ExactCacheSettings,
    GenerationSettings,
    JobsSettings,
    JwtSettings,
    LanguageModelSettings,
    RateLimitSettings,
    RerankerSettings,
    ResilienceSettings,
    RetrievalSettings,
    SemanticCacheSettings,
)
from lectern_contract.resources import KnowledgeBase, RagEndpoint
from lectern_contract.resources.rag_endpoint import Auth, Cache, Generation, RagEndpointSpec, Reranker, Retrieval
from lectern_contract.resources.redis import Redis
from lectern_contract.settings import QuerySettings, SearchedKnowledgeBase
from lectern_contract.settings_parts import RedisSettings
from lectern_contract.wiring import embedder_settings, log_settings, store_settings, tracing_settings


def query_settings(endpoint: RagEndpoint, knowledge_bases: Mapping[str, KnowledgeBase]) -> QuerySettings:
    """Settings of `endpoint` over `knowledge_bases` by name; a name that is missing there is an error."""
    spec = endpoint.spec
    missing = [name for name in spec.knowledge_base_refs if name not in knowledge_bases]
    if missing:
        raise ConfigurationError(
            f"RagEndpoint/{endpoint.name}: spec.knowledgeBaseRefs names {', '.join(missing)}, "
            f"which does not exist in namespace {endpoint.namespace}; create it or remove the name"
        )
    return QuerySettings(
        namespace=endpoint.namespace,
        name=endpoint.name,
        knowledge_bases=tuple(_searched(name, knowledge_bases[name]) for name in spec.knowledge_base_refs),
        retrieval=_retrieval(spec.retrieval),
        reranker=_reranker(endpoint, spec.reranker) if spec.reranker else None,
        generation=_generation(endpoint, spec.generation) if spec.generation else None,
        cache=_cache(spec.cache),
        auth=_auth(spec.auth),
        rate_limit=RateLimitSettings(
            requests_per_minute=spec.rate_limit.requests_per_minute, burst=spec.rate_limit.burst
        ),
        resilience=_resilience(spec),
        jobs=JobsSettings(result_ttl_seconds=spec.jobs.result_ttl_seconds) if spec.jobs.enabled else None,
        cors_allow_origins=spec.exposure.cors_allow_origins,
        log_level=spec.observability.log_level,
        log_query_text=spec.observability.log_query_text,
        tracing=tracing_settings(spec.observability.tracing),
        log=log_settings(knowledge_bases[spec.knowledge_base_refs[0]].spec, Role.QUERY),
    )


def lacking_on_cluster(spec: RagEndpointSpec) -> str | None:
    """What an endpoint needs on a cluster and does not have, as a sentence, or None."""
    if spec.jobs.enabled and spec.cache.redis is None:
        return "spec.jobs.enabled needs spec.cache.redis, where all replicas find the jobs; set it, or disable jobs"
    return None


def secret_prefix(reference: str) -> str:
    """Start of the names of the secret files of the knowledge base that an endpoint names `reference`.

    One query service may search several knowledge bases, of several namespaces: each has its own secrets. A name has
    no dot, so that no two meet.
    """
    return f"{reference.replace('/', '.')}."


def _searched(reference: str, kb: KnowledgeBase) -> SearchedKnowledgeBase:
    store = kb.spec.vector_store
    return SearchedKnowledgeBase(
        name=reference,
        alias=names.alias(kb.namespace, kb.name),
        events_topic=names.topic(kb.namespace, kb.name, Topic.EVENTS),
        audit_topic=names.topic(kb.namespace, kb.name, Topic.AUDIT),
        access_levels=kb.spec.partitioning.access_levels,
        filterable_fields=tuple(field.name for field in store.filterable_fields) if store else (),
        embedder=embedder_settings(kb, Role.QUERY, prefix=secret_prefix(reference)),
        sparse_language=kb.spec.sparse.language if kb.spec.sparse.enabled else None,
        store=store_settings(kb.spec, Role.QUERY, prefix=secret_prefix(reference)),
    )


def _retrieval(spec: Retrieval) -> RetrievalSettings:
    return RetrievalSettings(
        mode=spec.mode,
        candidates=spec.candidates,
        top_k=spec.top_k,
        rrf_k=spec.rrf_k,
        sparse_weight=float(spec.sparse_weight),
        min_score=float(spec.min_score),
        context_token_budget=spec.context_token_budget,
        follow_ups=spec.follow_ups,
        variants=spec.variants,
    )


def _reranker(endpoint: RagEndpoint, spec: Reranker) -> RerankerSettings:
    external = spec.server.external
    return RerankerSettings(
        url=external.url if external else _service(endpoint, Role.RERANKER),
        protocol=external.protocol if external else "TEI",
        model=spec.model,
        revision=spec.revision,
        api_key_file=_file("reranker-api-key", external and external.api_key_secret_ref),
        ca_file=_file("reranker-ca", external and external.ca_secret_ref),
        candidates=spec.candidates,
        deadline_milliseconds=spec.deadline_milliseconds,
    )


def _generation(endpoint: RagEndpoint, spec: Generation) -> GenerationSettings:
    external, fallback = spec.server.external, spec.fallback
    server = LanguageModelSettings(
        url=external.url if external else f"{_service(endpoint, Role.GENERATOR)}/v1",
        model=spec.model,
        api_key_file=_file("generator-api-key", external and external.api_key_secret_ref),
        ca_file=_file("generator-ca", external and external.ca_secret_ref),
        cache_salt_file=None if external else names.secret_file(Role.QUERY, "cache-salt"),
    )
    other = None
    if fallback is not None:
        other = LanguageModelSettings(
            url=fallback.url,
            model=fallback.model,
            api_key_file=_file("fallback-api-key", fallback.api_key_secret_ref),
            ca_file=_file("fallback-ca", fallback.ca_secret_ref),
            cache_salt_file=None,
        )
    return GenerationSettings(
        server=server,
        fallback=other,
        revision=spec.revision,
        prompt_file=names.PROMPT_FILE if spec.prompt_config_map_ref else None,
        max_tokens=spec.max_tokens,
        temperature=float(spec.temperature),
        context_window=spec.context_window,
    )


def _cache(spec: Cache) -> AnswerCacheSettings:
    redis, exact, semantic = spec.redis, spec.exact, spec.semantic
    return AnswerCacheSettings(
        redis=_redis(redis) if redis else None,
        exact=ExactCacheSettings(ttl_seconds=exact.ttl_seconds, stale_seconds=exact.stale_seconds) if exact else None,
        semantic=SemanticCacheSettings(
            min_similarity=float(semantic.min_similarity),
            ttl_seconds=semantic.ttl_seconds,
            max_entries=semantic.max_entries,
        )
        if semantic
        else None,
    )


def _redis(redis: Redis) -> RedisSettings:
    return RedisSettings(
        url=redis.url,
        username_file=_file("answer-cache-username", redis.credentials_secret_ref),
        password_file=_file("answer-cache-password", redis.credentials_secret_ref),
        ca_file=_file("answer-cache-ca", redis.ca_secret_ref),
    )


def _auth(spec: Auth) -> AuthSettings:
    anonymous, jwt = spec.anonymous, spec.jwt
    return AuthSettings(
        anonymous=AnonymousSettings(tenant=anonymous.tenant, access_levels=anonymous.access_levels)
        if anonymous
        else None,
        jwt=JwtSettings(
            issuer=jwt.issuer,
            audience=jwt.audience,
            jwks_url=jwt.jwks_url,
            tenant_claim=jwt.claims.tenant,
            access_levels_claim=jwt.claims.access_levels,
            scopes_claim=jwt.claims.scopes,
        )
        if jwt
        else None,
        api_keys_directory=names.API_KEYS_DIRECTORY if spec.api_keys_secret_ref else None,
    )


def _resilience(spec: RagEndpointSpec) -> ResilienceSettings:
    breaker = spec.resilience.circuit_breaker
    return ResilienceSettings(
        timeout_seconds=spec.resilience.timeout_seconds,
        max_concurrent=spec.resilience.max_concurrent,
        failure_threshold=breaker.failure_threshold,
        open_seconds=breaker.open_seconds,
        fallbacks=spec.resilience.fallbacks,
    )


def _service(endpoint: RagEndpoint, role: Role) -> str:
    """URL of a model server that the operator runs for `endpoint`."""
    return names.service_url(names.child(endpoint.name, role), endpoint.namespace, names.EMBEDDER_PORT)


def _file(purpose: str, reference: object | None) -> str | None:
    """Where a referenced secret lies inside the pod; None when nothing is referenced."""
    return None if reference is None else names.secret_file(Role.QUERY, purpose)
