"""The spec of a KnowledgeBase: one corpus, how it is cut, embedded, partitioned, stored and fed.

The single source of its CRD, defaults and reference page. In the embedded mode `vectorStore`,
`messaging`, `blobStore` and `embedding.server` are left out; on a cluster they are needed.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from lectern_contract.media_types import PARSED_MEDIA_TYPES
from lectern_contract.resources.common import (
    ConfigMapKeyRef,
    CredentialsRef,
    Cron,
    FieldName,
    HttpUrl,
    ManagedServer,
    ModelName,
    NamespaceName,
    NetworkPolicy,
    ObjectName,
    PartitionPart,
    PersistentVolumeLocation,
    Resources,
    Rule,
    S3Location,
    SecretKeyRef,
    ShortText,
    SpecModel,
    Unit,
    exactly_one,
    immutable,
    not_above,
    unique,
)
from lectern_contract.resources.redis import Redis
from lectern_contract.resources.tracing import Traced

Prefix = Annotated[str, StringConstraints(max_length=512)]
MediaType = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+*-]+$", max_length=127)]


class ExternalEmbeddingServer(SpecModel):
    """An embedding server that runs elsewhere."""

    url: HttpUrl = Field(description="Base URL of the server.")
    protocol: Literal["TEI", "OpenAI"] = Field(default="TEI", description="Protocol that the server speaks.")
    api_key_secret_ref: SecretKeyRef | None = Field(default=None, description="Key sent as bearer token.")
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Certificate authority of the server; left out means the system's."
    )


class ManagedEmbeddingServer(ManagedServer):
    """An embedding server that the operator runs."""

    engine: Literal["TextEmbeddings", "Vllm"] = Field(
        default="TextEmbeddings",
        description="TextEmbeddings: Text Embeddings Inference, for the usual encoders. Vllm: vLLM as a pooling "
        "server, for embedding models that are made of language models.",
    )


class EmbeddingServer(SpecModel):
    """Who computes the embeddings: a server of ours or one elsewhere."""

    managed: ManagedEmbeddingServer | None = Field(default=None, description="A server that the operator runs.")
    external: ExternalEmbeddingServer | None = Field(default=None, description="A server that runs elsewhere.")

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("managed", "external", message="set exactly one of managed and external"),
    )


class EmbeddingCache(SpecModel):
    """Vectors of texts that were embedded before, by the digest of the text and all that decides about its vector."""

    memory_max_entries: int = Field(
        default=10_000, ge=0, le=10_000_000, description="Most vectors in the memory of one worker; 0 means none."
    )
    ttl_seconds: int = Field(
        default=3600, ge=1, le=31_536_000, description="Age in seconds at which a vector is forgotten."
    )
    redis: Redis | None = Field(default=None, description="Redis server that the workers share; left out means none.")


class Embedding(SpecModel):
    """The dense embedding model and who serves it."""

    model: ModelName = Field(description="Name of the model, as its hub or server names it.")
    revision: ShortText = Field(default="main", description="Revision of the model; pin a commit in production.")
    dimensions: int = Field(ge=1, le=65536, description="Length of one vector; compared with what the server returns.")
    query_prefix: Prefix = Field(default="", description="Text put before every question.")
    document_prefix: Prefix = Field(default="", description="Text put before every chunk.")
    max_input_tokens: int = Field(
        default=256,
        ge=16,
        le=131072,
        description="Longest input of the model in its own tokens, special ones included.",
    )
    server: EmbeddingServer | None = Field(
        default=None, description="Who computes the embeddings; left out means inside the process (embedded mode)."
    )
    cache: EmbeddingCache = Field(
        default_factory=EmbeddingCache, description="Vectors that need not be computed again."
    )


class Sparse(SpecModel):
    """BM25 term weights beside the dense vectors."""

    enabled: bool = Field(default=True, description="Whether terms are indexed at all.")
    language: Literal["da", "de", "en", "es", "fi", "fr", "it", "nl", "no", "pt", "ru", "sv"] = Field(
        default="en", description="Language of the stemmer and the stop words, ISO 639-1."
    )


class Chunking(SpecModel):
    """How a document is cut into chunks."""

    strategy: Literal["Recursive", "Fixed", "Markdown"] = Field(
        default="Recursive",
        description="Recursive: at paragraphs, lines, sentences, words. Fixed: every `size` tokens. "
        "Markdown: at headings first.",
    )
    size: int = Field(default=200, ge=16, le=8192, description="Longest chunk in tokens of the embedding model.")
    overlap: int = Field(default=20, ge=0, le=4096, description="Tokens that a chunk repeats from the one before it.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.overlap * 2 <= self.size",
            message="overlap must not be greater than half of size",
            field="overlap",
            holds=lambda value: bool(value.overlap * 2 <= value.size),
        ),
    )


class Ocr(SpecModel):
    """Reading of scanned pages. Slow: seconds a page."""

    languages: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z]{3}(_[a-z]+)?$", max_length=16)], ...] = Field(
        default=("eng",), min_length=1, max_length=16, description="Languages of the scans, as Tesseract names them."
    )


class Parsing(SpecModel):
    """Which documents are read and within which bounds."""

    media_types: tuple[MediaType, ...] = Field(
        default=PARSED_MEDIA_TYPES,
        min_length=1,
        max_length=64,
        description="Media types that are read; any other document is refused with a reason.",
    )
    max_document_bytes: int = Field(
        default=33_554_432, ge=1024, le=1_073_741_824, description="Largest document in bytes."
    )
    timeout_seconds: int = Field(default=60, ge=1, le=3600, description="Longest time for one document in seconds.")
    ocr: Ocr | None = Field(
        default=None, description="Reading of scanned pages; left out means that a scan is refused with a reason."
    )

    rules: ClassVar[tuple[Rule, ...]] = (unique("media_types"),)


class Tenant(SpecModel):
    """One tenant that is known in advance."""

    name: PartitionPart = Field(description="Name of the tenant, as the token claims it.")
    dedicated: bool = Field(default=False, description="Whether the tenant has shards of its own from the start.")
    shard_number: int = Field(default=1, ge=1, le=64, description="Shards for each partition of a dedicated tenant.")


class Partitioning(SpecModel):
    """How the corpus is divided among readers."""

    shard_by: Literal["TenantAndAccessLevel", "Tenant"] = Field(
        default="TenantAndAccessLevel", description="What one shard key stands for."
    )
    access_levels: tuple[PartitionPart, ...] = Field(
        default=("public",), min_length=1, max_length=32, description="Access levels that documents may carry."
    )
    tenants: tuple[Tenant, ...] = Field(
        default=(), max_length=1000, description="Tenants that are known in advance, by name."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        unique("access_levels"),
        unique("tenants", "name"),
    )


class Hnsw(SpecModel):
    """Parameters of the vector index."""

    m: int = Field(default=16, ge=0, le=128, description="Edges of a node.")
    ef_construct: int = Field(default=100, ge=4, le=4096, description="Candidates looked at while building.")


class FilterableField(SpecModel):
    """One metadata field that questions may filter by."""

    name: FieldName = Field(description="Name of the field in a document's metadata.")
    type: Literal["Keyword", "Integer", "Boolean", "DateTime"] = Field(
        default="Keyword", description="Type of the payload index."
    )


class VectorStore(SpecModel):
    """The Qdrant server that holds the collection generations."""

    url: HttpUrl = Field(description="URL of the server.")
    api_key_secret_ref: SecretKeyRef | None = Field(default=None, description="API key of the server.")
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Certificate authority of the server; left out means the system's."
    )
    replication_factor: int = Field(default=1, ge=1, le=16, description="Copies of each shard.")
    write_consistency_factor: int = Field(default=1, ge=1, le=16, description="Copies that must confirm a write.")
    hnsw: Hnsw = Field(default_factory=Hnsw, description="Parameters of the vector index.")
    quantization: Literal["None", "Scalar", "Binary"] = Field(
        default="None", description="Compression of the vectors that searches run on."
    )
    on_disk: bool = Field(default=False, description="Whether full vectors stay on disk instead of in memory.")
    filterable_fields: tuple[FilterableField, ...] = Field(
        default=(), max_length=32, description="Metadata fields that questions may filter by, by name."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        not_above("write_consistency_factor", "replication_factor"),
        unique("filterable_fields", "name"),
    )


class Messaging(SpecModel):
    """The Kafka cluster that carries document messages."""

    bootstrap_servers: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9.-]+:[0-9]{1,5}(,[A-Za-z0-9.-]+:[0-9]{1,5})*$", max_length=1024)
    ] = Field(description="Brokers to begin with, host:port, separated by commas.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How the connection is protected."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, description="How the client proves who it is; needed for SASL protocols."
    )
    credentials_secret_ref: CredentialsRef | None = Field(
        default=None, description="Secret with the keys `username` and `password`."
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Certificate authority of the brokers; left out means the system's."
    )
    partitions: int = Field(
        default=6, ge=1, le=1000, description="Partitions of the documents topic: the most workers that can help."
    )
    replication_factor: int = Field(default=1, ge=1, le=16, description="Copies of each partition.")
    topic_management: Literal["Admin", "Strimzi"] = Field(
        default="Admin", description="Admin: topics by the broker's own API. Strimzi: as KafkaTopic resources."
    )
    strimzi_cluster: ObjectName | None = Field(
        default=None, description="Name of the Kafka resource, for topicManagement Strimzi."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        immutable("partitions"),
        Rule(
            cel="self.topicManagement != 'Strimzi' || has(self.strimziCluster)",
            message="topicManagement Strimzi needs strimziCluster: the name of the Kafka resource",
            field="strimziCluster",
            holds=lambda value: value.topic_management != "Strimzi" or value.strimzi_cluster is not None,
        ),
        Rule(
            cel="!self.securityProtocol.startsWith('SASL') || "
            "(has(self.saslMechanism) && has(self.credentialsSecretRef))",
            message="SASL needs saslMechanism and credentialsSecretRef",
            field="securityProtocol",
            holds=lambda value: (
                not value.security_protocol.startswith("SASL")
                or (value.sasl_mechanism is not None and value.credentials_secret_ref is not None)
            ),
        ),
    )


class BlobStore(SpecModel):
    """Where the bytes of documents lie under their sha256."""

    s3: S3Location | None = Field(default=None, description="A bucket of an S3-compatible object store.")
    persistent_volume: PersistentVolumeLocation | None = Field(
        default=None, description="A PersistentVolumeClaim that connectors and workers share."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("s3", "persistent_volume", message="set exactly one of s3 and persistentVolume"),
    )


class Workers(SpecModel):
    """The embedding workers and how they scale on consumer lag."""

    min_replicas: int = Field(default=0, ge=0, le=1000, description="Workers that always run.")
    max_replicas: int = Field(default=4, ge=1, le=1000, description="Most workers; at most the topic's partitions.")
    lag_threshold: int = Field(default=50, ge=1, le=1_000_000, description="Waiting messages for each worker.")
    activation_lag_threshold: int = Field(
        default=0, ge=0, le=1_000_000, description="Waiting messages above which the first worker starts."
    )
    polling_interval_seconds: int = Field(default=15, ge=1, le=3600, description="Time between looks at the lag.")
    cooldown_seconds: int = Field(default=300, ge=0, le=86400, description="Quiet time before the last worker stops.")
    max_attempts: int = Field(
        default=3, ge=1, le=20, description="Attempts for a document that fails for the world's sake."
    )
    resources: Resources = Field(
        default_factory=lambda: Resources(
            requests={"cpu": "500m", "memory": "512Mi"}, limits={"cpu": "2", "memory": "2Gi"}
        ),
        description="Compute resources of one worker.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (not_above("min_replicas", "max_replicas"),)


class QualityGate(SpecModel):
    """What a new generation must reach before it answers."""

    golden_set_config_map_ref: ConfigMapKeyRef | None = Field(
        default=None, description="Questions with known answers, as JSON lines."
    )
    minimum: dict[ShortText, Unit] = Field(
        default_factory=dict, max_length=16, description="Lowest score by metric name."
    )
    maximum_regression: Unit = Field(
        default="0.02", description="How much a score may fall below that of the active generation."
    )


class Generations(SpecModel):
    """How index generations follow each other."""

    activation: Literal["Automatic", "Manual"] = Field(
        default="Automatic", description="Whether a complete generation answers at once or waits for `pinned`."
    )
    retain: int = Field(default=1, ge=0, le=10, description="Earlier generations that are kept for a way back.")
    pinned: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Generation that must answer; left out means the newest."
    )
    gate: QualityGate | None = Field(default=None, description="What a new generation must reach before it answers.")


class MaskingRule(SpecModel):
    """One kind of personal data that is replaced before anything is embedded or stored."""

    name: ShortText = Field(description="Name that stands in place of what was found.")
    kind: Literal["Email", "Phone", "Iban", "CardNumber", "Pattern"] = Field(description="What is looked for.")
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = Field(
        default=None, description="Regular expression for kind Pattern, in RE2's syntax."
    )
    region: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$", max_length=2)] | None = Field(
        default=None,
        description="Country, as ISO 3166 names it by two letters, whose numbers kind Phone also finds as they are "
        "written at home; left out means that only numbers with a country code (+49 ...) are found.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(self.kind == 'Pattern') == has(self.pattern)",
            message="pattern belongs to kind Pattern and to no other",
            field="pattern",
            holds=lambda value: (value.kind == "Pattern") == (value.pattern is not None),
        ),
        Rule(
            cel="self.kind == 'Phone' || !has(self.region)",
            message="region belongs to kind Phone and to no other",
            field="region",
            holds=lambda value: value.kind == "Phone" or value.region is None,
        ),
    )


class DataPolicy(SpecModel):
    """What must not reach the index."""

    masking: tuple[MaskingRule, ...] = Field(default=(), max_length=32, description="Masking rules, in order.")

    rules: ClassVar[tuple[Rule, ...]] = (unique("masking", "name"),)


class Backup(SpecModel):
    """When and where snapshots go."""

    schedule: Cron = Field(description="When, in cron's five fields or a shorthand such as @daily.")
    retain: int = Field(default=7, ge=1, le=365, description="Snapshots that are kept.")
    destination: S3Location = Field(description="Bucket that holds the snapshots.")


class RestoreFrom(SpecModel):
    """A snapshot that a new knowledge base begins with."""

    source: S3Location = Field(description="Bucket that holds the snapshot.")
    snapshot: ShortText = Field(description="Name of the snapshot.")


class KnowledgeBaseSpec(SpecModel):
    """One corpus and everything that turns its documents into an index."""

    embedding: Embedding = Field(description="The dense embedding model and who serves it.")
    sparse: Sparse = Field(default_factory=Sparse, description="BM25 term weights beside the dense vectors.")
    chunking: Chunking = Field(default_factory=Chunking, description="How a document is cut into chunks.")
    parsing: Parsing = Field(default_factory=Parsing, description="Which documents are read, within which bounds.")
    partitioning: Partitioning = Field(
        default_factory=Partitioning, description="How the corpus is divided among readers."
    )
    vector_store: VectorStore | None = Field(
        default=None, description="The Qdrant server; left out means in process (embedded mode)."
    )
    messaging: Messaging | None = Field(
        default=None, description="The Kafka cluster; left out means a log in the data directory (embedded mode)."
    )
    blob_store: BlobStore | None = Field(
        default=None, description="Where documents' bytes lie; left out means the data directory (embedded mode)."
    )
    workers: Workers = Field(default_factory=Workers, description="The embedding workers and how they scale.")
    generations: Generations = Field(
        default_factory=Generations, description="How index generations follow each other."
    )
    data_policy: DataPolicy = Field(default_factory=DataPolicy, description="What must not reach the index.")
    backup: Backup | None = Field(default=None, description="When and where snapshots go; left out means never.")
    restore_from: RestoreFrom | None = Field(default=None, description="A snapshot to begin with.")
    network_policy: NetworkPolicy = Field(default_factory=NetworkPolicy, description="Which traffic pods may have.")
    observability: Traced = Field(default_factory=Traced, description="What is traced of ingestion.")
    allowed_namespaces: tuple[NamespaceName, ...] = Field(
        default=(), max_length=64, description="Other namespaces whose endpoints may use this knowledge base."
    )
    deletion_policy: Literal["Retain", "Delete"] = Field(
        default="Retain", description="What happens to collections, topics and blobs when the resource is deleted."
    )
    suspend: bool = Field(default=False, description="Whether ingestion into this knowledge base stands still.")

    rules: ClassVar[tuple[Rule, ...]] = (
        immutable("blob_store", optional=True),
        unique("allowed_namespaces"),
        Rule(
            cel="!has(self.messaging) || self.workers.maxReplicas <= self.messaging.partitions",
            message="workers.maxReplicas must not be greater than messaging.partitions: "
            "a partition feeds one worker at a time",
            field="workers.maxReplicas",
            holds=lambda value: value.messaging is None or value.workers.max_replicas <= value.messaging.partitions,
        ),
        Rule(
            cel="self.chunking.size <= self.embedding.maxInputTokens - 2",
            message="chunking.size must leave room for two special tokens below embedding.maxInputTokens",
            field="chunking.size",
            holds=lambda value: bool(value.chunking.size <= value.embedding.max_input_tokens - 2),
        ),
    )
