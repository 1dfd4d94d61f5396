"""Resources to settings: the one place that decides which field reaches which runtime.

Used by the operator (for ConfigMaps) and by `lectern up` (in one process), so that both run the same.
A field that is read neither here nor by the operator's builders must be named in `pending`.
"""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.errors import ConfigurationError
from lectern_contract.generation import index_identity
from lectern_contract.names import Role
from lectern_contract.resources import IngestionSource, KnowledgeBase
from lectern_contract.resources.knowledge_base import KnowledgeBaseSpec
from lectern_contract.resources.tracing import Tracing
from lectern_contract.settings import (
    BlobSettings,
    ChunkingSettings,
    ConnectorSettings,
    DirectoryBlobs,
    EmbeddedLog,
    EmbeddedStore,
    EmbedderSettings,
    EmbeddingCacheSettings,
    InProcessModel,
    KafkaLog,
    LogSettings,
    MaskingRuleSettings,
    ModelServerSettings,
    ParsingSettings,
    PartitionRuleSettings,
    PartitionSettings,
    QdrantStore,
    ReceiverSettings,
    S3Blobs,
    StoreSettings,
    WorkerSettings,
)
from lectern_contract.settings_parts import RedisSettings, TracingSettings
from lectern_contract.source_wiring import source_settings


def worker_settings(kb: KnowledgeBase, *, generation: int) -> WorkerSettings:
    """Settings of the workers that fill `generation` of `kb`."""
    spec = kb.spec
    return WorkerSettings(
        namespace=kb.namespace,
        knowledge_base=kb.name,
        generation=generation,
        index_identity=index_identity(spec),
        embedder=embedder_settings(kb, Role.WORKER),
        sparse_language=spec.sparse.language if spec.sparse.enabled else None,
        chunking=ChunkingSettings(
            strategy=spec.chunking.strategy, size=spec.chunking.size, overlap=spec.chunking.overlap
        ),
        parsing=ParsingSettings(
            media_types=spec.parsing.media_types,
            max_document_bytes=spec.parsing.max_document_bytes,
            timeout_seconds=spec.parsing.timeout_seconds,
            ocr_languages=spec.parsing.ocr.languages if spec.parsing.ocr else (),
        ),
        masking=tuple(
            MaskingRuleSettings(name=rule.name, kind=rule.kind, pattern=rule.pattern, region=rule.region)
            for rule in spec.data_policy.masking
        ),
        embedding_cache=_embedding_cache(spec),
        max_attempts=spec.workers.max_attempts,
        tracing=tracing_settings(spec.observability.tracing),
        log=log_settings(spec, Role.WORKER),
        blobs=_blobs(spec, Role.WORKER),
        store=store_settings(spec, Role.WORKER),
    )


def connector_settings(
    source: IngestionSource, kb: KnowledgeBase, *, source_root: str = names.SOURCE_DIRECTORY
) -> ConnectorSettings:
    """Settings of one run of `source`, whose volume is mounted at `source_root`.

    Raises `ConfigurationError` for a push source and for an access level that the knowledge base does not know.
    """
    spec = source.spec
    _check_levels(source, kb)
    return ConnectorSettings(
        namespace=source.namespace,
        name=source.name,
        knowledge_base=kb.name,
        source=source_settings(source, root=source_root),
        requests_per_second=float(spec.rate_limit.requests_per_second),
        include=spec.include,
        exclude=spec.exclude,
        partition=PartitionSettings(tenant=spec.partition.tenant, access_level=spec.partition.access_level),
        restricted_access_level=spec.partition.restricted_access_level,
        partition_rules=_partition_rules(source),
        access_levels=kb.spec.partitioning.access_levels,
        metadata=dict(spec.metadata),
        prune=spec.prune_policy == "Prune",
        media_types=kb.spec.parsing.media_types,
        max_document_bytes=kb.spec.parsing.max_document_bytes,
        tracing=tracing_settings(kb.spec.observability.tracing),
        log=log_settings(kb.spec, Role.CONNECTOR),
        blobs=_blobs(kb.spec, Role.CONNECTOR),
    )


