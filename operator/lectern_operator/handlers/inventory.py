"""What the watches told of our own kinds: the newest body of each, and who has to look again because of it.

Filled by `watching` (events), `startup` and `resync` (live lists), read by `boundary` and `CachedCluster`. A body never
gets older: an event that is an echo of our own status write, or that comes late, changes nothing.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lectern_operator.handlers.packing import Packing

Manifest = dict[str, Any]
Name = tuple[str, str]
"""Namespace and name of a knowledge base."""
MOST_GONE = 5_000
MOST_ALIKE = 1_000


@dataclass(frozen=True, slots=True)
class _Resource:
    kind: str
    namespace: str
    name: str
    version: int
    generation: int
    names: tuple[Name, ...]
    """The knowledge bases that its spec names."""
    packed: bytes
    conditions: tuple[tuple[str, str], ...]
    """Type and status of each."""


class Inventory:
    """Resources by UID, by name, and by the knowledge bases that they name."""

    def __init__(self) -> None:
        self._packing = Packing()
        self._resources: dict[str, _Resource] = {}
        self._by_name: dict[tuple[str, str, str], str] = {}
        self._naming: dict[Name, dict[str, None]] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()
        self._alike: dict[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]] = {}

    def __len__(self) -> int:
        return len(self._resources)

    def __contains__(self, uid: str) -> bool:
        return uid in self._resources

    def get(self, uid: str) -> Manifest | None:
        """Return the newest body of `uid`; None when it is gone."""
        found = self._resources.get(uid)
        return None if found is None else self._packing.unpack(found.kind, found.packed)

    def find(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return the newest body of the resource of that name; None when there is none."""
        return self.get(self._by_name.get((kind, namespace, name), ""))

    def naming(self, namespace: str, name: str) -> tuple[Manifest, ...]:
        """Return what names the knowledge base `name` of `namespace` in its spec, in any namespace.

        Of each only kind, name, namespace and the references as namespace/name: a knowledge base may have thousands.
        """
        found = [self._resources[uid] for uid in self._naming.get((namespace, name), ())]
        return tuple(
            {
                "kind": each.kind,
                "metadata": {"namespace": each.namespace, "name": each.name},
                "spec": {"knowledgeBaseRefs": ["/".join(reference) for reference in each.names]},
            }
            for each in sorted(found, key=lambda each: (each.kind, each.namespace, each.name))
        )

    def uids(self) -> tuple[str, ...]:
        """Return the UIDs of all that exists."""
        return tuple(self._resources)

    def count(self, kind: str) -> int:
        """Return how many resources of `kind` there are."""
        return sum(each.kind == kind for each in self._resources.values())

    def conditions(self) -> Counter[tuple[str, str, str]]:
        """Count the resources by kind, condition and its status."""
        return Counter((each.kind, *condition) for each in self._resources.values() for condition in each.conditions)

    def versions(self, kind: str, namespace: str | None = None) -> dict[str, int]:
        """Return the version of every resource of `kind` by UID."""
        return {
            uid: each.version
            for uid, each in self._resources.items()
            if each.kind == kind and namespace in (None, each.namespace)
        }

    def seen(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """Take in a body that exists and return the UIDs that have to look again; none when nothing is new."""
        metadata = body["metadata"]
        uid, version = str(metadata["uid"]), int(metadata["resourceVersion"])
        before = self._resources.get(uid)
        if (before is not None and version <= before.version) or version <= self._gone.get(uid, -1):
            return ()
        after = self._keep(uid, body)
        if before is not None and before.generation == after.generation and "deletionTimestamp" not in metadata:
            return (uid,)
        return tuple(dict.fromkeys((uid, *self._related(after), *(self._related(before) if before else ()))))

    def gone(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """Forget a body and return the UIDs that have to look again."""
        uid, version = str(body["metadata"]["uid"]), int(body["metadata"].get("resourceVersion") or 0)
        before = self._resources.get(uid)
        if before is not None and version and version < before.version:
            return ()  # late news of an object that was seen alive after that
        self._gone[uid] = max(version, self._gone.pop(uid, version))
        if len(self._gone) > MOST_GONE:
            self._gone.popitem(last=False)
        if before is None:
            return ()
        self._drop(uid, before)
        return self._related(before)

    def wrote(self, body: Mapping[str, Any]) -> None:
        """Take in the answer to a write of our own: nobody has to look again for it."""
        uid = str(body["metadata"]["uid"])
        before = self._resources.get(uid)
        if before is not None and int(body["metadata"]["resourceVersion"]) > before.version:
            self._keep(uid, body)

    def _keep(self, uid: str, body: Mapping[str, Any]) -> _Resource:
        if (before := self._resources.get(uid)) is not None:
            self._drop(uid, before)
        metadata, kind = body["metadata"], sys.intern(body["kind"])
        namespace = sys.intern(metadata["namespace"])
        after = _Resource(
            kind=kind,
            namespace=namespace,
            name=str(metadata["name"]),
            version=int(metadata["resourceVersion"]),
            generation=int(metadata.get("generation", 0)),
            names=_references(body.get("spec"), namespace),
            packed=self._packing.pack(kind, body),
            conditions=self._conditions(body.get("status")),
        )
        self._resources[uid] = after
        self._by_name[kind, namespace, after.name] = uid
        for name in after.names:
            self._naming.setdefault(name, {})[uid] = None
        return after

    def _conditions(self, status: Any) -> tuple[tuple[str, str], ...]:
        """Return type and status of the conditions; resources that are alike share one tuple."""
        listed = status.get("conditions") if isinstance(status, Mapping) else None
        found = tuple(
            (sys.intern(str(each.get("type"))), sys.intern(str(each.get("status"))))
            for each in (listed if isinstance(listed, list | tuple) else ())
            if isinstance(each, Mapping)
        )
        if len(self._alike) >= MOST_ALIKE:
            self._alike.clear()
        return self._alike.setdefault(found, found)

    def _drop(self, uid: str, before: _Resource) -> None:
        del self._resources[uid]
        place = (before.kind, before.namespace, before.name)
        if self._by_name.get(place) == uid:  # else it was made anew under that name
            del self._by_name[place]
        for name in before.names:
            self._naming[name].pop(uid)
            if not self._naming[name]:
                del self._naming[name]

    def _related(self, resource: _Resource) -> tuple[str, ...]:
        """Return the UIDs of what has to look again when the spec of `resource` changes, comes or goes.

        What names a knowledge base depends on it; and a knowledge base says which endpoints elsewhere ask for it.
        """
        if resource.kind == "KnowledgeBase":
            return tuple(self._naming.get((resource.namespace, resource.name), ()))
        elsewhere = [name for name in resource.names if name[0] != resource.namespace]
        found = [self._by_name.get(("KnowledgeBase", *name)) for name in elsewhere]
        return tuple(uid for uid in found if uid is not None)


def _references(spec: Any, namespace: str) -> tuple[Name, ...]:
    """Return the knowledge bases that `spec` names; one that is not valid names what can be read of it."""
    if not isinstance(spec, Mapping):
        return ()
    many, one = spec.get("knowledgeBaseRefs"), spec.get("knowledgeBaseRef")
    named = [*(many if isinstance(many, list | tuple) else ()), one]
    split = [each.rpartition("/") for each in named if isinstance(each, str) and each]
    return tuple(dict.fromkeys((where or namespace, name) for where, _, name in split))
