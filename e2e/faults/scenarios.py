"""What users do, as values: the same few acts are tried under every fault.

One resource of each kind together: a knowledge base with a managed embedder and scaled workers, a source that is run
once, an endpoint.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from e2e.testbed.errors import ApiRefused
from e2e.testbed.plane import ControlPlane

Document = dict[str, Any]
API_VERSION = "lectern.dev/v1alpha1"
PLURALS = {"KnowledgeBase": "knowledgebases", "IngestionSource": "ingestionsources", "RagEndpoint": "ragendpoints"}
CLAIMS = ("blobs", "guides")
GONE_SECONDS = 60.0
DELETE_OPTIONS = {"propagationPolicy": "Background"}


@dataclass(frozen=True)
class World:
    """Addresses of what is outside the cluster, as the resources name them."""

    vector_store: str = "http://qdrant:6333"
    broker: str = "kafka:9092"


def knowledge_base(world: World, name: str = "docs") -> Document:
    """Return a knowledge base with a managed embedder, scaled workers, and topics and collection that go with it."""
    spec = {
        "embedding": {
            "model": "sentence-transformers/all-MiniLM-L6-v2",
            "dimensions": 384,
            "server": {"managed": {}},
        },
        "vectorStore": {"url": world.vector_store},
        "messaging": {"bootstrapServers": world.broker, "partitions": 4},
        "blobStore": {"persistentVolume": {"claimName": "blobs"}},
        "deletionPolicy": "Delete",
    }
    return _document("KnowledgeBase", name, spec)


def source(world: World, name: str = "guides") -> Document:
    """Return a source that is run once."""
    del world
    spec = {
        "knowledgeBaseRef": "docs",
        "persistentVolume": {"claimName": "guides"},
        "partition": {"tenant": "acme"},
    }
    return _document("IngestionSource", name, spec)


def endpoint(world: World, name: str = "ask") -> Document:
    """Return an endpoint that anybody may ask."""
    del world
    spec = {
        "knowledgeBaseRefs": ["docs"],
        "auth": {"anonymous": {"tenant": "acme", "accessLevels": ["public"]}},
    }
    return _document("RagEndpoint", name, spec)


def trio(world: World) -> tuple[Document, ...]:
    """Return one resource of each kind."""
    return knowledge_base(world), source(world), endpoint(world)


def _document(kind: str, name: str, spec: Document) -> Document:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


# --- acts -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class User:
    """Somebody who acts in one namespace, straight at the API server."""

    plane: ControlPlane
    namespace: str

    def path(self, kind: str, name: str = "") -> str:
        """Return the URL path of the kind in the namespace, or of one object."""
        base = f"/apis/{API_VERSION}/namespaces/{self.namespace}/{PLURALS[kind]}"
        return f"{base}/{name}" if name else base

    def create(self, document: Document) -> None:
        """Create a resource."""
        self.plane.request("POST", self.path(document["kind"]), copy.deepcopy(document))

    def merge(self, kind: str, name: str, patch: Mapping[str, Any]) -> Document:
        """Merge a patch into a resource."""
        path = f"{self.path(kind, name)}?fieldManager=user"
        return self.plane.request("PATCH", path, patch, content_type="application/merge-patch+json")

    def delete(self, kind: str, name: str) -> None:
        """Delete a resource; one that is gone already is as good."""
        try:
            self.plane.request("DELETE", self.path(kind, name), DELETE_OPTIONS)
        except ApiRefused as refused:
            if refused.status != 404:
                raise


@dataclass(frozen=True)
class Create:
    """Create one of the three."""

    kind: str

    def do(self, user: User, world: World) -> None:
        """Do it, once one of that name that is being deleted is gone; raises ApiRefused when it stays for a minute."""
        (document,) = [each for each in trio(world) if each["kind"] == self.kind]
        deadline = time.monotonic() + GONE_SECONDS
        while True:
            try:
                return user.create(document)
            except ApiRefused as refused:
                if refused.status != 409 or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)


@dataclass(frozen=True)
class Change:
    """Merge a patch into the spec of one of the three."""

    kind: str
    name: str
    spec: Mapping[str, Any] = field(hash=False)

    def do(self, user: User, world: World) -> None:
        """Do it."""
        del world
        user.merge(self.kind, self.name, {"spec": self.spec})


@dataclass(frozen=True)
class Delete:
    """Delete one of the three."""

    kind: str
    name: str

    def do(self, user: User, world: World) -> None:
        """Do it."""
        del world
        user.delete(self.kind, self.name)


Act = Create | Change | Delete
CREATE = (Create("KnowledgeBase"), Create("IngestionSource"), Create("RagEndpoint"))
DELETE = (Delete("RagEndpoint", "ask"), Delete("IngestionSource", "guides"), Delete("KnowledgeBase", "docs"))


@dataclass(frozen=True)
class Scenario:
    """`acts` upon a namespace that has the three, Ready, where `prepared`, and nothing otherwise.

    `not_ready` says of which kind (by its plural) the end is not Ready, and for which reason.
    """

    name: str
    prepared: bool
    acts: tuple[Act, ...]
    not_ready: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def leaves_nothing(self) -> bool:
        """Whether the three are gone at the end."""
        return bool(self.acts) and isinstance(self.acts[-1], Delete)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("create", False, CREATE),
    Scenario(
        "scale",
        True,
        (
            Change("KnowledgeBase", "docs", {"workers": {"minReplicas": 1, "maxReplicas": 3}}),
            Change("RagEndpoint", "ask", {"replicas": 2}),
        ),
    ),
    Scenario(
        "spec-change",
        True,
        (
            Change("KnowledgeBase", "docs", {"parsing": {"timeoutSeconds": 30}}),
            Change("IngestionSource", "guides", {"include": ["**/*.md"]}),
            Change("RagEndpoint", "ask", {"retrieval": {"topK": 7}}),
        ),
    ),
    Scenario(
        "model-swap",
        True,
        (
            Change(
                "KnowledgeBase", "docs", {"embedding": {"model": "intfloat/multilingual-e5-small", "dimensions": 384}}
            ),
        ),
        not_ready={"knowledgebases": "CollectionChanged"},
    ),
    Scenario(
        "shard-change",
        True,
        (
            Change(
                "KnowledgeBase",
                "docs",
                {
                    "partitioning": {
                        "accessLevels": ["public", "internal"],
                        "tenants": [{"name": "acme", "dedicated": True}],
                    }
                },
            ),
        ),
    ),
    Scenario("delete", True, DELETE),
    Scenario("delete-and-recreate", True, DELETE + CREATE),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
