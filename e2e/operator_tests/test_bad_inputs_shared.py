"""Knowledge bases that share a broker and a store, and names outside that are taken: nobody loses what is theirs."""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]  # published without types
from qdrant_client import QdrantClient, models

from e2e.operator_tests.conftest import CLAIMS
from e2e.operator_tests.objects import Objects, Outside
from e2e.operator_tests.running import RunningOperator, conditions, eventually, quiet
from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.errors import ApiRefused
from e2e.testbed.fake_node import fake_node
from lectern_contract import names
from lectern_contract.collection import Owner
from lectern_contract.names import Topic
from lectern_operator_tests import worlds

pytestmark = pytest.mark.usefixtures("claims", "node")
SECONDS = 60.0
SOON = 10.0
"""Within what a reason has to be told."""
KIND = "KnowledgeBase"
GONE = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=1, workers__maxReplicas=1, deletionPolicy="Delete")


@pytest.fixture
def node(control_plane: ControlPlane) -> Iterator[None]:
    """Keep one node for the pods of all namespaces: the scheduler does not know which node is meant for which."""
    with fake_node(control_plane):
        yield


@pytest.fixture
def elsewhere(control_plane: ControlPlane, outside: Outside) -> Iterator[Objects]:
    """Return short ways to another namespace."""
    name = f"other-{uuid.uuid4().hex[:10]}"
    control_plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
        eventually(functools.partial(_exists, control_plane, f"/api/v1/namespaces/{name}/{path}"), SECONDS)
    for claim in CLAIMS:
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        body = {"metadata": {"name": claim}, "spec": spec}
        control_plane.request("POST", f"/api/v1/namespaces/{name}/persistentvolumeclaims", body)
    yield Objects(control_plane, name, outside)
    control_plane.request("DELETE", f"/api/v1/namespaces/{name}")
    control_plane.request("DELETE", f"/api/v1/namespaces/{name}/pods", {"gracePeriodSeconds": 0})


@pytest.fixture
def qdrant(outside: Outside) -> Iterator[QdrantClient]:
    """Return a client of the store, as somebody else has one."""
    client = QdrantClient(url=outside.store_url, timeout=30, check_compatibility=False)
    yield client
    client.close()


def _exists(plane: ControlPlane, path: str) -> bool:
    try:
        plane.request("GET", path)
    except ApiRefused as refused:
        if refused.status != 404:
            raise
        return False
    return True


