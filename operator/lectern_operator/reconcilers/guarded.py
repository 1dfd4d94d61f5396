"""A pass writes only what the newest specs say: what it read them from is looked at live before its first write.

The body that a pass begins with came by a watch, which may be minutes behind after a restart, and so did the
knowledge base that a source or an endpoint names. A pass that writes nothing asks for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lectern_operator.clients.errors import Outdated
from lectern_operator.facts import Fact
from lectern_operator.reconcilers.world import Cluster, Manifest, World


def within(world: World, body: Mapping[str, Any]) -> World:
    """Return `world` for one pass over `body`: its cluster takes no write when `body` is not the newest any more."""
    return replace(world, cluster=Guarded(world.cluster, body))


async def confirm(world: World) -> None:
    """Raise `Outdated` or `NotFound` unless the pass is about the newest spec; for writes outside the cluster."""
    if isinstance(world.cluster, Guarded):
        await world.cluster.confirm()


class Guarded:
    """The cluster for one pass over `body`."""

    def __init__(self, cluster: Cluster, body: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self._unconfirmed = {_place(body): _identity(body["metadata"])}

    async def confirm(self) -> None:
        """Look live at the owner and at what was read of others, at each once in a pass."""
        while self._unconfirmed:
            (kind, namespace, name), identity = self._unconfirmed.popitem()
            try:
                live = await self._cluster.get(kind, namespace, name)
                if _identity(live["metadata"]) != identity:
                    raise Outdated(
                        f"{kind} {name} was changed, replaced or deleted since it was read; "
                        "nothing is written from what it said before"
                    )
            except BaseException:
                self._unconfirmed[kind, namespace, name] = identity
                raise

    async def children(self, kind: str, namespace: str, owner_uid: str) -> tuple[Manifest, ...]:
        """Return what the cluster returns."""
        return await self._cluster.children(kind, namespace, owner_uid)

    async def owner(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return what the cluster returns; what is written from it asks whether it is still so."""
        found = await self._cluster.owner(kind, namespace, name)
        self._unconfirmed[_place(found)] = _identity(found["metadata"])
        return found

    async def owners(self, kind: str, namespace: str | None) -> tuple[Manifest, ...]:
        """Return what the cluster returns."""
        return await self._cluster.owners(kind, namespace)

    async def naming(self, namespace: str, name: str) -> tuple[Manifest, ...]:
        """Return what the cluster returns."""
        return await self._cluster.naming(namespace, name)

    async def served(self, kind: str) -> Fact[bool]:
        """Return what the cluster returns."""
        return await self._cluster.served(kind)

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return what the cluster returns."""
        return await self._cluster.get(kind, namespace, name)

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply `manifest` after a look at the owner."""
        await self.confirm()
        return await self._cluster.apply(manifest)

    async def apply_new(self, manifest: Manifest) -> Manifest:
        """Apply `manifest` after a look at the owner."""
        await self.confirm()
        return await self._cluster.apply_new(manifest)

    async def hold(self, manifest: Manifest) -> None:
        """Hold the fields of `manifest` after a look at the owner."""
        await self.confirm()
        await self._cluster.hold(manifest)

    async def delete(self, observed: Manifest) -> None:
        """Delete the object after a look at the owner."""
        await self.confirm()
        await self._cluster.delete(observed)

    async def lost(self, observed: Manifest) -> None:
        """Hand it on."""
        await self._cluster.lost(observed)

    async def write_status(self, observed: Manifest, status: Mapping[str, Any]) -> Manifest:
        """Write the status: the API server itself refuses one onto another version."""
        return await self._cluster.write_status(observed, status)


def _place(body: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(body["kind"]), str(body["metadata"]["namespace"]), str(body["metadata"]["name"])


def _identity(metadata: Mapping[str, Any]) -> tuple[str, int, bool]:
    return str(metadata["uid"]), int(metadata.get("generation", 0)), bool(metadata.get("deletionTimestamp"))
