"""The reranker of a RagEndpoint: a server of Text Embeddings Inference that scores passages, and what surrounds it.

Called by `desired.rag_endpoint` when `spec.reranker.server.managed` is set.
"""

from __future__ import annotations

from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase, RagEndpoint
from lectern_contract.resources.common import ManagedServer
from lectern_contract.resources.rag_endpoint import Reranker
from lectern_operator.desired.disruption import disruption_budget
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, owner
from lectern_operator.desired.model_access import model_access
from lectern_operator.desired.text_embeddings import text_embeddings

QUESTION_TOKENS = 512
"""Room for the question beside each passage that it is scored with."""


def reranker(
    endpoint: RagEndpoint,
    wanted: Reranker,
    server: ManagedServer,
    searched: list[KnowledgeBase],
    images: Images,
    *,
    monitored: bool,
) -> list[Manifest]:
    """Return the manifests of the server of `wanted`, which scores passages of the `searched` knowledge bases."""
    of = owner(endpoint)
    found = model_access(endpoint, Role.RERANKER, server, images, monitored=monitored)
    found += text_embeddings(
        of,
        Role.RERANKER,
        wanted.model,
        wanted.revision,
        server,
        images,
        longest_input=QUESTION_TOKENS + max(kb.spec.chunking.size for kb in searched),
        # all candidates in one request: their scores come within the deadline or not at all
        inputs=wanted.candidates,
    )
    if server.replicas > 1:
        found.append(disruption_budget(of, Role.RERANKER))
    return found
