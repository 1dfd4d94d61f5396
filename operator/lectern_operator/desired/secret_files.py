"""Which keys of which Secrets lie as which files in a pod: the other half of the paths in a settings file.

`wiring` writes the paths into the settings; here the same purposes become one projected volume. A test holds the
two together. Values never pass through the operator.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lectern_contract import names
from lectern_contract.names import Role
from lectern_contract.resources import IngestionSource, KnowledgeBase, RagEndpoint
from lectern_contract.resources.common import CredentialsRef, SecretKeyRef
from lectern_operator.desired import cache_salt
from lectern_operator.desired.metadata import Manifest

VOLUME = "secrets"
API_KEYS_VOLUME = "api-keys"
MODE = 0o440


@dataclass(frozen=True, slots=True, order=True)
class SecretFile:
    """One key of one Secret, and the file that it becomes below the role's directory."""

    path: str
    secret: str
    key: str


def embedder(kb: KnowledgeBase, prefix: str = "") -> list[SecretFile]:
    """Return the files of the embedding server's client."""
    server = kb.spec.embedding.server
    if server is None or server.external is None:
        return []
    external = server.external
    return [
        *_key(f"{prefix}embedder-api-key", external.api_key_secret_ref),
        *_key(f"{prefix}embedder-ca", external.ca_secret_ref),
    ]


def vector_store(kb: KnowledgeBase, prefix: str = "") -> list[SecretFile]:
    """Return the files of the vector store's client."""
    store = kb.spec.vector_store
    if store is None:
        return []
    return [
        *_key(f"{prefix}vector-store-api-key", store.api_key_secret_ref),
        *_key(f"{prefix}vector-store-ca", store.ca_secret_ref),
    ]


def log(kb: KnowledgeBase) -> list[SecretFile]:
    """Return the files of the broker's client."""
    kafka = kb.spec.messaging
    if kafka is None:
        return []
    return [
        *_named("kafka-username", kafka.credentials_secret_ref, "username"),
        *_named("kafka-password", kafka.credentials_secret_ref, "password"),
        *_key("kafka-ca", kafka.ca_secret_ref),
    ]


def blobs(kb: KnowledgeBase) -> list[SecretFile]:
    """Return the files of the blob store's client."""
    store = kb.spec.blob_store
    if store is None or store.s3 is None:
        return []
    return [
        *_named("blob-access-key-id", store.s3.credentials_secret_ref, "accessKeyId"),
        *_named("blob-secret-access-key", store.s3.credentials_secret_ref, "secretAccessKey"),
        *_key("blob-ca", store.s3.ca_secret_ref),
    ]


def source(of: IngestionSource) -> list[SecretFile]:
    """Return the files of the client of the source; a Secret whose keys its owner chooses is mounted as a whole."""
    spec, found = of.spec, list[SecretFile]()
    if spec.s3 is not None:
        found += _named("source-access-key-id", spec.s3.credentials_secret_ref, "accessKeyId")
        found += _named("source-secret-access-key", spec.s3.credentials_secret_ref, "secretAccessKey")
    if spec.google_drive is not None:
        found += _key("source-credentials", spec.google_drive.credentials_secret_ref)
    if spec.share_point is not None:
        credentials = spec.share_point.credentials_secret_ref
        found += _named("source-tenant-id", credentials, "tenantId")
        found += _named("source-client-id", credentials, "clientId")
        found += _named("source-client-secret", credentials, "clientSecret")
    for member in (spec.s3, spec.http, spec.git):
        found += _key("source-ca", None if member is None else member.ca_secret_ref)
    return found


def embedding_cache(kb: KnowledgeBase) -> list[SecretFile]:
    """Return the files of the client of the Redis that keeps vectors."""
    redis = kb.spec.embedding.cache.redis
    if redis is None:
        return []
    return [
        *_named("embedding-cache-username", redis.credentials_secret_ref, "username"),
        *_named("embedding-cache-password", redis.credentials_secret_ref, "password"),
        *_key("embedding-cache-ca", redis.ca_secret_ref),
    ]


def endpoint(of: RagEndpoint) -> list[SecretFile]:
    """Return the files of the clients of an endpoint's own servers: models, answer cache."""
    spec, found = of.spec, list[SecretFile]()
    for purpose, server in (
        ("reranker", spec.reranker.server.external if spec.reranker else None),
        ("generator", spec.generation.server.external if spec.generation else None),
        ("fallback", spec.generation.fallback if spec.generation else None),
    ):
        if server is not None:
            found += _key(f"{purpose}-api-key", server.api_key_secret_ref)
            found += _key(f"{purpose}-ca", server.ca_secret_ref)
    if spec.generation is not None and spec.generation.server.managed is not None:
        found.append(SecretFile("cache-salt", names.child(of.name, Role.GENERATOR), cache_salt.KEY))
    if (redis := spec.cache.redis) is not None:
        found += _named("answer-cache-username", redis.credentials_secret_ref, "username")
        found += _named("answer-cache-password", redis.credentials_secret_ref, "password")
        found += _key("answer-cache-ca", redis.ca_secret_ref)
    return found


def api_keys(reference: CredentialsRef | None) -> tuple[list[Manifest], list[Manifest]]:
    """Return the volume and the mount of a whole Secret of API keys: which keys it has is its owner's matter."""
    if reference is None:
        return [], []
    sources = [{"secret": {"name": reference.name}}]
    volume = {"name": API_KEYS_VOLUME, "projected": {"defaultMode": MODE, "sources": sources}}
    return [volume], [{"name": API_KEYS_VOLUME, "mountPath": names.API_KEYS_DIRECTORY, "readOnly": True}]


def volumes(role: Role, files: Iterable[SecretFile]) -> tuple[list[Manifest], list[Manifest]]:
    """Return the projected volume with `files` and its mount; nothing when there are none."""
    ordered = sorted(set(files))
    if not ordered:
        return [], []
    sources = [{"secret": {"name": one.secret, "items": [{"key": one.key, "path": one.path}]}} for one in ordered]
    volume = {"name": VOLUME, "projected": {"defaultMode": MODE, "sources": sources}}
    mount = {"name": VOLUME, "mountPath": f"{names.SECRETS_DIRECTORY}/{role.value}", "readOnly": True}
    return [volume], [mount]


def _key(path: str, reference: SecretKeyRef | None) -> list[SecretFile]:
    return [] if reference is None else [SecretFile(path, reference.name, reference.key)]


def _named(path: str, reference: CredentialsRef | None, key: str) -> list[SecretFile]:
    return [] if reference is None else [SecretFile(path, reference.name, key)]
