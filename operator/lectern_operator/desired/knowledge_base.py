"""Everything that one KnowledgeBase wants to exist on the cluster, in the order in which it is applied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lectern_contract.resources import KnowledgeBase
from lectern_operator.desired.embedding_server import embedding_server
from lectern_operator.desired.images import Images
from lectern_operator.desired.kafka_topics import kafka_topics
from lectern_operator.desired.metadata import Manifest
from lectern_operator.desired.scaler import scaler
from lectern_operator.desired.worker import worker


def manifests(
    kb: KnowledgeBase,
    *,
    generation: int,
    replicas: int | None,
    scaled: bool,
    monitored: bool = False,
    topics: Mapping[str, Mapping[str, Any]] | None = None,
    images: Images,
) -> list[Manifest]:
    """Return the children of `kb`; `replicas` None with `scaled` leaves the number of workers to KEDA.

    `monitored` says that the kind ServiceMonitor is served; `topics` are the KafkaTopics that exist, None where the
    topics are not made as such.
    """
    server, messaging = kb.spec.embedding.server, kb.spec.messaging
    found: list[Manifest] = []
    if topics is not None and messaging is not None and messaging.strimzi_cluster is not None:
        found += kafka_topics(kb, cluster=messaging.strimzi_cluster, observed=topics)
    if server is not None and server.managed is not None:
        found += embedding_server(kb, server.managed, images, monitored=monitored)
    found += worker(kb, generation=generation, replicas=replicas, monitored=monitored, images=images)
    if scaled and messaging is not None:
        found += scaler(kb, messaging, generation=generation)
    return found
