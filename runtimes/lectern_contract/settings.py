"""The settings file of each runtime: what was asked, resolved, and nothing else.

`wiring` writes these, the runtimes read them; secrets appear as paths of files, never as values. A
runtime refuses unknown or missing fields and tells the hash of what it loaded at `/configz`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from lectern_contract.errors import SettingsInvalid
from lectern_contract.payload import MetadataValue
from lectern_contract.query_settings import (
    AnswerCacheSettings,
    AuthSettings,
    GenerationSettings,
    JobsSettings,
    RateLimitSettings,
    RerankerSettings,
    ResilienceSettings,
    RetrievalSettings,
)
from lectern_contract.settings_parts import RedisSettings, SettingsModel, TracingSettings
from lectern_contract.source_settings import SourceSettings

SETTINGS_VERSION: Literal[1] = 1


class EmbeddedLog(SettingsModel):
    """The log in the data directory of this process."""

    kind: Literal["Embedded"] = "Embedded"


class KafkaLog(SettingsModel):
    """A Kafka cluster."""

    kind: Literal["Kafka"] = "Kafka"
    bootstrap_servers: str
    security_protocol: str
    sasl_mechanism: str | None
    username_file: str | None
    password_file: str | None
    ca_file: str | None


class DirectoryBlobs(SettingsModel):
    """Blobs in a directory: of the data directory when `path` is empty, else of a mounted volume."""

    kind: Literal["Directory"] = "Directory"
    path: str = ""


class S3Blobs(SettingsModel):
    """Blobs in a bucket."""

    kind: Literal["S3"] = "S3"
    endpoint: str
    bucket: str
    prefix: str
    region: str
    access_key_id_file: str | None
    secret_access_key_file: str | None
    ca_file: str | None


class EmbeddedStore(SettingsModel):
    """The vector store in the data directory of this process."""

    kind: Literal["Embedded"] = "Embedded"


class QdrantStore(SettingsModel):
    """A Qdrant server; `shard_by` says which shard key a partition has where it has one of its own."""

    kind: Literal["Qdrant"] = "Qdrant"
    url: str
    shard_by: Literal["TenantAndAccessLevel", "Tenant"]
    api_key_file: str | None
    ca_file: str | None


class InProcessModel(SettingsModel):
    """The embedding model on the CPU of this process."""

    kind: Literal["InProcess"] = "InProcess"


class ModelServerSettings(SettingsModel):
    """A model server by URL."""

    kind: Literal["Server"] = "Server"
    url: str
    protocol: Literal["TEI", "OpenAI"]
    api_key_file: str | None
    ca_file: str | None


LogSettings = Annotated[EmbeddedLog | KafkaLog, Field(discriminator="kind")]
BlobSettings = Annotated[DirectoryBlobs | S3Blobs, Field(discriminator="kind")]
StoreSettings = Annotated[EmbeddedStore | QdrantStore, Field(discriminator="kind")]
EmbedderSource = Annotated[InProcessModel | ModelServerSettings, Field(discriminator="kind")]


class EmbedderSettings(SettingsModel):
    """The embedding model; both sides of the index use the same."""

    model: str
    revision: str
    dimensions: int
    max_input_tokens: int
    query_prefix: str
    document_prefix: str
    source: EmbedderSource


class PartitionSettings(SettingsModel):
    """A partition."""

    tenant: str
    access_level: str


class PartitionRuleSettings(SettingsModel):
    """A partition for all documents below one path."""

    path_prefix: str
    tenant: str
    access_level: str


class ConnectorSettings(SettingsModel):
    """Everything that one run of a connector needs."""

    schema_version: Literal[1] = SETTINGS_VERSION
    runtime: Literal["connector"] = "connector"
    namespace: str
    name: str
    knowledge_base: str
    source: SourceSettings
    requests_per_second: float
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    partition: PartitionSettings
    restricted_access_level: str | None
    partition_rules: tuple[PartitionRuleSettings, ...]
    access_levels: tuple[str, ...]
    metadata: dict[str, MetadataValue]
    prune: bool
    media_types: tuple[str, ...]
    max_document_bytes: int
    tracing: TracingSettings | None
    log: LogSettings
    blobs: BlobSettings


class ReceiverSettings(SettingsModel):
    """Everything that the receiver of a push source needs; without `api_keys_directory` it takes nothing."""

    schema_version: Literal[1] = SETTINGS_VERSION
    runtime: Literal["receiver"] = "receiver"
    namespace: str
    name: str
    knowledge_base: str
    api_keys_directory: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    partition: PartitionSettings
    partition_rules: tuple[PartitionRuleSettings, ...]
    access_levels: tuple[str, ...]
    metadata: dict[str, MetadataValue]
    media_types: tuple[str, ...]
    max_document_bytes: int
    tracing: TracingSettings | None
    log: LogSettings
    blobs: BlobSettings


class ChunkingSettings(SettingsModel):
    """How a document is cut, in tokens of the embedding model."""

    strategy: Literal["Recursive", "Fixed", "Markdown"]
    size: int
    overlap: int


class ParsingSettings(SettingsModel):
    """Which documents are read, within which bounds; `ocr_languages` empty means that no picture is read."""

    media_types: tuple[str, ...]
    max_document_bytes: int
    timeout_seconds: int
    ocr_languages: tuple[str, ...]


class MaskingRuleSettings(SettingsModel):
    """One kind of personal data, and the name that stands in its place."""

    name: str
    kind: Literal["Email", "Phone", "Iban", "CardNumber", "Pattern"]
    pattern: str | None
    region: str | None


class EmbeddingCacheSettings(SettingsModel):
    """Vectors that were computed before: `max_entries` in memory, and in Redis where there is one."""

    max_entries: int
    ttl_seconds: int
    redis: RedisSettings | None


class WorkerSettings(SettingsModel):
    """Everything that an embedding worker needs to fill one index generation."""

    schema_version: Literal[1] = SETTINGS_VERSION
    runtime: Literal["worker"] = "worker"
    namespace: str
    knowledge_base: str
    generation: int
    index_identity: str
    embedder: EmbedderSettings
    sparse_language: str | None
    chunking: ChunkingSettings
    parsing: ParsingSettings
    masking: tuple[MaskingRuleSettings, ...]
    embedding_cache: EmbeddingCacheSettings
    max_attempts: int
    tracing: TracingSettings | None
    log: LogSettings
    blobs: BlobSettings
    store: StoreSettings


class SearchedKnowledgeBase(SettingsModel):
    """One knowledge base as the query runtime sees it, under the name that the endpoint gives it."""

    name: str
    alias: str
    events_topic: str
    audit_topic: str
    access_levels: tuple[str, ...]
    filterable_fields: tuple[str, ...]
    embedder: EmbedderSettings
    sparse_language: str | None
    store: StoreSettings


class QuerySettings(SettingsModel):
    """Everything that the query runtime needs."""

    schema_version: Literal[1] = SETTINGS_VERSION
    runtime: Literal["query"] = "query"
    namespace: str
    name: str
    knowledge_bases: tuple[SearchedKnowledgeBase, ...]
    retrieval: RetrievalSettings
    reranker: RerankerSettings | None
    generation: GenerationSettings | None
    cache: AnswerCacheSettings
    auth: AuthSettings
    rate_limit: RateLimitSettings
    resilience: ResilienceSettings
    jobs: JobsSettings | None
    cors_allow_origins: tuple[str, ...]
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    log_query_text: bool
    tracing: TracingSettings | None
    log: LogSettings


class _OfAnyRelease(BaseModel):
    """What the file of every release says. It is read first: in another version all the rest may be another."""

    schema_version: Annotated[int, Field(strict=True)]


AnySettings = ConnectorSettings | ReceiverSettings | WorkerSettings | QuerySettings
_ANY: TypeAdapter[AnySettings] = TypeAdapter(Annotated[AnySettings, Field(discriminator="runtime")])


def canonical(settings: AnySettings) -> str:
    """The settings as JSON: equal settings give equal bytes."""
    return json.dumps(settings.model_dump(mode="json"), sort_keys=True, indent=2) + "\n"


def config_hash(settings: AnySettings) -> str:
    """Hex sha256 of `canonical`; names the ConfigMap and is told at `/configz`."""
    return hashlib.sha256(canonical(settings).encode()).hexdigest()


def load(data: bytes) -> AnySettings:
    """The settings in a settings file. Raises `SettingsInvalid` naming the schema version or the first wrong field."""
    try:
        version = _OfAnyRelease.model_validate_json(data).schema_version
        if version == SETTINGS_VERSION:
            return _ANY.validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        cause = f"{place}: {fault['msg']}" if place else fault["msg"]
        raise SettingsInvalid(
            f"settings.json: {cause}; the operator and this image must be of one release "
            f"(this one reads schema version {SETTINGS_VERSION})"
        ) from error
    older = "this image is older" if version > SETTINGS_VERSION else "the operator is older"
    raise SettingsInvalid(
        f"settings.json: schema_version: {version} was written and this image reads {SETTINGS_VERSION}; "
        f"the operator and this image must be of one release ({older})"
    )
