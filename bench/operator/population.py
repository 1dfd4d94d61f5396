"""Two thousand resources: a few knowledge bases with many sources and endpoints each, spread over namespaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from e2e.faults.scenarios import PLURALS, Document, World, endpoint, knowledge_base, source
from e2e.testbed.plane import ControlPlane

WRITERS = 4
BASES_EACH = 2
API = "/apis/lectern.dev/v1alpha1"
OF_CHILDREN = (
    "/api/v1/configmaps",
    "/api/v1/persistentvolumeclaims",
    "/api/v1/serviceaccounts",
    "/api/v1/services",
    "/apis/apps/v1/deployments",
    "/apis/batch/v1/cronjobs",
    "/apis/batch/v1/jobs",
    "/apis/keda.sh/v1alpha1/scaledobjects",
    "/apis/networking.k8s.io/v1/networkpolicies",
    "/apis/policy/v1/poddisruptionbudgets",
)


@dataclass(frozen=True)
class Population:
    """Resources by namespace, in the order in which they are made: knowledge bases first."""

    documents: tuple[tuple[str, Document], ...]

    def __len__(self) -> int:
        return len(self.documents)


def population(count: int, namespaces: Sequence[str], world: World, embedder: str) -> Population:
    """Return `count` resources: two knowledge bases a namespace, sources and endpoints by halves."""
    found: list[tuple[str, Document]] = []
    for namespace in namespaces:
        for number in range(BASES_EACH):
            found.append((namespace, _external(knowledge_base(world, f"kb-{number}"), embedder)))
    number = 0
    while len(found) < count:
        namespace = namespaces[number // 2 % len(namespaces)]
        base = f"kb-{number % BASES_EACH}"
        found.append((namespace, _reading(number, base, world)))
        number += 1
    return Population(tuple(found))


def newcomer(number: int, world: World) -> Document:
    """Return one more endpoint."""
    return _asking(endpoint(world, f"new-{number}"), "kb-0")


def _reading(number: int, base: str, world: World) -> Document:
    if number // 2 % 2:
        document = source(world, f"source-{number}")
        document["spec"]["knowledgeBaseRef"] = base
        return document
    return _asking(endpoint(world, f"endpoint-{number}"), base)


def _asking(document: Document, base: str) -> Document:
    document["spec"]["knowledgeBaseRefs"] = [base]
    return document


def _external(document: Document, embedder: str) -> Document:
    """A knowledge base whose embedding server runs elsewhere."""
    document["spec"]["embedding"]["server"] = {"external": {"url": embedder}}
    return document


def create(plane: ControlPlane, documents: Sequence[tuple[str, Document]]) -> None:
    """Create them, several at once."""

    def one(namespace: str, document: Document) -> None:
        path = f"{API}/namespaces/{namespace}/{PLURALS[document['kind']]}"
        plane.request("POST", path, document, timeout=30)

    with ThreadPoolExecutor(WRITERS) as threads:
        for done in [threads.submit(one, *each) for each in documents]:
            done.result()


def is_ready(body: Mapping[str, Any]) -> bool:
    """Say whether the newest generation is Ready."""
    status = body.get("status", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    return status.get("observedGeneration") == body["metadata"]["generation"] and conditions.get("Ready") == "True"


def has_status(bodies: Iterable[Mapping[str, Any]], name: str) -> bool:
    """Say whether the one of that name has been judged."""
    return any(each["metadata"]["name"] == name and each.get("status", {}).get("conditions") for each in bodies)


def versions(plane: ControlPlane) -> dict[str, str]:
    """Return the resource version of every resource and every child."""
    paths = [*(f"{API}/{plural}" for plural in PLURALS.values()), *OF_CHILDREN]
    return {
        each["metadata"]["uid"]: each["metadata"]["resourceVersion"]
        for path in paths
        for each in plane.request("GET", path, timeout=60)["items"]
    }
