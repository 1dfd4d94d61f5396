"""What a reconciler may ask beside the cluster, as protocols: `clients` has the real ones, tests have doubles.

How often systems that tell no events are looked at is decided here as well: often enough that a change by hand is
seen within seconds, seldom enough that the whole of an operator's looks stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lectern_operator.clients.embedder import EmbedderServer
from lectern_operator.facts import Fact
from lectern_operator.facts.outside import Content, EmbedderFacts, Loaded

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


@dataclass(frozen=True, slots=True)
class Outside:
    """Everything outside the cluster, and `knowledge_bases`, how many of them share the looks."""

    contents: Contents
    embedders: Embedders
    runtimes: Runtimes
    knowledge_bases: Callable[[], int] = lambda: 1

    def look_again_after(self) -> float:
        """Return after how many seconds a knowledge base looks at its broker and its store although nothing came."""
        return max(SOONEST_SECONDS, self.knowledge_bases() / LOOKS_PER_SECOND)
