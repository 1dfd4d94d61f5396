"""A DOUBLE of the API server for transition tests: objects in memory, server-side apply for one manager, no watches.

It passes `cluster_contract`, which runs against the real API server too. It refuses states that cannot be: an object in
a namespace that is not there, a changed selector, template of a Job or content of an immutable ConfigMap, a status that
contradicts its spec. Tests act as the users, controllers and kubelets that are not here by its `put`, `edit`, `remove`,
`roll_out`, `stick`, `finish` and `judge`.

What it does not show: admission, schemas and CEL rules, conflicts with other managers' apply, finalizers, rights,
defaults beyond a few that would fool a naive comparison.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from typing import Any

from lectern_contract import labels, names
from lectern_operator.clients import kinds
from lectern_operator.clients.errors import NotFound, NotServed, Outdated, Refused
from lectern_operator.facts import Fact, Known
from lectern_operator_tests.server_defaults import defaulted

Manifest = dict[str, Any]
Key = tuple[str, str, str]
NOW = "2026-11-21T00:00:00Z"
_LABEL_LENGTH = 63
_ATOMIC = ("nodeSelector", "selector")


class Impossible(AssertionError):
    """A test asked for a state that no cluster can be in."""


class FakeCluster:
    """Objects by kind, namespace and name; `writes` lists every effective and every idle write.

    `gets` lists what was looked at live. `keda` says whether KEDA's kinds are served; other optional kinds are, unless
    their API version is put into `unserved`.
    """

    def __init__(self, *, keda: bool = True, namespaces: tuple[str, ...] = ("team",)) -> None:
        self.objects: dict[Key, Manifest] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.gets: list[tuple[str, str]] = []
        self.unserved: set[str] = set()
        self.keda = keda
        self._namespaces = namespaces
        self._applied: dict[Key, Manifest] = {}
        self._held: dict[Key, int] = {}
        self._counter = itertools.count(1)

    # --- what the operator calls: reconcilers.world.Cluster -----------------------------------------------------

    async def children(self, kind: str, namespace: str, owner_uid: str) -> tuple[Manifest, ...]:
        """Return the objects that carry the owner's label."""
        found = await self.owners(kind, namespace)
        return tuple(each for each in found if each["metadata"].get("labels", {}).get(labels.OWNER_UID) == owner_uid)

    async def owners(self, kind: str, namespace: str | None) -> tuple[Manifest, ...]:
        """Return the objects of a kind."""
        self._must_be_served(kind)
        return tuple(
            copy.deepcopy(body)
            for (of_kind, where, _), body in sorted(self.objects.items())
            if of_kind == kind and namespace in (None, where)
        )

    async def owner(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object without a look at it live."""
        try:
            return copy.deepcopy(self.objects[kind, namespace, name])
        except KeyError:
            raise NotFound(f"{kind} {name} not found") from None

    async def naming(self, namespace: str, name: str) -> tuple[Manifest, ...]:
        """Return what names the knowledge base."""
        found = [*await self.owners("IngestionSource", None), *await self.owners("RagEndpoint", None)]
        return tuple(each for each in found if (namespace, name) in references(each))

    async def served(self, kind: str) -> Fact[bool]:
        """Say whether the kind is installed."""
        return Known(self._is_served(kind))

    async def lost(self, observed: Manifest) -> None:
        """Do nothing: nothing is remembered here."""

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object."""
        self.gets.append((kind, name))
        found = await self.owner(kind, namespace, name)
        if (kind, namespace, name) in self._applied:
            found["metadata"]["managedFields"] = [{"manager": names.FIELD_MANAGER, "operation": "Apply"}]
        return found

    async def apply(self, manifest: Manifest) -> Manifest:
        """Merge `manifest` into the object, without the fields that were applied before and are not in it now."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        key = (kind, metadata["namespace"], metadata["name"])
        self.writes.append(("apply", kind, metadata["name"]))
        if kind not in kinds.ALL or not self._is_served(kind):
            raise NotFound(f"the kind {kind} is not known")
        if metadata["namespace"] not in self._namespaces:
            raise NotFound(f'namespaces "{metadata["namespace"]}" not found')
        _check_names(manifest)
        before = self.objects.get(key)
        if "uid" in metadata and (before is None or before["metadata"]["uid"] != metadata["uid"]):
            raise Outdated(f"{kind} {metadata['name']}: uid mismatch")
        body = _without(before, self._applied.get(key, {}), manifest) if before else {}
        if before is not None and key in self._held:
            body["spec"].setdefault("replicas", before["spec"]["replicas"])
            if manifest["spec"].get("replicas", self._held[key]) != self._held[key]:
                del self._held[key]
        after = defaulted(_merged(body, copy.deepcopy(manifest)))
        if before is not None:
            _check_immutable(before, after)
        nobodys = {"uid", "resourceVersion"}
        ours = {name: value for name, value in metadata.items() if name not in nobodys}
        self._applied[key] = copy.deepcopy({**manifest, "metadata": ours})
        stored = copy.deepcopy(self._store(key, after))
        if "deletionTimestamp" in stored["metadata"] and not stored["metadata"].get("finalizers"):
            self.remove(kind, metadata["name"], metadata["namespace"])
        return stored

    async def apply_new(self, manifest: Manifest) -> Manifest:
        """Apply `manifest` where there is no object of that name."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        if (kind, metadata["namespace"], metadata["name"]) in self.objects:
            raise Outdated(f"{kind} {metadata['name']} exists")
        return await self.apply(manifest)

    async def hold(self, manifest: Manifest) -> None:
        """Keep the replicas of an object as they are when its first manager applies them no more."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        self.writes.append(("hold", kind, metadata["name"]))
        key = (kind, metadata["namespace"], metadata["name"])
        if self.objects[key]["spec"]["replicas"] == manifest["spec"]["replicas"]:
            self._held[key] = manifest["spec"]["replicas"]

    async def delete(self, observed: Manifest) -> None:
        """Delete that very object, and at once what it owns."""
        kind, metadata = observed["kind"], observed["metadata"]
        self.writes.append(("delete", kind, metadata["name"]))
        found = self.objects.get((kind, metadata["namespace"], metadata["name"]))
        if found is not None and found["metadata"]["uid"] == metadata["uid"]:
            self.remove(kind, metadata["name"], metadata["namespace"])

    async def write_status(self, observed: Manifest, status: Mapping[str, Any]) -> Manifest:
        """Replace the status unless the object has changed since it was observed."""
        kind, metadata = observed["kind"], observed["metadata"]
        self.writes.append(("status", kind, metadata["name"]))
        found = await self.owner(kind, metadata["namespace"], metadata["name"])
        if found["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise Outdated(f"{kind} {metadata['name']} has been modified")
        found["status"] = copy.deepcopy(dict(status))
        return copy.deepcopy(self._store((kind, metadata["namespace"], metadata["name"]), found))

    async def served_kinds(self) -> frozenset[str]:
        """Return the kinds that are installed."""
        return frozenset(kind for kind in kinds.ALL if self._is_served(kind))

    def version(self) -> int:
        """Return a version that is newer than everything that exists."""
        return next(self._counter)

    # --- what tests do as somebody else ------------------------------------------------------------------------

    def put(self, document: Mapping[str, Any]) -> Manifest:
        """Create an object, or change its spec, labels and annotations, as a user would."""
        body = copy.deepcopy(dict(document))
        metadata = body["metadata"]
        key = (body["kind"], metadata["namespace"], metadata["name"])
        if (before := self.objects.get(key)) is not None:
            body["metadata"] = {**before["metadata"], **metadata, "uid": before["metadata"]["uid"]}
            body["status"] = before.get("status", {})
        return self._store(key, body)

    def edit(self, kind: str, name: str, patch: Mapping[str, Any], namespace: str = "team") -> Manifest:
        """Merge `patch` into an object, as somebody else would; None removes a field."""
        key = (kind, namespace, name)
        return self._store(key, defaulted(_patched(copy.deepcopy(self.objects[key]), patch)))

    def ask_to_delete(self, kind: str, name: str, namespace: str = "team") -> None:
        """Delete an object as a user would: one with a finalizer stays until the last one is taken from it."""
        body = self.objects[kind, namespace, name]
        if not body["metadata"].get("finalizers"):
            self.remove(kind, name, namespace)
            return
        body["metadata"].setdefault("deletionTimestamp", NOW)
        self._touch(body)

    def remove(self, kind: str, name: str, namespace: str = "team") -> None:
        """Delete an object and all that it owns."""
        body = self.objects.pop((kind, namespace, name))
        self._applied.pop((kind, namespace, name), None)
        self._held.pop((kind, namespace, name), None)
        uid = body["metadata"]["uid"]
        for (child_kind, where, child), each in list(self.objects.items()):
            if any(reference["uid"] == uid for reference in each["metadata"].get("ownerReferences", ())):
                self.remove(child_kind, child, where)

    def roll_out(self, name: str, *, available: int | None = None, namespace: str = "team") -> None:
        """Let the Deployment `name` have all its pods, of which `available` work (default: all)."""
        body = self.objects["Deployment", namespace, name]
        wanted = body["spec"]["replicas"]
        working = wanted if available is None else available
        if working > wanted:
            raise Impossible(f"Deployment {name} wants {wanted} replicas and cannot have {working}")
        progress = ("NewReplicaSetAvailable", "True") if working == wanted else ("ReplicaSetUpdated", "True")
        body["status"] = {
            "observedGeneration": body["metadata"]["generation"],
            "replicas": wanted,
            "updatedReplicas": wanted,
            "availableReplicas": working,
            "conditions": [{"type": "Progressing", "reason": progress[0], "status": progress[1]}],
        }
        self._pods(body, wanted)
        self._touch(body)

    def roll_out_all(self) -> None:
        """Let every Deployment have its pods."""
        for kind, namespace, name in list(self.objects):
            if kind == "Deployment":
                self.roll_out(name, namespace=namespace)

    def stick(self, name: str, reason: str, message: str = "") -> None:
        """Let the Deployment's pods wait for `reason`, such as ErrImagePull."""
        self.roll_out(name, available=0)
        for (kind, _, _), pod in self.objects.items():
            if kind == "Pod" and pod["metadata"]["labels"][labels.ROLE] == name.rpartition("-")[2]:
                waiting = {"reason": reason, "message": message}
                container = {"name": "main", "image": "image", "state": {"waiting": waiting}}
                pod["status"] = {"phase": "Pending", "containerStatuses": [container]}

    def finish(self, job: str, *, message: str = "", succeeded: bool = True, namespace: str = "team") -> None:
        """Let the Job `job` end, its pod with the termination message `message`."""
        body = self.objects["Job", namespace, job]
        if body.get("status", {}).get("conditions"):
            raise Impossible(f"Job {job} has ended already")
        terminated = {"exitCode": 0 if succeeded else 1, "message": message}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{job}-pod",
                "namespace": namespace,
                "labels": body["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [{"uid": body["metadata"]["uid"]}],
            },
            "spec": body["spec"]["template"]["spec"],
            "status": {
                "phase": "Succeeded" if succeeded else "Failed",
                "containerStatuses": [{"name": "connector", "state": {"terminated": terminated}}],
            },
        }
        self.put(pod)
        kind = "Complete" if succeeded else "Failed"
        ended = {"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": NOW}
        body["status"] = {"startTime": NOW, "completionTime": NOW if succeeded else None, "conditions": [ended]}
        self._touch(body)

    def judge(self, name: str, status: str, message: str = "", namespace: str = "team") -> None:
        """Let KEDA say what it thinks of the ScaledObject `name`."""
        body = self.objects["ScaledObject", namespace, name]
        body["status"] = {"conditions": [{"type": "Ready", "status": status, "message": message}]}
        self._touch(body)

    # --- inside -----------------------------------------------------------------------------------------------

    def _is_served(self, kind: str) -> bool:
        version = kinds.ALL[kind].api_version
        return version not in self.unserved and (self.keda or not version.startswith("keda"))

    def _must_be_served(self, kind: str) -> None:
        if not self._is_served(kind):
            raise NotServed(f"the kind {kind} is not known to the API server")

    def _store(self, key: Key, body: Manifest) -> Manifest:
        before = self.objects.get(key)
        number = next(self._counter)
        metadata = body["metadata"]
        if before is None:
            metadata.setdefault("uid", f"uid-{number}")
            metadata |= {"generation": 1, "creationTimestamp": NOW, "resourceVersion": str(number)}
        else:
            if body == before:
                return before
            changed = body.get("spec") != before.get("spec")
            metadata["generation"] = before["metadata"]["generation"] + int(changed)
            metadata["resourceVersion"] = str(number)
        self.objects[key] = body
        return body

    def _touch(self, body: Manifest) -> None:
        body["metadata"]["resourceVersion"] = str(next(self._counter))

    def _pods(self, deployment: Manifest, count: int) -> None:
        """Replace the pods of a Deployment by `count` that run its template."""
        metadata = deployment["metadata"]
        for kind, namespace, name in list(self.objects):
            if kind == "Pod" and name.startswith(f"{metadata['name']}-pod-"):
                self.remove(kind, name, namespace)
        working = deployment["status"]["availableReplicas"]
        for number in range(count):
            ready = "True" if number < working else "False"
            self.put(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "name": f"{metadata['name']}-pod-{number}",
                        "namespace": metadata["namespace"],
                        "labels": deployment["spec"]["template"]["metadata"]["labels"],
                        "annotations": deployment["spec"]["template"]["metadata"].get("annotations", {}),
                        "ownerReferences": [{"uid": metadata["uid"]}],
                    },
                    "spec": deployment["spec"]["template"]["spec"],
                    "status": {
                        "phase": "Running",
                        "podIP": f"10.0.0.{number + 1}",
                        "conditions": [{"type": "Ready", "status": ready}],
                    },
                }
            )


