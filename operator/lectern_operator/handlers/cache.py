"""What is known of the children: the newest body of each, by owner.

Filled by lists at the start, by events, and by the answers to our own writes, whichever is newer: nothing here gets
older. Read by `CachedCluster`, so that a pass that changes nothing asks the API server for nothing.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lectern_contract import labels
from lectern_operator.handlers.packing import Packing

Manifest = dict[str, Any]
MOST_GONE = 5_000
"""How many of those that went are remembered, so that a late event does not bring them back."""
_MADE_BY_CONTROLLERS = frozenset({"Job", "Pod"})


@dataclass(frozen=True, slots=True)
class _Child:
    kind: str
    namespace: str
    name: str
    owner: str
    version: int
    packed: bytes


class ChildCache:
    """Children by UID, and their UIDs by owner."""

    def __init__(self) -> None:
        self._packing = Packing()
        self._children: dict[str, _Child] = {}
        self._by_owner: dict[str, list[str]] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()
        self._complete: set[str] = set()
        self._unreadable: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._children)

    def children(self, kind: str, namespace: str, owner: str) -> tuple[Manifest, ...]:
        """Return the children of `kind` of the resource with the UID `owner`, by name."""
        found = [self._children[uid] for uid in self._by_owner.get(owner, ())]
        bodies = [
            self._packing.unpack(kind, each.packed)
            for each in found
            if each.kind == kind and each.namespace == namespace
        ]
        return tuple(sorted(bodies, key=lambda body: str(body["metadata"]["name"])))

    def complete(self, kind: str) -> bool:
        """Say whether all children of `kind` are here."""
        return kind in self._complete

    def unreadable(self, kind: str) -> str | None:
        """Return why the children of `kind` cannot be listed; None when they can."""
        return self._unreadable.get(kind)

    def listed(self, kind: str) -> None:
        """Take note that all children of `kind` are here."""
        self._complete.add(kind)
        self._unreadable.pop(kind, None)

    def refused(self, kind: str, reason: str) -> None:
        """Take note that the children of `kind` cannot be listed, and why."""
        self._complete.discard(kind)
        self._unreadable[kind] = reason

    def seen(self, kind: str, body: Mapping[str, Any]) -> str | None:
        """Take in a child that exists; return the UID of its owner when it is news, None when it is not."""
        metadata = body["metadata"]
        uid, version, owner = str(metadata["uid"]), int(metadata["resourceVersion"]), owner_of(kind, body)
        before = self._children.get(uid)
        if (before is not None and version <= before.version) or version <= self._gone.get(uid, -1):
            return None
        if owner is None:
            return None if before is None else self._drop(uid, version)
        if before is not None and before.owner != owner:
            self._drop(uid, version - 1)
        owner = sys.intern(owner)
        child = _Child(
            kind=sys.intern(kind),
            namespace=sys.intern(metadata["namespace"]),
            name=str(metadata["name"]),
            owner=owner,
            version=version,
            packed=self._packing.pack(kind, body),
        )
        if uid not in self._children:
            self._replaced(child)
            self._by_owner.setdefault(owner, []).append(uid)
        self._children[uid] = child
        self._gone.pop(uid, None)
        return owner

    def gone(self, uid: str, version: int) -> str | None:
        """Forget a child that went in `version`; return the UID of its owner, None when it was not known."""
        if (known := self._children.get(uid)) is not None and known.version > version:
            return None  # it came back into our sight since
        return self._drop(uid, version)

    def versions(self, kind: str, namespace: str | None = None) -> dict[str, int]:
        """Return the version of every child of `kind` by UID."""
        return {
            uid: child.version
            for uid, child in self._children.items()
            if child.kind == kind and namespace in (None, child.namespace)
        }

    def name(self, uid: str) -> str:
        """Return kind and name of a child, for messages; the UID when it is not known."""
        if (child := self._children.get(uid)) is None:
            return uid
        return f"{child.kind}/{child.name}"

    def forget(self, kind: str) -> None:
        """Drop all children of a kind: it is no longer served, or they were kept for too long without being watched."""
        self._complete.discard(kind)
        self._unreadable.pop(kind, None)
        for uid in self.versions(kind):
            self._remove(uid)

    def _drop(self, uid: str, version: int) -> str | None:
        self._gone[uid] = max(version, self._gone.pop(uid, version))
        if len(self._gone) > MOST_GONE:
            self._gone.popitem(last=False)
        return self._remove(uid)

    def _remove(self, uid: str) -> str | None:
        if (child := self._children.pop(uid, None)) is None:
            return None
        siblings = self._by_owner[child.owner]
        siblings.remove(uid)
        if not siblings:
            del self._by_owner[child.owner]
        return child.owner

    def _replaced(self, child: _Child) -> None:
        """Drop an older object of the same name: it was deleted, and its event is still on the way."""
        place = (child.kind, child.namespace, child.name)
        for uid in tuple(self._by_owner.get(child.owner, ())):
            known = self._children[uid]
            if (known.kind, known.namespace, known.name) == place and known.version < child.version:
                self._drop(uid, child.version)


def owner_of(kind: str, body: Mapping[str, Any]) -> str | None:
    """Return the UID of the resource that `body` is a child of, None where it only carries a copied label.

    What we make has an owner reference to the UID in its label. What controllers make of it has one to what we made:
    whether that is so is checked where all the children of an owner are at hand.
    """
    metadata = body["metadata"]
    uid = (metadata.get("labels") or {}).get(labels.OWNER_UID)
    owners = {reference.get("uid") for reference in metadata.get("ownerReferences") or ()}
    if not uid or not owners:
        return None
    return str(uid) if uid in owners or kind in _MADE_BY_CONTROLLERS else None
