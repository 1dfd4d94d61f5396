"""Every derived name: children, topics, consumer groups, collections, files inside a pod.

One place, pure and injective within the limits of Kubernetes, Kafka and Qdrant, so that no two
resources can meet in one object. A resource's own name has at most 40 characters (a rule of the CRD).
"""

from __future__ import annotations

from enum import StrEnum

FIELD_MANAGER = "lectern"
SCALING_MANAGER = "lectern-scaling"
"""Field manager that holds a number of replicas while it passes from the operator to an autoscaler."""
LABEL_PREFIX = "lectern.dev"

SYNC_REQUESTED = f"{LABEL_PREFIX}/sync-requested-at"
FULL_RESYNC_REQUESTED = f"{LABEL_PREFIX}/full-resync-requested-at"
REPLAY_REQUESTED = f"{LABEL_PREFIX}/replay-requested-at"
PAUSED = f"{LABEL_PREFIX}/paused"
"""Annotation that a user puts on one child: `true` makes the operator leave it as it is."""
FINALIZER = f"{LABEL_PREFIX}/external-state"
"""Holds a KnowledgeBase whose collections and topics are deleted with it until they are gone."""

SETTINGS_DIRECTORY = "/etc/lectern/settings"
SETTINGS_FILE = f"{SETTINGS_DIRECTORY}/settings.json"
SECRETS_DIRECTORY = "/etc/lectern/secrets"
API_KEYS_DIRECTORY = f"{SECRETS_DIRECTORY}/api-keys"
"""Where a Secret of API keys lies as a whole: one file for each key."""
SOURCE_CREDENTIALS_DIRECTORY = f"{SECRETS_DIRECTORY}/source-credentials"
"""Where the Secret of a source lies as a whole, because its owner chooses which keys it has."""
PROMPT_DIRECTORY = "/etc/lectern/prompt"
PROMPT_FILE = f"{PROMPT_DIRECTORY}/prompt.txt"
"""Where the key of a ConfigMap that holds a prompt template lies."""
SOURCE_DIRECTORY = "/var/lib/lectern/source"
BLOB_DIRECTORY = "/var/lib/lectern/blobs"
MODEL_CACHE_DIRECTORY = "/data"
RUNTIME_PORT = 8080
EMBEDDER_PORT = 8080


class Role(StrEnum):
    """What a child does for its owner. One word without a hyphen, and in one kind only.

    That keeps `child` injective: the last hyphen always separates owner and role.
    """

    EMBEDDER = "embedder"
    WORKER = "worker"
    CONNECTOR = "connector"
    RECEIVER = "receiver"
    QUERY = "query"
    GENERATOR = "generator"
    RERANKER = "reranker"


class Topic(StrEnum):
    """The four topics of a knowledge base; `documents` is compacted, keyed by document id."""

    AUDIT = "audit"
    DEAD_LETTERS = "dead-letters"
    DOCUMENTS = "documents"
    EVENTS = "events"


def child(owner: str, role: Role) -> str:
    """Name of the child of `owner` that does `role`: at most 50 characters, a DNS label."""
    return f"{owner}-{role.value}"


def settings_config_map(owner: str, role: Role, digest: str) -> str:
    """Name of the immutable ConfigMap with the settings of `digest` (hex): at most 61 characters."""
    return f"{child(owner, role)}-{digest[:10]}"


def one_run(owner: str, run: str) -> str:
    """Name of the Job for one asked run, `run` being a short digest of the request."""
    return f"{child(owner, Role.CONNECTOR)}-{run[:8]}"


def topic(namespace: str, knowledge_base: str, which: Topic) -> str:
    """Kafka topic: only letters, digits, '-' and '.', never '_', so that metric names cannot collide."""
    return f"lectern.{namespace}.{knowledge_base}.{which.value}"


def consumer_group(namespace: str, knowledge_base: str, generation: int) -> str:
    """Consumer group of the workers that fill one index generation."""
    return f"lectern.{namespace}.{knowledge_base}.g{generation}"


def replay_group(namespace: str, knowledge_base: str, source: str) -> str:
    """Consumer group that remembers which dead letters of a source have been replayed."""
    return f"lectern.{namespace}.{knowledge_base}.replay.{source}"


def alias(namespace: str, knowledge_base: str) -> str:
    """Alias that queries use, whichever generation stands behind it."""
    return f"{namespace}.{knowledge_base}"


def collection(namespace: str, knowledge_base: str, generation: int) -> str:
    """Collection of one index generation; the dot keeps it apart from the alias of any other knowledge base."""
    return f"{namespace}.{knowledge_base}.g{generation}"


def manifest(namespace: str, source: str) -> str:
    """Name, in the blob store, of the manifest of one source's last complete run."""
    return f"manifests/{namespace}.{source}.json"


def manifest_parts(namespace: str, source: str) -> str:
    """Beginning, in the blob store, of the names of the parts of that manifest."""
    return f"parts/{namespace}.{source}/"


def run_journal(namespace: str, source: str) -> str:
    """Beginning, in the blob store, of the names of what the runs of one source note while they last."""
    return f"runs/{namespace}.{source}/"


def secret_file(role: Role, purpose: str) -> str:
    """Path inside a pod where one secret key is mounted, for instance `vector-store-api-key`."""
    return f"{SECRETS_DIRECTORY}/{role.value}/{purpose}"


def referred(reference: str, namespace: str) -> tuple[str, str]:
    """Namespace and name of the KnowledgeBase that a resource in `namespace` names, as `name` or `namespace/name`."""
    where, _, name = reference.rpartition("/")
    return where or namespace, name


def service_url(service: str, namespace: str, port: int) -> str:
    """URL of a Service inside the cluster."""
    return f"http://{service}.{namespace}.svc:{port}"
