"""What is watched and what each event asks for: a pass over the resource itself, or over the owner of a child.

kopf watches our own kinds and the children of kinds that every cluster has; `following` watches the kinds that other
projects bring, because kopf finds those by a right that the operator of one namespace has not. Only kopf's low-level
event handlers are used. They write nothing onto the objects: no finalizer, no annotation with the last handled state;
what has to be done is decided by comparison, not by what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import kopf

from lectern_contract import labels
from lectern_operator.clients import kinds
from lectern_operator.handlers.cache import ChildCache, owner_of
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import Priority, WorkQueue

WATCHED = {name: kind for name, kind in kinds.CHILDREN.items() if kind.watched}
BY_KOPF = {name: kind for name, kind in WATCHED.items() if not kind.optional}
FOLLOWED = {name: kind for name, kind in WATCHED.items() if name not in BY_KOPF}
WORKER_IDLE_SECONDS = 0.1
"""How long kopf keeps task, queue and last body of an object after its last event: by default long enough that the
bodies of a whole list are in memory at once, 29 KB for each child instead of 8 and less."""
Handler = Callable[..., Coroutine[Any, Any, None]]


class View:
    """What is known of the cluster, where the news go: resources, children, and the queue of those who look again."""

    def __init__(self, inventory: Inventory, children: ChildCache, queue: WorkQueue) -> None:
        self.inventory = inventory
        self.children = children
        self.queue = queue

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
    """Put the handlers into `registry`: one for our own kinds, one for each kind of what we make."""

    async def resource_event(event: kopf.RawEvent, **_: Any) -> None:
        view.resource(event["type"], event["object"])

    for kind in kinds.OWNERS.values():
        kopf.on.event(*_where(kind), id="resource", registry=registry)(resource_event)
    for kind in BY_KOPF.values():
        kopf.on.event(*_where(kind), id="child", registry=registry)(_child_event(kind, view))


def select(settings: kopf.OperatorSettings) -> None:
    """Let the API server send only those children that carry our label, and kopf keep nothing of them."""
    settings.queueing.idle_timeout = WORKER_IDLE_SECONDS
    settings.watching.chunk_size = 100  # kopf lists all kinds at once
    settings.scanning.disabled = True  # our kinds are served before kopf begins; needs no right to list CRDs
    for kind in BY_KOPF.values():
        settings.watching.label_selectors[_where(kind)] = labels.OWNER_UID


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


def _child_event(kind: kinds.Kind, view: View) -> Handler:
    async def child_event(event: kopf.RawEvent, **_: Any) -> None:
        view.child(event["type"], kind.name, event["object"])

    return child_event


def _where(kind: kinds.Kind) -> tuple[str, str, str]:
    return kind.group, kind.version, kind.plural
