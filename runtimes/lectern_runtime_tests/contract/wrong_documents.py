"""The table of documents that must be refused, and of changes that must be: one place, two judges.

`test_resources_refused.py` puts them to the models, `e2e/api_tests/test_refused.py` to the real API server.
Each row is a change to a document that both accept, and the field that the refusal must name.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KB, SOURCE, RAG = "KnowledgeBase", "IngestionSource", "RagEndpoint"
REMOVED = object()
"""In place of a value: take the field away."""

BASES: Mapping[str, Mapping[str, Any]] = {
    KB: {
        "embedding": {"model": "minilm", "dimensions": 384, "server": {"managed": {}}},
        "vectorStore": {"url": "http://qdrant:6333"},
        "messaging": {"bootstrapServers": "kafka:9092"},
        "blobStore": {"persistentVolume": {"claimName": "blobs"}},
        "partitioning": {"tenants": [{"name": "acme"}]},
        "backup": {"schedule": "@daily", "destination": {"endpoint": "http://s3:9000", "bucket": "backups"}},
        "generations": {"gate": {"minimum": {"ndcg@10": "0.8"}}},
    },
    SOURCE: {
        "knowledgeBaseRef": "handbook",
        "persistentVolume": {"claimName": "files", "path": "handbook"},
        "partition": {"tenant": "acme"},
        "metadata": {"product": "gateway"},
        "schedule": "0 2 * * *",
    },
    RAG: {
        "knowledgeBaseRefs": ["handbook"],
        "auth": {"anonymous": {"tenant": "acme", "accessLevels": ["public"]}},
        "generation": {"model": "qwen", "server": {"managed": {"tolerations": [{"operator": "Exists"}]}}},
        "cache": {"redis": {"url": "redis://redis:6379"}, "exact": {}, "semantic": {}},
        "exposure": {"httpRoute": {"gatewayName": "public"}},
    },
}


@dataclass(frozen=True)
class Wrong:
    """`changes` (path below the document to value) make the base of `kind` wrong; the refusal names `field`."""

    kind: str
    name: str
    changes: Mapping[str, Any]
    field: str

    def document(self) -> dict[str, Any]:
        """The whole wrong document."""
        return document(self.kind, self.changes)


@dataclass(frozen=True)
class Forbidden:
    """An accepted document with `before` must not become one with `after`, and the refusal names `field`."""

    kind: str
    name: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    field: str


def document(kind: str, changes: Mapping[str, Any], *, name: str = "subject") -> dict[str, Any]:
    """Return the base of `kind` with every path of `changes` set (`spec.a.b`; the path's parents are made)."""
    result: dict[str, Any] = {
        "apiVersion": "lectern.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": copy.deepcopy(dict(BASES[kind])),
    }
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = result
        for part in parents:
            place = place.setdefault(part, {})
        if value is REMOVED:
            del place[last]
        else:
            place[last] = value
    return result


def _row(kind: str, name: str, path: str, value: Any, field: str = "") -> Wrong:
    return Wrong(kind, name, {path: value}, field or path)


def _two(kind: str, name: str, first: tuple[str, Any], second: tuple[str, Any], field: str) -> Wrong:
    return Wrong(kind, name, dict((first, second)), field)


_S3 = {"endpoint": "http://s3:9000", "bucket": "documents"}
_RULE = {"pathPrefix": "public/", "tenant": "acme", "accessLevel": "public"}
_MANAGED = "spec.embedding.server.managed"
_PROMPT = "spec.generation.promptConfigMapRef"
_BROKERS = "spec.messaging.bootstrapServers"

KNOWLEDGE_BASES = (
    _row(KB, "no model", "spec.embedding.model", REMOVED),
    _row(KB, "model that is null", "spec.embedding.model", None),
    _row(KB, "empty model", "spec.embedding.model", ""),
    _row(KB, "model with a space", "spec.embedding.model", "mini lm"),
    _row(KB, "model with a newline at the end", "spec.embedding.model", "minilm\n"),
    _row(KB, "model that is a number", "spec.embedding.model", 7),
    _row(KB, "no dimensions", "spec.embedding.dimensions", REMOVED),
    _row(KB, "no dimensions at all", "spec.embedding.dimensions", 0),
    _row(KB, "dimensions beyond the store", "spec.embedding.dimensions", 65537),
    _row(KB, "dimensions in quotes", "spec.embedding.dimensions", "384"),
    _row(KB, "dimensions that are no whole number", "spec.embedding.dimensions", 384.5),
    _row(KB, "dimensions beyond 64 bits", "spec.embedding.dimensions", 2**63),
    _row(KB, "prefix too long", "spec.embedding.queryPrefix", "q" * 513),
    _row(KB, "unknown field", "spec.embedding.modle", "minilm"),
    _row(KB, "snake_case field", "spec.embedding.max_input_tokens", 128),
    _row(KB, "unknown field that is null", "spec.embeding", None),
    _row(KB, "no embedding", "spec.embedding", REMOVED),
    _row(KB, "embedding that is a list", "spec.embedding", []),
    _row(KB, "server of nobody", "spec.embedding.server", {}),
    _row(KB, "server of both", "spec.embedding.server.external", {"url": "http://tei"}, "spec.embedding.server"),
    _row(
        KB,
        "unknown protocol",
        "spec.embedding.server",
        {"external": {"url": "http://tei", "protocol": "tei"}},
        "spec.embedding.server.external.protocol",
    ),
    _row(KB, "unknown language", "spec.sparse.language", "EN"),
    _row(KB, "switch in quotes", "spec.sparse.enabled", "true"),
    _row(KB, "overlap above half of size", "spec.chunking", {"size": 100, "overlap": 51}, "spec.chunking.overlap"),
    _row(KB, "negative overlap", "spec.chunking.overlap", -1),
    _row(KB, "size beyond the model", "spec.chunking.size", 255),
    _row(KB, "no media type", "spec.parsing.mediaTypes", []),
    _row(KB, "media type twice", "spec.parsing.mediaTypes", ["text/html", "text/html"]),
    _row(KB, "media type in capitals", "spec.parsing.mediaTypes", ["TEXT/HTML"], "spec.parsing.mediaTypes[0]"),
    _row(KB, "documents of one byte", "spec.parsing.maxDocumentBytes", 1),
    _row(KB, "no time to parse", "spec.parsing.timeoutSeconds", 0),
    _row(KB, "access level twice", "spec.partitioning.accessLevels", ["public", "public"]),
    _row(KB, "null among access levels", "spec.partitioning.accessLevels", [None], "spec.partitioning.accessLevels[0]"),
    _row(
        KB, "access level with a slash", "spec.partitioning.accessLevels", ["a/b"], "spec.partitioning.accessLevels[0]"
    ),
    _row(KB, "tenant twice", "spec.partitioning.tenants", [{"name": "a"}, {"name": "a"}]),
    _row(KB, "tenant without a name", "spec.partitioning.tenants", [{}], "spec.partitioning.tenants[0].name"),
    _row(KB, "store without a scheme", "spec.vectorStore.url", "qdrant:6333"),
    _row(KB, "credentials in the url", "spec.vectorStore.url", "http://me:secret@qdrant:6333"),  # secret-scan: allow
    _row(KB, "no-break space in the url", "spec.vectorStore.url", "http://qdrant\u00a0:6333"),
    _row(KB, "key that is inline", "spec.vectorStore.apiKeySecretRef", "s3cr3t"),
    _row(KB, "secret without a key", "spec.vectorStore.apiKeySecretRef", {"name": "qdrant"}),
    _row(KB, "more confirmations than copies", "spec.vectorStore.writeConsistencyFactor", 2),
    _row(KB, "filterable field twice", "spec.vectorStore.filterableFields", [{"name": "a"}, {"name": "a"}]),
    _row(KB, "broker without a port", _BROKERS, "kafka"),
    _row(KB, "brokers with a space", _BROKERS, "a:1, b:1"),
    _row(KB, "SASL without credentials", "spec.messaging.securityProtocol", "SASL_SSL"),
    _row(KB, "blobs nowhere", "spec.blobStore", {}),
    _row(KB, "blobs in two places", "spec.blobStore.s3", _S3, "spec.blobStore"),
    _row(KB, "claim name that is no name", "spec.blobStore.persistentVolume.claimName", "Blobs"),
    _row(KB, "claim name with two dots", "spec.blobStore.persistentVolume.claimName", "a..b"),
    _row(KB, "minimum above maximum", "spec.workers.minReplicas", 5),
    _row(KB, "more workers than partitions", "spec.workers.maxReplicas", 7),
    _row(KB, "quantity without a number", "spec.workers.resources", {"requests": {"cpu": "half"}}),
    _row(KB, "quantity that is a number", "spec.workers.resources", {"limits": {"cpu": 2}}),
    _row(
        KB, "resource without a name", "spec.workers.resources", {"limits": {"": "2"}}, "spec.workers.resources.limits"
    ),
    _row(KB, "score above one", "spec.generations.gate.minimum", {"ndcg@10": "1.1"}),
    _row(KB, "score that is a number", "spec.generations.gate.minimum", {"ndcg@10": 0.8}),
    _row(KB, "generation zero", "spec.generations.pinned", 0),
    _row(
        KB, "masking twice", "spec.dataPolicy.masking", [{"name": "A", "kind": "Email"}, {"name": "A", "kind": "Iban"}]
    ),
    _row(
        KB,
        "pattern for another kind",
        "spec.dataPolicy.masking",
        [{"name": "A", "kind": "Email", "pattern": "x"}],
        "spec.dataPolicy.masking[0].pattern",
    ),
    _row(KB, "schedule of four fields", "spec.backup.schedule", "0 2 * *"),
    _row(KB, "schedule of two lines", "spec.backup.schedule", "0 2 * * *\n"),
    _row(KB, "bucket in capitals", "spec.backup.destination.bucket", "Backups"),
    _row(KB, "namespace that is no name", "spec.allowedNamespaces", ["a.b"], "spec.allowedNamespaces[0]"),
    _row(KB, "unknown deletion policy", "spec.deletionPolicy", "Forget"),
)

INGESTION_SOURCES = (
    _row(SOURCE, "no knowledge base", "spec.knowledgeBaseRef", REMOVED),
    _row(SOURCE, "knowledge base that is no label", "spec.knowledgeBaseRef", "hand.book"),
    _row(SOURCE, "no source", "spec.persistentVolume", REMOVED, "persistentVolume"),
    _row(SOURCE, "two sources", "spec.push", {}, "push"),
    _row(SOURCE, "path that leaves the root", "spec.persistentVolume.path", "a/../../b"),
    _row(SOURCE, "absolute path", "spec.persistentVolume.path", "/etc"),
    _row(SOURCE, "no claim", "spec.persistentVolume.claimName", REMOVED),
    _two(SOURCE, "http without a page", ("spec.persistentVolume", REMOVED), ("spec.http", {}), "spec.http.urls"),
    _two(
        SOURCE,
        "remote by plain http",
        ("spec.persistentVolume", REMOVED),
        ("spec.git", {"url": "http://git/x"}),
        "spec.git.url",
    ),
    _two(
        SOURCE,
        "credentials in the remote",
        ("spec.persistentVolume", REMOVED),
        ("spec.git", {"url": "https://me:secret@git/x"}),  # secret-scan: allow, it must be refused
        "spec.git.url",
    ),
    _two(
        SOURCE,
        "no article",
        ("spec.persistentVolume", REMOVED),
        ("spec.wikipedia", {"language": "de"}),
        "spec.wikipedia.titles",
    ),
    _row(SOURCE, "no partition", "spec.partition", REMOVED),
    _row(SOURCE, "no tenant", "spec.partition.tenant", REMOVED),
    _row(SOURCE, "tenant with a slash", "spec.partition.tenant", "acme/sales"),
    _row(SOURCE, "tenant beyond 63 characters", "spec.partition.tenant", "a" * 64),
    _row(SOURCE, "path prefix twice", "spec.partitionRules", [_RULE, _RULE | {"tenant": "other"}]),
    _row(SOURCE, "no glob", "spec.include", []),
    _row(SOURCE, "empty glob", "spec.exclude", [""], "spec.exclude[0]"),
    _row(SOURCE, "metadata key with a dash", "spec.metadata", {"product-line": "x"}),
    _row(SOURCE, "metadata value that is a number", "spec.metadata", {"year": 2026}, "spec.metadata.year"),
    _row(SOURCE, "metadata value that is too long", "spec.metadata", {"note": "n" * 1025}, "spec.metadata.note"),
    _row(SOURCE, "too many metadata", "spec.metadata", {f"key_{n}": "x" for n in range(33)}),
    _row(SOURCE, "schedule in words", "spec.schedule", "every night"),
    _row(SOURCE, "time zone with a space", "spec.timeZone", "Europe/ Berlin"),
    _row(SOURCE, "rate of zero", "spec.rateLimit.requestsPerSecond", "0"),
    _row(SOURCE, "rate that is a number", "spec.rateLimit.requestsPerSecond", 2),
    _row(SOURCE, "unknown prune policy", "spec.prunePolicy", "prune"),
)

RAG_ENDPOINTS = (
    _row(RAG, "no knowledge base", "spec.knowledgeBaseRefs", REMOVED),
    _row(RAG, "empty list of knowledge bases", "spec.knowledgeBaseRefs", []),
    _row(RAG, "knowledge base twice", "spec.knowledgeBaseRefs", ["a", "a"]),
    _row(RAG, "knowledge bases as a word", "spec.knowledgeBaseRefs", "handbook"),
    _row(RAG, "more passages than candidates", "spec.retrieval", {"topK": 6, "candidates": 5}, "spec.retrieval.topK"),
    _row(RAG, "weight of zero", "spec.retrieval.sparseWeight", "0"),
    _row(RAG, "score with a comma", "spec.retrieval.minScore", "0,5"),
    _row(RAG, "temperature above two", "spec.generation.temperature", "2.1"),
    _row(RAG, "answer as long as the window", "spec.generation.maxTokens", 8192),
    _row(RAG, "generation by nobody", "spec.generation.server", {}),
    _row(RAG, "prompt without a key", _PROMPT, {"name": "prompt"}, f"{_PROMPT}.key"),
    _row(
        RAG,
        "toleration with a value that means nothing",
        "spec.generation.server.managed.tolerations",
        [{"operator": "Exists", "value": "x"}],
        "spec.generation.server.managed.tolerations[0].value",
    ),
    _row(RAG, "reranker without a server", "spec.reranker", {"model": "r"}, "spec.reranker.server"),
    _row(RAG, "redis over http", "spec.cache.redis.url", "http://redis:6379"),
    _row(RAG, "credentials in the redis url", "spec.cache.redis.url", "redis://:secret@redis"),
    _row(RAG, "answers that expire at once", "spec.cache.exact.ttlSeconds", 0),
    _row(RAG, "similarity above one", "spec.cache.semantic.minSimilarity", "1.01"),
    _row(RAG, "anonymous without a tenant", "spec.auth.anonymous.tenant", REMOVED),
    _row(RAG, "anonymous without a level", "spec.auth.anonymous.accessLevels", []),
    _row(RAG, "issuer without a scheme", "spec.auth.jwt", {"issuer": "login", "audience": "x", "jwksUrl": "http://x"}),
    _row(RAG, "unknown fallback", "spec.resilience.fallbacks", ["Guess"], "spec.resilience.fallbacks[0]"),
    _row(RAG, "fallback twice", "spec.resilience.fallbacks", ["Extractive", "Extractive"]),
    _two(RAG, "two ways to scale", ("spec.replicas", 2), ("spec.autoscaling", {"maxReplicas": 4}), "autoscaling"),
    _row(
        RAG,
        "autoscaling upside down",
        "spec.autoscaling",
        {"minReplicas": 5, "maxReplicas": 4},
        "spec.autoscaling.minReplicas",
    ),
    _row(RAG, "two ways in", "spec.exposure.ingress", {"host": "a.example"}, "spec.exposure"),
    _row(RAG, "host name in capitals", "spec.exposure.httpRoute.hostnames", ["A"], "spec.exposure.httpRoute.hostnames"),
    _row(RAG, "evaluation without questions", "spec.evaluation", {}, "spec.evaluation.goldenSetConfigMapRef"),
    _row(RAG, "unknown log level", "spec.observability.logLevel", "TRACE"),
)

NAMES = (
    _row(KB, "name with a dot", "metadata.name", "hand.book"),
    _row(KB, "server of no engine", f"{_MANAGED}.engine", "TEI"),
    _row(KB, "device that is too old", f"{_MANAGED}.accelerator.computeCapability", "7.0"),
    _row(KB, "device of no generation", f"{_MANAGED}.accelerator.computeCapability", "8"),
    _row(KB, "cache that cannot be filled", f"{_MANAGED}.modelCache.offline", True),
    _row(KB, "start of no time", f"{_MANAGED}.startupSeconds", 59),
    _row(SOURCE, "name beyond 40 characters", "metadata.name", "a" * 41),
    _row(RAG, "name that begins with a digit", "metadata.name", "1st"),
    _row(RAG, "name in capitals", "metadata.name", "Handbook"),
)

WRONG: tuple[Wrong, ...] = (*KNOWLEDGE_BASES, *INGESTION_SOURCES, *RAG_ENDPOINTS, *NAMES)

_BUCKET = {"s3": _S3}
FORBIDDEN: tuple[Forbidden, ...] = (
    Forbidden(KB, "another blob store", {}, {"spec.blobStore": _BUCKET}, "spec.blobStore"),
    Forbidden(KB, "no blob store any more", {}, {"spec.blobStore": REMOVED}, "spec.blobStore"),
    Forbidden(KB, "a blob store later", {"spec.blobStore": REMOVED}, {"spec.blobStore": _BUCKET}, "spec.blobStore"),
    Forbidden(
        KB,
        "more partitions",
        {"spec.messaging.partitions": 6},
        {"spec.messaging.partitions": 7},
        "spec.messaging.partitions",
    ),
    Forbidden(KB, "default partitions changed", {}, {"spec.messaging.partitions": 12}, "spec.messaging.partitions"),
    Forbidden(SOURCE, "another knowledge base", {}, {"spec.knowledgeBaseRef": "other"}, "spec.knowledgeBaseRef"),
)
