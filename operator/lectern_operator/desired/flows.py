"""Where the servers of a KnowledgeBase are, as ends of the flows that a network policy lets through.

Used by every builder whose pods speak to them: workers, connectors, query services.
"""

from __future__ import annotations

from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase
from lectern_operator.desired.metadata import owner
from lectern_operator.desired.network_policy import Peer, role_of, servers


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
