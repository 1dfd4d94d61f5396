"""DOUBLES of what the operator asks beside the cluster, for transition tests: embedding servers and running pods.

The broker and the store have doubles of their own (`fake_broker`, `fake_vector_store`); Secrets and ConfigMaps are read
from the fake cluster. What they do not show: HTTP, time, failures other than those that a test sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lectern_contract import labels
from lectern_operator.clients.contents import Contents
from lectern_operator.clients.embedder import EmbedderServer
from lectern_operator.facts import Fact, Known
from lectern_operator.facts.outside import EmbedderFacts, Loaded
from lectern_operator.reconcilers.outside import Outside
from lectern_operator_tests.fake_broker import FakeBrokers
from lectern_operator_tests.fake_broker import FakeCluster as KafkaCluster
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.fake_vector_store import FakeServer, FakeStores

MODELS: dict[str, EmbedderFacts] = {
    "intfloat/e5-base-v2": EmbedderFacts(768, 512, 32),
    "sentence-transformers/all-MiniLM-L6-v2": EmbedderFacts(384, 512, 32),
    "text-embedding-3-small": EmbedderFacts(1536, 8191, None),
}
"""What servers return, by model."""


class FakeEmbedders:
    """Embedding servers: `answers` by model; `asked` are the servers that were looked at."""

    def __init__(self) -> None:
        self.answers: dict[str, Fact[EmbedderFacts]] = {name: Known(facts) for name, facts in MODELS.items()}
        self.asked: list[EmbedderServer] = []

    async def look(self, server: EmbedderServer) -> Fact[EmbedderFacts]:
        """Return what the model's server does."""
        self.asked.append(server)
        return self.answers[server.model]


class FakeRuntimes:
    """Running pods: each has loaded what its annotation says it was given, or what `answers` says of its name."""

    def __init__(self) -> None:
        self.answers: dict[str, Fact[Loaded]] = {}

    async def loaded(self, pod: Mapping[str, Any]) -> Fact[Loaded]:
        """Return what a pod has loaded."""
        metadata = pod["metadata"]
        given = (metadata.get("annotations") or {}).get(labels.SETTINGS, "")
        return self.answers.get(metadata["name"], Known(Loaded(given, 1)))


class FakeOutside:
    """All doubles of one test."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.embedders = FakeEmbedders()
        self.runtimes = FakeRuntimes()
        self.brokers = FakeBrokers({"kafka:9092": KafkaCluster(brokers=3)})
        self.stores = FakeStores({"http://qdrant:6333": FakeServer()})
        self._cluster = cluster
        self._time = 0.0

    def outside(self) -> Outside:
        """Return them as a reconciler is given them; no answer about Secrets is kept."""
        return Outside(
            contents=Contents(self._cluster, self._later),
            embedders=self.embedders,
            runtimes=self.runtimes,
            brokers=self.brokers,
            stores=self.stores,
        )

    def _later(self) -> float:
        self._time += 60.0
        return self._time
