"""What the watches told of our own kinds: the newest body of each, and who has to look again because of it.

Filled by `watching` (events) and `resync` (live lists), read by `boundary`. A body never gets older: an event that is
an echo of our own status write, or that comes late, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Manifest = dict[str, Any]


class Inventory:
    """Bodies by UID."""

    def __init__(self) -> None:
        self._bodies: dict[str, Manifest] = {}

    def __len__(self) -> int:
        return len(self._bodies)

    def get(self, uid: str) -> Manifest | None:
        """Return the newest body of `uid`; None when it is gone."""
        return self._bodies.get(uid)

    def uids(self) -> tuple[str, ...]:
        """Return the UIDs of all that exists."""
        return tuple(self._bodies)

    def seen(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """Take in a body that exists and return the UIDs that have to look again; none when nothing is new."""
        uid: str = body["metadata"]["uid"]
        before = self._bodies.get(uid)
        if before is not None and _version(body) <= _version(before):
            return ()
        self._bodies[uid] = slim(body)
        if before is not None and _generation(before) == _generation(body) and not _is_deleted(body):
            return (uid,)
        return uid, *self._dependents(body)

    def gone(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """Forget a body and return the UIDs that have to look again."""
        self._bodies.pop(body["metadata"]["uid"], None)
        return self._dependents(body)

    def wrote(self, body: Mapping[str, Any]) -> None:
        """Take in the answer to a write of our own: nobody has to look again for it."""
        uid: str = body["metadata"]["uid"]
        if uid in self._bodies and _version(body) > _version(self._bodies[uid]):
            self._bodies[uid] = slim(body)

    def compare(self, live: Iterable[Mapping[str, Any]], kind: str) -> tuple[Manifest, ...]:
        """Take over a live list of `kind` and return the bodies that the watch had told otherwise, or not at all."""
        found = {body["metadata"]["uid"]: slim(body) for body in live}
        known = {uid: body for uid, body in self._bodies.items() if body["kind"] == kind}
        missed = [body for uid, body in found.items() if uid not in known or _version(body) > _version(known[uid])]
        lost = [body for uid, body in known.items() if uid not in found]
        return (*missed, *lost)

    def _dependents(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the UIDs of what names the knowledge base `body` in its spec."""
        if body["kind"] != "KnowledgeBase":
            return ()
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        return tuple(
            uid
            for uid, other in self._bodies.items()
            if other["metadata"]["namespace"] == namespace and name in _references(other)
        )


def slim(body: Mapping[str, Any]) -> Manifest:
    """Return `body` without the record of who set which field: half of its size, and never read here."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return {**body, "metadata": metadata}


def _references(body: Mapping[str, Any]) -> tuple[str, ...]:
    spec = body.get("spec") or {}
    one = spec.get("knowledgeBaseRef")
    return (*(spec.get("knowledgeBaseRefs") or ()), *((one,) if one else ()))


def _version(body: Mapping[str, Any]) -> int:
    return int(body["metadata"]["resourceVersion"])


def _generation(body: Mapping[str, Any]) -> int:
    return int(body["metadata"].get("generation", 0))


def _is_deleted(body: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in body["metadata"]
