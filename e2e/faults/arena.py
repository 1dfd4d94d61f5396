"""Where faults are tried: one control plane, broker and store, a mirror, and a namespace for each trial.

API server, etcd, controllers and Kafka are real; node, KEDA and Qdrant are the testbed's doubles.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from e2e.faults.mirror import OWNERS, Mirror, mirror
from e2e.faults.process import TREE, Operator, ended_with_block
from e2e.faults.scenarios import API_VERSION, CLAIMS, Scenario, User, World, trio
from e2e.testbed.control_plane import ControlPlane, control_plane
from e2e.testbed.errors import ApiRefused
from e2e.testbed.fake_keda import fake_keda
from e2e.testbed.fake_node import FakeNode, fake_node
from e2e.testbed.kafka import kafka
from e2e.testbed.keda import keda_crds
from e2e.testbed.qdrant_double.double import qdrant_double

KEDA_KINDS = ("keda.sh_scaledobjects", "keda.sh_triggerauthentications")
NAMESPACE_SECONDS = 30.0
PREPARE_SECONDS = 120.0
READY: Mapping[str, str] = MappingProxyType({})
POLL_SECONDS = 0.05
ROOM: Mapping[str, str] = MappingProxyType({"cpu": "100000", "memory": "100Ti", "pods": "100000"})
"""Of the one node: hundreds of namespaces are full at once, and no trial is about room."""


class NotSettled(AssertionError):
    """Without any fault the resources did not get where they should; there is nothing to compare faults with."""


@dataclass(frozen=True)
class Arena:
    """A control plane and what stands around it; `directory` is for logs and kubeconfigs."""

    plane: ControlPlane
    mirror: Mirror
    node: FakeNode
    world: World
    directory: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def namespaces(self, count: int, prefix: str) -> list[str]:
        """Make namespaces with the claims that the pods mount, ready for pods."""
        names = [f"{prefix}-n{next(self._numbers)}" for _ in range(count)]
        for name in names:
            self.plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        for name in names:
            self._furnish(name)
        return names

    def stages(self, scenarios: Sequence[Scenario]) -> list[str]:
        """Make a namespace for each of these, in their order; those that need it hold the three, Ready."""
        prepared = iter(self.prepared(sum(each.prepared for each in scenarios), "prepared"))
        empty = iter(self.namespaces(sum(not each.prepared for each in scenarios), "empty"))
        return [next(prepared) if each.prepared else next(empty) for each in scenarios]

    def prepared(self, count: int, prefix: str) -> list[str]:
        """Make namespaces that hold one resource of each kind, Ready and quiet, by an operator without faults."""
        names = self.namespaces(count, prefix)
        if not names:
            return names
        for name in names:
            user = User(self.plane, name)
            for document in trio(self.world):
                user.create(document)
        operator = Operator(self.plane.kubeconfig, self.directory)
        with ended_with_block(operator):
            operator.start()
            await_all(names, lambda name: is_settled(self.mirror, name), PREPARE_SECONDS + 2 * count, self._unsettled)
            quiet(self.mirror, names)
            operator.stop()
        return names

    def caught_up(self, namespace: str) -> None:
        """Wait until the mirror has seen what users did in a namespace until now."""
        live = {}
        for plural in OWNERS:
            path = f"/apis/{API_VERSION}/namespaces/{namespace}/{plural}"
            for body in self.plane.request("GET", path)["items"]:
                live[body["metadata"]["uid"]] = int(body["metadata"]["resourceVersion"])
        until(lambda: self._seen(namespace, live), NAMESPACE_SECONDS, f"the mirror does not follow {namespace}")

    def _seen(self, namespace: str, live: Mapping[str, int]) -> bool:
        seen = {
            body["metadata"]["uid"]: int(body["metadata"]["resourceVersion"])
            for plural in OWNERS
            for body in self.mirror.of(namespace, plural)
        }
        return seen.keys() == live.keys() and all(seen[uid] >= version for uid, version in live.items())

    def remove_pods(self, namespace: str) -> None:
        """Remove the pods of a namespace that nobody looks at any more, and what makes new ones."""
        zero = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
        for path in ("/apis/apps/v1/namespaces/{}/deployments", "/api/v1/namespaces/{}/pods"):
            self.plane.request("DELETE", path.format(namespace), zero)
        self.mirror.forget(namespace)

    def user(self, namespace: str) -> User:
        """Return somebody who acts in a namespace."""
        return User(self.plane, namespace)

    def _furnish(self, namespace: str) -> None:
        for claim in CLAIMS:
            body = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": claim},
                "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
            }
            self.plane.request("POST", f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", body)
        for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
            until(partial(self._exists, namespace, path), NAMESPACE_SECONDS, f"{namespace} got no {path}")

    def _exists(self, namespace: str, path: str) -> bool:
        try:
            self.plane.request("GET", f"/api/v1/namespaces/{namespace}/{path}")
        except ApiRefused as refused:
            if refused.status != 404:
                raise
            return False
        return True

    def _unsettled(self, namespace: str) -> str:
        return f"{namespace}: {unready(self.mirror, namespace)}"


@contextmanager
def arena(*, keep_history: bool = True) -> Iterator[Arena]:
    """Start everything and stop it at the end of the block."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lectern-faults-")))
        plane = stack.enter_context(control_plane())
        plane.install_crds(TREE / "crds", *(file for file in keda_crds() if file.stem in KEDA_KINDS))
        node = stack.enter_context(fake_node(plane, capacity=ROOM))
        stack.enter_context(fake_keda(plane))
        followed = stack.enter_context(mirror(plane, keep_history=keep_history))
        store = stack.enter_context(qdrant_double(directory / "qdrant"))
        broker = stack.enter_context(kafka(directory / "kafka"))
        yield Arena(plane, followed, node, World(vector_store=store.url, broker=broker.bootstrap), directory)


