"""The cluster as a pass sees it: reads from memory, writes through to the API server, their answers into memory.

What is read may be behind by as much as the watches are. Whoever writes asks `get`, which is always live, and what it
finds is taken in as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lectern_contract import labels
from lectern_operator.clients import kinds
from lectern_operator.clients.errors import NotFound, NotServed, Refused
from lectern_operator.facts import Fact, Known
from lectern_operator.handlers.served import Served
from lectern_operator.handlers.watching import View
from lectern_operator.reconcilers.world import Cluster

Manifest = dict[str, Any]


class CachedCluster:
    """`live` behind what `view` and `served` know of it."""

    def __init__(self, live: Cluster, view: View, served: Served) -> None:
        self._live = live
        self._view = view
        self._served = served

    async def children(self, kind: str, namespace: str, owner_uid: str) -> tuple[Manifest, ...]:
        """Return the children of `kind`; a kind that is not listed, or not yet, may have more than are known."""
        cache = self._view.children
        if self._served(kind) == Known(value=False):
            raise NotServed(f"the kind {kind} is not known to the API server")
        if (reason := cache.unreadable(kind)) is not None:
            raise Refused(reason, status=403)
        if kinds.ALL[kind].watched and not cache.complete(kind):
            return await self._live.children(kind, namespace, owner_uid)
        return cache.children(kind, namespace, owner_uid)

    async def owner(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one of our resources; one that no watch has told of is asked for."""
        found = self._view.inventory.find(kind, namespace, name)
        return found if found is not None else await self.get(kind, namespace, name)

    async def owners(self, kind: str, namespace: str | None) -> tuple[Manifest, ...]:
        """Return all objects of one of our kinds, live."""
        return await self._live.owners(kind, namespace)

    async def naming(self, namespace: str, name: str) -> tuple[Manifest, ...]:
        """Return what names that knowledge base."""
        return self._view.inventory.naming(namespace, name)

    async def served(self, kind: str) -> Fact[bool]:
        """Say whether the API server knows `kind`."""
        return self._served(kind)

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object as it is now."""
        before = self._view.inventory.find(kind, namespace, name)
        try:
            found = await self._live.get(kind, namespace, name)
        except NotFound:
            if before is not None:
                self._view.resource("DELETED", before)
            raise
        if kind in kinds.OWNERS:
            self._view.resource(None, found)
        elif kind in kinds.CHILDREN:
            self._take_in(found)
        return found

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply `manifest` and return the object."""
        return self._take_in(await self._live.apply(manifest))

    async def apply_new(self, manifest: Manifest) -> Manifest:
        """Apply `manifest` where there is no object of that name, and return it."""
        return self._take_in(await self._live.apply_new(manifest))

    async def hold(self, manifest: Manifest) -> None:
        """Hold the fields of `manifest`."""
        await self._live.hold(manifest)

    async def delete(self, observed: Manifest) -> None:
        """Delete the very object that was observed."""
        await self._live.delete(observed)
        await self.lost(observed)  # where a finalizer holds it back, its next event brings it back here

    async def lost(self, observed: Manifest) -> None:
        """Forget a child."""
        metadata = observed["metadata"]
        self._view.children.gone(metadata["uid"], int(metadata["resourceVersion"]))

    async def write_status(self, observed: Manifest, status: Mapping[str, Any]) -> Manifest:
        """Replace the status of `observed`, unless the object has changed since."""
        return await self._live.write_status(observed, status)

    def _take_in(self, body: Manifest) -> Manifest:
        if labels.OWNER_UID in (body["metadata"].get("labels") or {}):
            self._view.children.seen(body["kind"], body)
        return body
