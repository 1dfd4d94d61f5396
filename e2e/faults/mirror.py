"""Everything that is in the cluster, followed by watches of its own beside the operator's: state, counts, history.

The API server's own account of what happened: independent of the operator and of the fault proxy. The matrices
compare end states and count objects by UID with it, and keep every state of Lectern's resources for the checks of A9.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from e2e.faults.rules import masked
from e2e.testbed.api import Api, connect
from e2e.testbed.background import running
from e2e.testbed.errors import ApiRefused
from e2e.testbed.plane import ControlPlane

OWNERS = ("knowledgebases", "ingestionsources", "ragendpoints")
LEFT_OUT = frozenset(
    {
        "bindings",
        "controllerrevisions",
        "endpoints",
        "endpointslices",
        "events",
        "leases",
        "localsubjectaccessreviews",
        "podtemplates",
        "resourceclaims",
        "resourceclaimtemplates",
    }
)
MADE_BY_CONTROLLERS = frozenset({"pods", "replicasets"})
IN_EVERY_NAMESPACE = frozenset({("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")})


@dataclass(frozen=True, slots=True)
class State:
    """One state of one of Lectern's resources as the server told it; `number` orders the states of all."""

    number: int
    plural: str
    body: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The resource's name."""
        return str(self.body["metadata"]["name"])


@dataclass(slots=True)
class Seen:
    """An object as it was told last; `first` is the number of the event that brought it."""

    plural: str
    body: dict[str, Any]
    first: int


class Mirror:
    """The objects of all namespaces, by namespace and UID."""

    def __init__(self, *, keep_history: bool = True) -> None:
        self._lock = threading.Lock()
        self._keep_history = keep_history
        self._numbers = itertools.count(1)
        self._live: dict[str, dict[str, Seen]] = defaultdict(dict)
        self._created: dict[str, Counter[str]] = defaultdict(Counter)
        self._deleted: dict[str, Counter[str]] = defaultdict(Counter)
        self._history: dict[str, list[State]] = defaultdict(list)
        self._changes: Counter[str] = Counter()

    def live(self, namespace: str) -> list[Seen]:
        """Return what is in a namespace now, oldest first."""
        with self._lock:
            return sorted(self._live[namespace].values(), key=lambda each: each.first)

    def of(self, namespace: str, plural: str) -> list[dict[str, Any]]:
        """Return the objects of one kind."""
        return [each.body for each in self.live(namespace) if each.plural == plural]

    def changes(self, namespace: str) -> int:
        """Return how many changes a namespace has seen: equal numbers, equal state."""
        with self._lock:
            return self._changes[namespace]

    def counts(self, namespace: str) -> tuple[Counter[str], Counter[str]]:
        """Return how many objects were created and deleted, by kind and name without digests."""
        with self._lock:
            return Counter(self._created[namespace]), Counter(self._deleted[namespace])

    def recount(self, namespace: str) -> None:
        """Count creations and deletions of a namespace from zero."""
        with self._lock:
            self._created[namespace].clear()
            self._deleted[namespace].clear()

    def history(self, namespace: str) -> list[State]:
        """Return every state of Lectern's resources in a namespace, in order."""
        with self._lock:
            return list(self._history[namespace])

    def namespaces(self) -> list[str]:
        """Return the namespaces of which states were kept."""
        with self._lock:
            return sorted(self._history)

    def forget(self, namespace: str) -> None:
        """Drop what is known of a namespace but its history."""
        with self._lock:
            self._live.pop(namespace, None)

    # --- in the mirror's own loop -----------------------------------------------------------------------------------

    async def follow(self, api: Api, plural: str, path: str) -> None:
        """Take in one kind for ever."""
        async for event in api.watch(path):
            if event.kind == "listed":
                self._relisted(plural, {each["metadata"]["uid"] for each in event.objects})
            for body in event.objects:
                self._take(plural, body, deleted=event.kind == "DELETED")

    def _relisted(self, plural: str, uids: set[str]) -> None:
        with self._lock:
            gone = [
                seen.body
                for objects in self._live.values()
                for uid, seen in objects.items()
                if seen.plural == plural and uid not in uids
            ]
        for body in gone:
            self._take(plural, body, deleted=True)

    def _take(self, plural: str, body: dict[str, Any], *, deleted: bool) -> None:
        metadata = body["metadata"]
        metadata.pop("managedFields", None)
        namespace, uid = metadata.get("namespace", ""), metadata["uid"]
        with self._lock:
            number = next(self._numbers)
            self._changes[namespace] += 1
            known = self._live[namespace].get(uid)
            name = f"{plural}/{masked(metadata['name'])}"
            if deleted:
                self._live[namespace].pop(uid, None)
                self._deleted[namespace][name] += 1
            elif known is None:
                self._live[namespace][uid] = Seen(plural, body, number)
                self._created[namespace][name] += 1
            else:
                known.body = body
            if plural in OWNERS and self._keep_history and not deleted:
                self._history[namespace].append(State(number, plural, copy.deepcopy(body)))


@contextmanager
def mirror(plane: ControlPlane, *, keep_history: bool = True) -> Iterator[Mirror]:
    """Follow every kind that has namespaced objects until the block ends."""
    found = Mirror(keep_history=keep_history)

    async def body(started: Callable[[], None]) -> None:
        async with connect(plane.rest) as api, asyncio.TaskGroup() as tasks:
            for plural, path in _collections(plane).items():
                tasks.create_task(found.follow(api, plural, path))
            started()

    with running("mirror", body):
        yield found


def _collections(plane: ControlPlane) -> dict[str, str]:
    """Return the path of every namespaced kind that can be watched, by its plural name."""
    versions = ["/api/v1"]
    for group in plane.request("GET", "/apis")["groups"]:
        versions.append(f"/apis/{group['preferredVersion']['groupVersion']}")
    found: dict[str, str] = {}
    for version in versions:
        try:
            resources = plane.request("GET", version)["resources"]
        except ApiRefused as refused:
            if refused.status in (404, 503):  # a group whose kinds are being removed
                continue
            raise
        for each in resources:
            plural = each["name"]
            if each["namespaced"] and "watch" in each["verbs"] and "/" not in plural and plural not in LEFT_OUT:
                found.setdefault(plural, f"{version}/{plural}")
    return found
