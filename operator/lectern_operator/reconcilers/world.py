"""What a reconciler is given: the cluster, the images, the clock; and what it gives back.

`main` makes the real one; tests pass a fake cluster that passes the same contract suite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from lectern_contract.resources.status import IngestionSourceStatus, KnowledgeBaseStatus, RagEndpointStatus
from lectern_operator.desired.images import Images
from lectern_operator.facts import Fact
from lectern_operator.reconcilers.outside import Outside
from lectern_operator.reconcilers.parsed import Parsed

Manifest = dict[str, Any]


class Cluster(Protocol):
    """The Kubernetes API as `handlers.cached_cluster` offers it; its errors are those of `clients.errors`.

    `children`, `owner`, `naming` and `served` tell what the watches told last and cost no request; `get` asks now.
    """

    async def children(self, kind: str, namespace: str, owner_uid: str) -> tuple[Manifest, ...]:
        """Return all objects of `kind` that carry the label of `owner_uid`."""
        ...

    async def owner(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object of Lectern's kinds."""
        ...

    async def owners(self, kind: str, namespace: str | None) -> tuple[Manifest, ...]:
        """Return all objects of one of Lectern's kinds."""
        ...

    async def naming(self, namespace: str, name: str) -> tuple[Manifest, ...]:
        """Return what names that KnowledgeBase in its spec, in any namespace: kind, name, namespace and references."""
        ...

    async def served(self, kind: str) -> Fact[bool]:
        """Say whether the API server knows `kind`."""
        ...

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object as it is now."""
        ...

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply `manifest` and return the object; one that names a UID is `Outdated` for any other object."""
        ...

    async def apply_new(self, manifest: Manifest) -> Manifest:
        """Apply `manifest` where there is no object of that name, and return it; `Outdated` when there is one."""
        ...

    async def hold(self, manifest: Manifest) -> None:
        """Apply `manifest` as `names.SCALING_MANAGER`, unless somebody has set its fields to something else."""
        ...

    async def delete(self, observed: Manifest) -> None:
        """Delete the very object that was observed."""
        ...

    async def lost(self, observed: Manifest) -> None:
        """Take note that a child that was observed was looked for and is not there any more."""
        ...

    async def write_status(self, observed: Manifest, status: Mapping[str, Any]) -> Manifest:
        """Replace the status of `observed`, unless the object has changed since."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside that a pass may touch or ask."""

    cluster: Cluster
    images: Images
    outside: Outside
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    parsed: Parsed = field(default_factory=Parsed)

    def timestamp(self) -> str:
        """Return the time as Kubernetes writes it: RFC 3339, UTC, whole seconds."""
        return self.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def soonest(*seconds: float | None) -> float | None:
    """Return the shortest of these times; None where all of them are never."""
    return min((each for each in seconds if each is not None), default=None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass found out: the status to write, whether something was refused, and when to look again anyway.

    `concerns` are the names of sources in the same namespace that have to look again once the status is written.
    """

    status: KnowledgeBaseStatus | IngestionSourceStatus | RagEndpointStatus
    refused: bool = False
    again_after: float | None = None
    concerns: tuple[str, ...] = ()
