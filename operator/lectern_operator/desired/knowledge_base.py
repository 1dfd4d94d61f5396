"""Everything that one KnowledgeBase wants to exist on the cluster, in the order in which it is applied."""

from __future__ import annotations

from lectern_contract.resources import KnowledgeBase
from lectern_operator.desired.embedding_server import embedding_server
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, owner
from lectern_operator.desired.scaler import scaler
from lectern_operator.desired.worker import worker


def manifests(
    kb: KnowledgeBase, *, generation: int, replicas: int | None, scaled: bool, images: Images
) -> list[Manifest]:
    """Return the children of `kb`; `replicas` None with `scaled` leaves the number of workers to KEDA."""
    server, messaging = kb.spec.embedding.server, kb.spec.messaging
    found: list[Manifest] = []
    if server is not None and server.managed is not None:
        found += embedding_server(owner(kb), kb.spec.embedding, server.managed, images)
    found += worker(kb, generation=generation, replicas=replicas, images=images)
    if scaled and messaging is not None:
        found += scaler(kb, messaging, generation=generation)
    return found