def named(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the document under another name."""
    return {**document, "metadata": {"name": name}}


def judged(objects: Objects, name: str = "docs") -> dict[str, tuple[str, str]]:
    """Return status and reason of the conditions of a knowledge base."""
    return conditions(objects.get(KIND, name))


def message(objects: Objects, aspect: str, name: str = "docs") -> str:
    """Return what a condition of a knowledge base says."""
    (found,) = [each for each in objects.get(KIND, name)["status"]["conditions"] if each["type"] == aspect]
    return str(found["message"])


def ready(objects: Objects, *which: str) -> None:
    """Wait until these knowledge bases are Ready."""

    def waiting() -> list[str]:
        return [name for name in which if judged(objects, name).get("Ready", ("",))[0] != "True"]

    eventually(lambda: not waiting(), SECONDS, lambda: [message(objects, "Ready", name) for name in waiting()])


def gone(objects: Objects, name: str) -> None:
    """Delete a knowledge base and wait until it is away."""
    objects.delete(KIND, name)
    eventually(
        lambda: name not in {each["metadata"]["name"] for each in objects.list(KIND)},
        SECONDS,
        lambda: objects.get(KIND, name).get("status"),
    )


def collections(qdrant: QdrantClient, objects: Objects) -> set[str]:
    """Return the collections whose name begins with the namespace."""
    found = {each.name for each in qdrant.get_collections().collections}
    return {name for name in found if name.startswith(f"{objects.namespace}.")}


def topics(objects: Objects) -> set[str]:
    """Return the topics whose name begins with the namespace."""
    outside = objects.outside
    assert outside is not None

    async def listed() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=outside.bootstrap)
        await admin.start()
        try:
            return list(await admin.list_topics())
        finally:
            await admin.close()

    return {name for name in asyncio.run(listed()) if name.startswith(f"lectern.{objects.namespace}.")}


def topics_of(objects: Objects, *which: str) -> set[str]:
    """Return the topics that these knowledge bases have to have."""
    return {names.topic(objects.namespace, name, topic) for name in which for topic in Topic}


def test_neighbours_on_one_broker_and_one_store_go_without_taking_anything_along(
    objects: Objects, elsewhere: Objects, qdrant: QdrantClient, operator: RunningOperator
) -> None:
    for document in (GONE, named(GONE, "docs-2"), named(GONE, "docs-documents")):
        objects.create(document)
    elsewhere.create(GONE)
    ready(objects, "docs", "docs-2", "docs-documents")
    ready(elsewhere, "docs")
    assert topics(objects) == topics_of(objects, "docs", "docs-2", "docs-documents")
    quiet(operator)
    before = {name: version for name, version in objects.versions().items() if "docs-" not in name}
    gone(elsewhere, "docs")
    gone(objects, "docs-2")
    gone(objects, "docs-documents")
    quiet(operator)
    assert (topics(elsewhere), collections(qdrant, elsewhere)) == (set(), set())
    assert topics(objects) == topics_of(objects, "docs")
    assert collections(qdrant, objects) == {names.collection(objects.namespace, "docs", 1)}
    assert judged(objects)["Ready"] == ("True", "AllComponentsReady")
    after = objects.versions()
    assert {name: after.get(name) for name in before} == before, "the neighbour that stays was written to"


def test_a_collection_of_another_knowledge_base_is_refused_by_its_name_and_outlives_us(
    objects: Objects, qdrant: QdrantClient, operator: RunningOperator
) -> None:
    name = names.collection(objects.namespace, "docs", 1)
    theirs = Owner("their-team", "handbook", 1, "abc").metadata()
    vectors = {"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)}
    qdrant.create_collection(
        name, vectors_config=vectors, metadata=theirs, sharding_method=models.ShardingMethod.CUSTOM
    )
    objects.create(GONE)
    eventually(lambda: judged(objects).get("CollectionReady") == ("False", "CollectionTaken"), SECONDS)
    said = message(objects, "CollectionReady")
    assert name in said
    assert "KnowledgeBase their-team/handbook" in said
    assert "give the KnowledgeBase another name" in said
    quiet(operator, 2)
    gone(objects, "docs")
    assert qdrant.get_collection(name).config.metadata == theirs
    qdrant.delete_collection(name)


def test_an_index_that_is_moved_under_our_name_is_told_soon_and_left(
    objects: Objects, qdrant: QdrantClient, operator: RunningOperator
) -> None:
    objects.create(GONE)
    ready(objects, "docs")
    quiet(operator)
    workers = objects.get("Deployment", "docs-worker")["metadata"]["generation"]
    alias, theirs = names.alias(objects.namespace, "docs"), f"{objects.namespace}.theirs"
    qdrant.create_collection(theirs, vectors_config={})
    there = models.CreateAlias(alias_name=alias, collection_name=theirs)
    away = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
    qdrant.update_collection_aliases([away, models.CreateAliasOperation(create_alias=there)])
    # looks at the store come every few seconds; the reason follows within ten of the first that sees it
    eventually(lambda: judged(objects)["Ready"] == ("False", "CollectionTaken"), 2 * SOON)
    assert theirs in message(objects, "Ready")
    assert objects.get("Deployment", "docs-worker")["metadata"]["generation"] == workers
    gone(objects, "docs")
    assert collections(qdrant, objects) == {theirs}
    assert {each.alias_name for each in qdrant.get_aliases().aliases if each.collection_name == theirs} == {alias}
    qdrant.delete_collection(theirs)
