"""What a reconciler is given: the cluster, the images, the clock; and what it gives back.

`main` makes the real one; tests pass a fake cluster that passes the same contract suite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from lectern_contract.resources.status import IngestionSourceStatus, KnowledgeBaseStatus, RagEndpointStatus
from lectern_operator.desired.images import Images

Manifest = dict[str, Any]


class Cluster(Protocol):
    """The Kubernetes API as `clients.kube.Kube` offers it; its errors are those of `clients.errors`."""

    async def children(self, kind: str, namespace: str, owner_uid: str) -> tuple[Manifest, ...]:
        """Return all objects of `kind` that carry the label of `owner_uid`."""
        ...

    async def owners(self, kind: str, namespace: str | None) -> tuple[Manifest, ...]:
        """Return all objects of one of Lectern's kinds."""
        ...

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object as it is now."""
        ...

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply `manifest` and return the object."""
        ...

    async def delete(self, observed: Manifest) -> None:
        """Delete the very object that was observed."""
        ...

    async def write_status(self, observed: Manifest, status: Mapping[str, Any]) -> Manifest:
        """Replace the status of `observed`, unless the object has changed since."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside that a pass may touch or ask."""

    cluster: Cluster
    images: Images
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def timestamp(self) -> str:
        """Return the time as Kubernetes writes it: RFC 3339, UTC, whole seconds."""
        return self.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass found out: the status to write, whether something was refused, and when to look again anyway."""

    status: KnowledgeBaseStatus | IngestionSourceStatus | RagEndpointStatus
    refused: bool = False
    again_after: float | None = None
