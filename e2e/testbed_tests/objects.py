"""Small manifests for the tests of the testbed."""

from collections.abc import Mapping, Sequence
from typing import Any

from e2e.testbed.control_plane import ControlPlane

Manifest = dict[str, Any]


def pod(name: str, **spec: Any) -> Manifest:
    container = {"name": "main", "image": "example/main:1", **spec.pop("container", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def deployment(name: str, replicas: int) -> Manifest:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod("-")["spec"]},
        },
    }


def job(name: str, **spec: Any) -> Manifest:
    template = {"spec": {"restartPolicy": "Never", **pod("-")["spec"]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template, **spec},
    }


def config_map(name: str, data: Mapping[str, str], owners: Sequence[Manifest] = ()) -> Manifest:
    references = [
        {key: value for key, value in owner.items() if key in ("apiVersion", "kind")}
        | {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
        for owner in owners
    ]
    metadata = {"name": name, "ownerReferences": references}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}


def scaled_object(name: str, target: str, **spec: Any) -> Manifest:
    trigger = {"bootstrapServers": "kafka:9092", "consumerGroup": "g", "topic": "t", "lagThreshold": "50"}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"name": target},
            "minReplicaCount": 0,
            "maxReplicaCount": 10,
            "triggers": [{"type": "kafka", "metadata": trigger}],
            **spec,
        },
    }


def collection(namespace: str, kind: str, api_version: str = "v1") -> str:
    """Return the REST path of the collection of `kind` in `namespace`."""
    base = "/api/v1" if api_version == "v1" else f"/apis/{api_version}"
    return f"{base}/namespaces/{namespace}/{kind.lower()}s"


def create(plane: ControlPlane, namespace: str, manifest: Manifest) -> Manifest:
    """Create the object and return it as the server keeps it."""
    return plane.request("POST", collection(namespace, manifest["kind"], manifest["apiVersion"]), manifest)


def condition(found: Manifest, kind: str) -> Manifest:
    """Return the condition `kind` of an object, or one of status Absent."""
    conditions = found.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == kind), {"type": kind, "status": "Absent"})