def references(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return namespace and name of the knowledge bases that a source or an endpoint names."""
    spec, namespace = body["spec"], body["metadata"]["namespace"]
    named = [*spec.get("knowledgeBaseRefs", ()), *filter(None, [spec.get("knowledgeBaseRef")])]
    return [(each.rpartition("/")[0] or namespace, each.rpartition("/")[2]) for each in named]


def _merged(before: Any, wanted: Any) -> Any:
    if isinstance(before, dict) and isinstance(wanted, dict):
        merged = {key: value if key in _ATOMIC else _merged(before.get(key), value) for key, value in wanted.items()}
        return {**before, **merged}
    if (
        isinstance(before, list)
        and isinstance(wanted, list)
        and all(isinstance(x, dict) and "name" in x for x in wanted)
    ):
        theirs = {item.get("name"): item for item in before}
        ours = {item["name"]: _merged(theirs.get(item["name"]), item) for item in wanted}
        return [*ours.values(), *(item for name, item in theirs.items() if name not in ours)]
    return wanted


def _without(body: Any, applied: Any, wanted: Any) -> Any:
    """`body` without the fields that were in `applied` and are not in `wanted`."""
    if not (isinstance(body, dict) and isinstance(applied, dict) and isinstance(wanted, dict)):
        return body
    kept = {key: value for key, value in body.items() if key in wanted or not _is_ours(value, applied.get(key))}
    return {key: _without(value, applied.get(key), wanted.get(key)) for key, value in copy.deepcopy(kept).items()}


def _is_ours(value: Any, applied: Any) -> bool:
    """Say whether we set `value` last: a number that is not the applied one is somebody else's, and stays."""
    return applied is not None and not (isinstance(value, int) and value != applied)


def _patched(body: Manifest, patch: Mapping[str, Any]) -> Manifest:
    for key, value in patch.items():
        if value is None:
            body.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(body.get(key), dict):
            _patched(body[key], value)
        else:
            body[key] = copy.deepcopy(value)
    return body


def _check_names(manifest: Manifest) -> None:
    name, kind = manifest["metadata"]["name"], manifest["kind"]
    for value in manifest["metadata"].get("labels", {}).values():
        if len(value) > _LABEL_LENGTH:
            raise Refused(f"{kind} {name}: label value {value} is too long", status=422)
    if kind in ("Service", "ScaledObject", "Job", "CronJob") and len(name) > _LABEL_LENGTH:
        raise Refused(f"{kind} {name}: must be no more than {_LABEL_LENGTH} characters", status=422)


def _check_immutable(before: Manifest, after: Manifest) -> None:
    fixed = {"Deployment": "selector", "Job": "template", "PersistentVolumeClaim": "storageClassName"}
    kind, name = after["kind"], after["metadata"]["name"]
    if (field := fixed.get(kind)) is not None and before["spec"].get(field) != after["spec"].get(field):
        raise Refused(f"{kind} {name}: spec.{field}: field is immutable", status=422)
    if kind == "ConfigMap" and before.get("immutable") and before["data"] != after["data"]:
        raise Refused(f"ConfigMap {name}: data: field is immutable when `immutable` is set", status=422)
