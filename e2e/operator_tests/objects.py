"""Short ways to the objects in a test's namespace, as an administrator beside the operator."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from e2e.testbed.control_plane import ControlPlane

PATHS = {
    "ConfigMap": "/api/v1/namespaces/{0}/configmaps",
    "CronJob": "/apis/batch/v1/namespaces/{0}/cronjobs",
    "Deployment": "/apis/apps/v1/namespaces/{0}/deployments",
    "IngestionSource": "/apis/lectern.dev/v1alpha1/namespaces/{0}/ingestionsources",
    "Job": "/apis/batch/v1/namespaces/{0}/jobs",
    "KnowledgeBase": "/apis/lectern.dev/v1alpha1/namespaces/{0}/knowledgebases",
    "Pod": "/api/v1/namespaces/{0}/pods",
    "RagEndpoint": "/apis/lectern.dev/v1alpha1/namespaces/{0}/ragendpoints",
    "Service": "/api/v1/namespaces/{0}/services",
}


@dataclass(frozen=True)
class Outside:
    """Where the vector store and the broker of the tests answer, without credentials."""

    store_url: str
    bootstrap: str

    def given_to(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a KnowledgeBase that uses them, where it uses any."""
        found = copy.deepcopy(document)
        spec = found["spec"]
        if "vectorStore" in spec:
            spec["vectorStore"] |= {"url": self.store_url}
        if "messaging" in spec:
            spec["messaging"] |= {"bootstrapServers": self.bootstrap}
        return found


class Objects:
    """Short ways to what is in the test's namespace."""

    def __init__(self, plane: ControlPlane, namespace: str, outside: Outside | None = None) -> None:
        self.plane = plane
        self.namespace = namespace
        self.outside = outside

    def path(self, kind: str, name: str = "") -> str:
        """Return the URL path of a kind in the namespace, or of one object."""
        path = PATHS[kind].format(self.namespace)
        return f"{path}/{name}" if name else path

    def create(self, document: dict[str, Any]) -> dict[str, Any]:
        """Create an object; a KnowledgeBase is given the store and the broker of the tests."""
        if self.outside is not None and document["kind"] == "KnowledgeBase":
            document = self.outside.given_to(document)
        body = {**document, "metadata": {**document["metadata"], "namespace": self.namespace}}
        for server_side in ("uid", "generation"):
            body["metadata"].pop(server_side, None)
        return self.plane.request("POST", self.path(document["kind"]), body)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return one object."""
        return self.plane.request("GET", self.path(kind, name))

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """Return the objects of a kind."""
        query = f"?labelSelector={selector}" if selector else ""
        items: list[dict[str, Any]] = self.plane.request("GET", f"{self.path(kind)}{query}")["items"]
        return items

    def merge(self, kind: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Merge a patch into an object, as somebody else would."""
        path = f"{self.path(kind, name)}?fieldManager=somebody-else"
        return self.plane.request("PATCH", path, patch, content_type="application/merge-patch+json")

    def delete(self, kind: str, name: str) -> None:
        """Delete an object."""
        self.plane.request("DELETE", self.path(kind, name))

    def versions(self) -> dict[str, str]:
        """Return the resource version of everything that the operator may write."""
        kinds = [kind for kind in PATHS if kind != "Pod"]
        return {
            f"{kind}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
            for kind in kinds
            for each in self.list(kind)
        }
