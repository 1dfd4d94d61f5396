"""The embedding server of a KnowledgeBase: who computes it, as whom, and who may reach it.

Called by `desired.knowledge_base` when `spec.embedding.server.managed` is set.
"""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.knowledge_base import ManagedEmbeddingServer
from lectern_operator.desired import model_cache, network_policy
from lectern_operator.desired.disruption import disruption_budget
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, owner
from lectern_operator.desired.network_policy import Peer
from lectern_operator.desired.service_account import service_account
from lectern_operator.desired.service_monitor import service_monitor
from lectern_operator.desired.text_embeddings import text_embeddings
from lectern_operator.desired.vllm import vllm

HUB_PORT = 443


def embedding_server(
    kb: KnowledgeBase, server: ManagedEmbeddingServer, images: Images, *, monitored: bool
) -> list[Manifest]:
    """Return the manifests of the server that computes the embeddings of `kb`; `monitored` with a ServiceMonitor."""
    of = owner(kb)
    found = [service_account(of, Role.EMBEDDER, pull_secrets=images.pull_secrets)]
    if kb.spec.network_policy.enabled:
        found.append(
            network_policy.network_policy(
                of,
                Role.EMBEDDER,
                port=names.EMBEDDER_PORT,
                ingress=_clients(kb, images, monitored=monitored),
                egress=() if model_cache.offline(server) else (network_policy.dns(), network_policy.anywhere(HUB_PORT)),
            )
        )
    found += _engine(kb, server, images)
    if server.replicas > 1:
        found.append(disruption_budget(of, Role.EMBEDDER))
    if monitored:
        found.append(service_monitor(of, Role.EMBEDDER, extra_labels=images.monitor_labels))
    return found


def _engine(kb: KnowledgeBase, server: ManagedEmbeddingServer, images: Images) -> list[Manifest]:
    of, embedding = owner(kb), kb.spec.embedding
    match server.engine:
        case "TextEmbeddings":
            return text_embeddings(
                of,
                Role.EMBEDDER,
                embedding.model,
                embedding.revision,
                server,
                images,
                longest_input=embedding.max_input_tokens,
            )
        case "Vllm":
            return vllm(
                of,
                Role.EMBEDDER,
                embedding.model,
                embedding.revision,
                server,
                images,
                runner="pooling",
                max_model_len=embedding.max_input_tokens,
            )


def _clients(kb: KnowledgeBase, images: Images, *, monitored: bool) -> list[Peer]:
    """Return who may reach the server: the workers, and query services wherever an endpoint may use `kb`."""
    found = [
        network_policy.role_of(owner(kb), Role.WORKER),
        network_policy.role_of_any(Role.QUERY),
        *(network_policy.role_of_any(Role.QUERY, namespace=each) for each in kb.spec.allowed_namespaces),
        network_policy.operator(images),
    ]
    return [*found, network_policy.prometheus(images)] if monitored else found