def is_settled(mirror: Mirror, namespace: str, not_ready: Mapping[str, str] = READY) -> bool:
    """Say whether the three are there, looked at in their newest generation, and as they should be."""
    return not unready(mirror, namespace, not_ready)


def unready(mirror: Mirror, namespace: str, not_ready: Mapping[str, str] = READY) -> list[str]:
    """Return what is not there, not looked at, or not Ready; `not_ready` has reasons that are expected instead."""
    found = []
    for plural in ("knowledgebases", "ingestionsources", "ragendpoints"):
        bodies = mirror.of(namespace, plural)
        found += [] if bodies else [f"no {plural}"]
        for body in bodies:
            status = body.get("status", {})
            ready = [each for each in status.get("conditions", ()) if each["type"] == "Ready"]
            if status.get("observedGeneration") != body["metadata"]["generation"]:
                found.append(f"{plural}: generation {status.get('observedGeneration')} of {body['metadata']}")
            elif not ready or not _as_expected(ready[0], not_ready.get(plural)):
                found.append(f"{plural}: {ready}")
    return found


def _as_expected(ready: Mapping[str, Any], reason: str | None) -> bool:
    return bool(ready["status"] == "True" if reason is None else ready["reason"] == reason)


def quiet(mirror: Mirror, namespaces: Sequence[str], seconds: float = 1.5, most: float = 60.0) -> None:
    """Wait until nothing has changed in these namespaces for `seconds`."""
    deadline = time.monotonic() + most
    before, since = -1, time.monotonic()
    while time.monotonic() - since < seconds:
        if time.monotonic() > deadline:
            raise NotSettled(f"{len(namespaces)} namespaces still change after {most:.0f} s")
        now = sum(mirror.changes(name) for name in namespaces)
        if now != before:
            before, since = now, time.monotonic()
        time.sleep(POLL_SECONDS)


def until(holds: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Wait until `holds()`; raises NotSettled with `otherwise` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise NotSettled(f"{otherwise} within {seconds:.0f} s")
        time.sleep(POLL_SECONDS)


def await_all(
    names: Iterable[str], holds: Callable[[str], bool], seconds: float, otherwise: Callable[[str], str]
) -> None:
    """Wait until `holds` of every name; raises NotSettled with what is said of the first few that do not."""
    waiting, deadline = list(names), time.monotonic() + seconds
    while waiting := [name for name in waiting if not holds(name)]:
        if time.monotonic() > deadline:
            said = "; ".join(otherwise(name) for name in waiting[:3])
            raise NotSettled(f"{len(waiting)} are not as they should be after {seconds:.0f} s: {said}")
        time.sleep(POLL_SECONDS)