def receiver_settings(source: IngestionSource, kb: KnowledgeBase) -> ReceiverSettings:
    """Settings of the receiver of `source`, to which callers push documents.

    Raises `ConfigurationError` for a schedule, which nothing could follow, and for an access level that the knowledge
    base does not know.
    """
    spec = source.spec
    if spec.push is None:
        raise ConfigurationError(f"IngestionSource/{source.name}: spec.push is not set; only then is there a receiver")
    if spec.schedule is not None:
        raise ConfigurationError(
            f"IngestionSource/{source.name}: spec.schedule has no meaning beside spec.push, where callers decide when "
            "documents come; remove it"
        )
    _check_levels(source, kb)
    return ReceiverSettings(
        namespace=source.namespace,
        name=source.name,
        knowledge_base=kb.name,
        api_keys_directory=names.API_KEYS_DIRECTORY if spec.push.api_keys_secret_ref else None,
        include=spec.include,
        exclude=spec.exclude,
        partition=PartitionSettings(tenant=spec.partition.tenant, access_level=spec.partition.access_level),
        partition_rules=_partition_rules(source),
        access_levels=kb.spec.partitioning.access_levels,
        metadata=dict(spec.metadata),
        media_types=kb.spec.parsing.media_types,
        max_document_bytes=kb.spec.parsing.max_document_bytes,
        tracing=tracing_settings(kb.spec.observability.tracing),
        log=log_settings(kb.spec, Role.RECEIVER),
        blobs=_blobs(kb.spec, Role.RECEIVER),
    )


def _check_levels(source: IngestionSource, kb: KnowledgeBase) -> None:
    """Raise `ConfigurationError` for an access level that the knowledge base does not know."""
    spec = source.spec
    levels = kb.spec.partitioning.access_levels
    named = [("partition.accessLevel", spec.partition.access_level)] + [
        (f"partitionRules[{index}].accessLevel", rule.access_level) for index, rule in enumerate(spec.partition_rules)
    ]
    if spec.partition.restricted_access_level is not None:
        named.append(("partition.restrictedAccessLevel", spec.partition.restricted_access_level))
    for where, level in named:
        if level not in levels:
            raise ConfigurationError(
                f"IngestionSource/{source.name}: spec.{where} {level!r} is not one of "
                f"KnowledgeBase/{kb.name} spec.partitioning.accessLevels: {', '.join(levels)}"
            )


def _partition_rules(source: IngestionSource) -> tuple[PartitionRuleSettings, ...]:
    return tuple(
        PartitionRuleSettings(path_prefix=rule.path_prefix, tenant=rule.tenant, access_level=rule.access_level)
        for rule in source.spec.partition_rules
    )


def missing_on_cluster(spec: KnowledgeBaseSpec) -> tuple[str, ...]:
    """Fields that the embedded mode leaves out and a cluster needs, by their path."""
    return tuple(
        path
        for path, value in (
            ("spec.vectorStore", spec.vector_store),
            ("spec.messaging", spec.messaging),
            ("spec.blobStore", spec.blob_store),
            ("spec.embedding.server", spec.embedding.server),
        )
        if value is None
    )


def tracing_settings(spec: Tracing | None) -> TracingSettings | None:
    """Where the spans of a runtime go; None means that only the environment may say so."""
    if spec is None:
        return None
    return TracingSettings(endpoint=spec.endpoint, sample_ratio=float(spec.sample_ratio))


