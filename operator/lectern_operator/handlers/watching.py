"""What kopf watches and what each event asks for: a pass over the resource itself, or over the owner of a child.

Only low-level event handlers are used. They write nothing onto the objects: no finalizer, no annotation with the last
handled state; what has to be done is decided by comparison, not by what changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kopf

from lectern_contract import labels
from lectern_operator.clients import kinds
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import WorkQueue


def register(registry: kopf.OperatorRegistry, inventory: Inventory, queue: WorkQueue) -> None:
    """Put the handlers into `registry`: one for our own kinds, one for what we make."""

    async def resource_event(event: kopf.RawEvent, **_: Any) -> None:
        take_in(event["type"], event["object"], inventory, queue)

    async def child_event(event: kopf.RawEvent, **_: Any) -> None:
        poke_owner(event["object"], inventory, queue)

    for kind in kinds.OWNERS.values():
        kopf.on.event(*_where(kind), id="resource", registry=registry)(resource_event)
    for kind in kinds.CHILDREN.values():
        kopf.on.event(*_where(kind), id="child", registry=registry)(child_event)


def select(settings: kopf.OperatorSettings) -> None:
    """Let the API server send only those children that carry our label."""
    for kind in kinds.CHILDREN.values():
        settings.watching.label_selectors[_where(kind)] = labels.OWNER_UID


def take_in(event_type: str | None, body: Any, inventory: Inventory, queue: WorkQueue) -> None:
    """Remember one of our resources and ask for a pass over it and over what depends on it."""
    body = dict(body)
    if event_type == "DELETED":
        queue.forget(body["metadata"]["uid"])
        asking = inventory.gone(body)
    else:
        asking = inventory.seen(body)
    for uid in asking:
        queue.add(uid)


def poke_owner(body: Mapping[str, Any], inventory: Inventory, queue: WorkQueue) -> None:
    """Ask for a pass over the owner of a child, where it is one of ours and still there."""
    uid = body["metadata"].get("labels", {}).get(labels.OWNER_UID, "")
    if inventory.get(uid) is not None:
        queue.add(uid)


def _where(kind: kinds.Kind) -> tuple[str, str, str]:
    group, _, version = kind.api_version.rpartition("/")
    return group, version, kind.plural
