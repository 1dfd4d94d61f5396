"""Where the servers of a KnowledgeBase are, as ends of the flows that a network policy lets through.

Used by every builder whose pods speak to them: workers, connectors, query services.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from lectern_contract.names import Role
from lectern_contract.resources import IngestionSource, KnowledgeBase
from lectern_operator.desired import network_policy
from lectern_operator.desired.metadata import owner
from lectern_operator.desired.network_policy import Peer, role_of, servers

SSH_PORT = 22


def log(kb: KnowledgeBase, asking_from: str | None = None) -> tuple[Peer, ...]:
    """Return where the broker is, for pods in `asking_from` (None: the namespace of `kb`)."""
    kafka = kb.spec.messaging
    return () if kafka is None else servers(kafka.bootstrap_servers, namespace=asking_from or kb.namespace)


def blobs(kb: KnowledgeBase, asking_from: str | None = None) -> tuple[Peer, ...]:
    """Return where the bucket is, for pods in `asking_from` (None: the namespace of `kb`); nothing for a volume."""
    store = kb.spec.blob_store
    if store is None or store.s3 is None:
        return ()
    return servers(store.s3.endpoint, namespace=asking_from or kb.namespace)


def collector(kb: KnowledgeBase, asking_from: str | None = None) -> tuple[Peer, ...]:
    """Return where spans go, for pods in `asking_from` (None: the namespace of `kb`); nothing where none are asked."""
    tracing = kb.spec.observability.tracing
    return () if tracing is None else servers(tracing.endpoint, namespace=asking_from or kb.namespace)


def source(of: IngestionSource) -> tuple[Peer, ...]:
    """Return where the source is. Whom a crawl or an identity provider leads to is only known by its port."""
    spec = of.spec
    if spec.s3 is not None:
        return servers(spec.s3.endpoint, namespace=of.namespace)
    if spec.git is not None:
        return _repository(spec.git.url, of.namespace)
    if spec.http is not None:
        urls = sorted({*spec.http.urls, *spec.http.sitemaps})
        named = [peer for url in urls for peer in servers(url, namespace=of.namespace)]
        crawled = [network_policy.anywhere(80, 443)] if spec.http.max_depth or spec.http.allowed_hosts else []
        return (*named, *crawled)
    if spec.wikipedia is not None:
        return servers(spec.wikipedia.api_url or "https://wikipedia.org", namespace=of.namespace)
    if spec.google_drive is not None or spec.share_point is not None:
        return (network_policy.anywhere(443),)
    return ()


def _repository(url: str, namespace: str) -> tuple[Peer, ...]:
    if url.startswith("https://"):
        return servers(url, namespace=namespace)
    try:
        address = urlsplit(url) if url.startswith("ssh://") else urlsplit(f"ssh://{url.replace(':', '/', 1)}")
        return servers(f"{address.hostname}:{address.port or SSH_PORT}", namespace=namespace)
    except ValueError:  # leads nowhere: the connector that asks says so
        return ()


def embedding_cache(kb: KnowledgeBase) -> tuple[Peer, ...]:
    """Return where the Redis is that keeps vectors."""
    redis = kb.spec.embedding.cache.redis
    return () if redis is None else servers(redis.url, namespace=kb.namespace)


def embedder(kb: KnowledgeBase, asking_from: str | None = None) -> tuple[Peer, ...]:
    """Return where the embedding server is, for pods in `asking_from` (None: the namespace of `kb`)."""
    server, namespace = kb.spec.embedding.server, asking_from or kb.namespace
    if server is None:
        return ()
    if server.external is not None:
        return servers(server.external.url, namespace=namespace)
    return (role_of(owner(kb), Role.EMBEDDER, namespace=None if namespace == kb.namespace else kb.namespace),)


def vector_store(kb: KnowledgeBase, asking_from: str | None = None) -> tuple[Peer, ...]:
    """Return where the vector store is, for pods in `asking_from` (None: the namespace of `kb`)."""
    store = kb.spec.vector_store
    return () if store is None else servers(store.url, namespace=asking_from or kb.namespace)
