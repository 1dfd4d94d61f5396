"""What a reconciler may ask beside the cluster, as protocols: `clients` has the real ones, tests have doubles.

How often systems that tell no events are looked at is decided here as well: often enough that a change by hand is
seen within seconds, seldom enough that the whole of an operator's looks stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lectern_contract.resources.status import DocumentCounts, SourceDocuments
from lectern_operator.clients.embedder import EmbedderServer
from lectern_operator.clients.kafka import BrokerServer
from lectern_operator.clients.qdrant import StoreServer
from lectern_operator.facts import Fact
from lectern_operator.facts.broker import BrokerState
from lectern_operator.facts.broker import Step as BrokerStep
from lectern_operator.facts.outside import Content, EmbedderFacts, Loaded
from lectern_operator.facts.vector_store import ObservedCollection, StoreState, Subject
from lectern_operator.facts.vector_store import Step as StoreStep

SOONEST_SECONDS = 8.0
LOOKS_PER_SECOND = 5.0
RETRY_SECONDS = 5.0
"""How soon a resource that waits for something outside looks again."""


class Contents(Protocol):
    """Secrets and ConfigMaps of users."""

    async def read(self, kind: str, namespace: str, name: str) -> Fact[Content | None]:
        """Return what the object holds; None when there is none."""
        ...


class Embedders(Protocol):
    """Embedding servers."""

    async def look(self, server: EmbedderServer) -> Fact[EmbedderFacts]:
        """Return what the server does."""
        ...


class Runtimes(Protocol):
    """Running pods of ours."""

    async def loaded(self, pod: Mapping[str, Any]) -> Fact[Loaded]:
        """Return what the pod's process has loaded."""
        ...


class Brokers(Protocol):
    """Kafka clusters."""

    async def look(self, server: BrokerServer, names: Sequence[str]) -> Fact[BrokerState]:
        """Return the cluster and those of the topics `names` that it has."""
        ...

    async def perform(self, server: BrokerServer, step: BrokerStep) -> Fact[None]:
        """Take a step: done, or why not."""
        ...


class Stores(Protocol):
    """Qdrant servers."""

    async def look(self, server: StoreServer, subject: Subject) -> Fact[StoreState]:
        """Return what the server has of `subject`."""
        ...

    async def documents(self, server: StoreServer, found: ObservedCollection) -> Fact[DocumentCounts]:
        """Count the documents of a collection by state."""
        ...

    async def by_source(self, server: StoreServer, found: ObservedCollection) -> Fact[tuple[SourceDocuments, ...]]:
        """Count the documents of a collection by source and state, in the order of their names."""
        ...

    async def perform(self, server: StoreServer, step: StoreStep) -> Fact[None]:
        """Take a step: done, or why not."""
        ...


@dataclass(frozen=True, slots=True)
class Outside:
    """Everything outside the cluster, and `knowledge_bases`, how many of them share the looks."""

    contents: Contents
    embedders: Embedders
    runtimes: Runtimes
    brokers: Brokers
    stores: Stores
    knowledge_bases: Callable[[], int] = lambda: 1

    def look_again_after(self) -> float:
        """Return after how many seconds a knowledge base looks at its broker and its store although nothing came."""
        return max(SOONEST_SECONDS, self.knowledge_bases() / LOOKS_PER_SECOND)
