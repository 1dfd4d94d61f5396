"""What is watched and what each event asks for: a pass over the resource itself, or over the owner of a child.

kopf watches our own kinds, by its low-level event handlers. They write nothing onto the objects: no finalizer, no
annotation with the last handled state; what has to be done is decided by comparison, not by what changed. What we make
is watched by `following`: kopf 1.45.2 loses deletes that happen while it lists anew after an error, and a dead pod that
is taken for a living one keeps its owner from being Ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kopf

from lectern_operator.clients import kinds
from lectern_operator.handlers.cache import ChildCache, owner_of
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import Priority, WorkQueue

WATCHED = {name: kind for name, kind in kinds.CHILDREN.items() if kind.watched}
WORKER_IDLE_SECONDS = 0.1
"""How long kopf keeps task, queue and last body of an object after its last event: by default long enough that the
bodies of a whole list are in memory at once."""


class View:
    """What is known of the cluster, where the news go: resources, children, and the queue of those who look again."""

    def __init__(self, inventory: Inventory, children: ChildCache, queue: WorkQueue) -> None:
        self.inventory = inventory
        self.children = children
        self.queue = queue
        self.listed_at: dict[tuple[str, str | None], str] = {}
        """By kind and scope the version of the first list of it, from which on it is watched."""

    def resource(self, event_type: str | None, body: Mapping[str, Any], priority: Priority = Priority.CHANGED) -> None:
        """Take in one of our resources and ask for a pass over it and over what depends on it."""
        take_in(event_type, body, self.inventory, self.queue, priority)

    def child(self, event_type: str | None, kind: str, body: Mapping[str, Any]) -> None:
        """Take in a child and ask for a pass over its owner, where that is one of ours and the child is news."""
        metadata = body["metadata"]
        if event_type == "DELETED":
            owner = self.children.gone(metadata["uid"], int(metadata["resourceVersion"]))
        else:
            owner = self.children.seen(kind, body)
        self.poke(owner)

    def child_gone(self, uid: str, version: int) -> None:
        """Drop a child that a list does not have, and ask for a pass over its owner."""
        self.poke(self.children.gone(uid, version))

    def poke(self, owner: str | None) -> None:
        """Ask for a pass over the resource with the UID `owner` because of a child."""
        if owner is not None and owner in self.inventory:
            self.queue.add(owner, Priority.CHILD)

    def concerns(self, kind: str, head: Mapping[str, Any]) -> bool:
        """Say whether an object with this metadata belongs here; a copied label alone is not enough."""
        return kind in kinds.OWNERS or owner_of(kind, head) is not None

    def versions(self, kind: str, namespace: str | None) -> dict[str, int]:
        """Return the version of every object of `kind` that is known, by UID."""
        known = self.inventory if kind in kinds.OWNERS else self.children
        return known.versions(kind, namespace)


def register(registry: kopf.OperatorRegistry, view: View) -> None:
    """Put the handler of our own kinds into `registry`."""

    async def resource_event(event: kopf.RawEvent, **_: Any) -> None:
        view.resource(event["type"], event["object"])

    for kind in kinds.OWNERS.values():
        kopf.on.event(*_where(kind), id="resource", registry=registry)(resource_event)


def select(settings: kopf.OperatorSettings) -> None:
    """Let kopf keep nothing of what it has told."""
    settings.queueing.idle_timeout = WORKER_IDLE_SECONDS
    settings.watching.chunk_size = 100  # kopf lists all kinds at once
    settings.scanning.disabled = True  # our kinds are served before kopf begins; needs no right to list CRDs


def take_in(
    event_type: str | None,
    body: Mapping[str, Any],
    inventory: Inventory,
    queue: WorkQueue,
    priority: Priority = Priority.CHANGED,
) -> None:
    """Remember one of our resources and ask for a pass over it and over what depends on it."""
    if event_type == "DELETED":
        asking = inventory.gone(body)
        if body["metadata"]["uid"] not in inventory:
            queue.forget(body["metadata"]["uid"])
    else:
        asking = inventory.seen(body)
    for uid in asking:
        queue.add(uid, priority)


def _where(kind: kinds.Kind) -> tuple[str, str, str]:
    return kind.group, kind.version, kind.plural