def embedder_settings(kb: KnowledgeBase, role: Role, *, prefix: str = "") -> EmbedderSettings:
    """The embedding model of `kb` as `role` asks it; `prefix` begins the names of its secret files."""
    spec = kb.spec.embedding
    source: InProcessModel | ModelServerSettings = InProcessModel()
    if spec.server is not None and spec.server.external is not None:
        external = spec.server.external
        source = ModelServerSettings(
            url=external.url,
            protocol=external.protocol,
            api_key_file=_file(role, f"{prefix}embedder-api-key", external.api_key_secret_ref),
            ca_file=_file(role, f"{prefix}embedder-ca", external.ca_secret_ref),
        )
    elif spec.server is not None:
        url = names.service_url(names.child(kb.name, Role.EMBEDDER), kb.namespace, names.EMBEDDER_PORT)
        vllm = spec.server.managed is not None and spec.server.managed.engine == "Vllm"
        source = ModelServerSettings(
            url=f"{url}/v1" if vllm else url, protocol="OpenAI" if vllm else "TEI", api_key_file=None, ca_file=None
        )
    return EmbedderSettings(
        model=spec.model,
        revision=spec.revision,
        dimensions=spec.dimensions,
        max_input_tokens=spec.max_input_tokens,
        query_prefix=spec.query_prefix,
        document_prefix=spec.document_prefix,
        source=source,
    )


def _embedding_cache(spec: KnowledgeBaseSpec) -> EmbeddingCacheSettings:
    cache = spec.embedding.cache
    redis = None
    if cache.redis is not None:
        redis = RedisSettings(
            url=cache.redis.url,
            username_file=_file(Role.WORKER, "embedding-cache-username", cache.redis.credentials_secret_ref),
            password_file=_file(Role.WORKER, "embedding-cache-password", cache.redis.credentials_secret_ref),
            ca_file=_file(Role.WORKER, "embedding-cache-ca", cache.redis.ca_secret_ref),
        )
    return EmbeddingCacheSettings(max_entries=cache.memory_max_entries, ttl_seconds=cache.ttl_seconds, redis=redis)


def log_settings(spec: KnowledgeBaseSpec, role: Role) -> LogSettings:
    """The log as `role` reaches it."""
    kafka = spec.messaging
    if kafka is None:
        return EmbeddedLog()
    return KafkaLog(
        bootstrap_servers=kafka.bootstrap_servers,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        username_file=_file(role, "kafka-username", kafka.credentials_secret_ref),
        password_file=_file(role, "kafka-password", kafka.credentials_secret_ref),
        ca_file=_file(role, "kafka-ca", kafka.ca_secret_ref),
    )


def _blobs(spec: KnowledgeBaseSpec, role: Role) -> BlobSettings:
    store = spec.blob_store
    if store is None:
        return DirectoryBlobs()
    if store.s3 is None:
        return DirectoryBlobs(path=names.BLOB_DIRECTORY)
    return S3Blobs(
        endpoint=store.s3.endpoint,
        bucket=store.s3.bucket,
        prefix=store.s3.prefix,
        region=store.s3.region,
        access_key_id_file=_file(role, "blob-access-key-id", store.s3.credentials_secret_ref),
        secret_access_key_file=_file(role, "blob-secret-access-key", store.s3.credentials_secret_ref),
        ca_file=_file(role, "blob-ca", store.s3.ca_secret_ref),
    )


def store_settings(spec: KnowledgeBaseSpec, role: Role, *, prefix: str = "") -> StoreSettings:
    """The vector store as `role` reaches it; `prefix` begins the names of its secret files."""
    store = spec.vector_store
    if store is None:
        return EmbeddedStore()
    return QdrantStore(
        url=store.url,
        shard_by=spec.partitioning.shard_by,
        api_key_file=_file(role, f"{prefix}vector-store-api-key", store.api_key_secret_ref),
        ca_file=_file(role, f"{prefix}vector-store-ca", store.ca_secret_ref),
    )


def _file(role: Role, purpose: str, reference: object | None) -> str | None:
    """Where a referenced secret lies inside the pod; None when nothing is referenced."""
    return None if reference is None else names.secret_file(role, purpose)
