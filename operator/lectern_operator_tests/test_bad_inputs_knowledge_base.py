"""Bad input to a KnowledgeBase: what runs is left alone, what is ours is mended, the second pass writes nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lectern_contract import labels
from lectern_contract.collection import Owner
from lectern_operator.clients.errors import Refused
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.passes import Operator, names
from lectern_operator_tests.test_transitions_outside import GONE, broker, operator, ready, store

KIND = "KnowledgeBase"
FIXED = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=2, workers__maxReplicas=2)
COLLECTION, ALIAS = "team.docs.g1", "team.docs"


def children(cluster: FakeCluster) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return all that is no KnowledgeBase, as it is."""
    return copy.deepcopy({key: body for key, body in cluster.objects.items() if key[0] != KIND})


async def test_more_partitions_than_a_collection_takes_are_refused_and_nothing_is_touched() -> None:
    kb = await ready(FIXED)
    before, steps = children(kb.cluster), len(store(kb).steps)
    tenants = [{"name": f"tenant-{number}", "dedicated": True} for number in range(501)]
    kb.cluster.put(worlds.changed(FIXED, partitioning={"tenants": tenants, "accessLevels": ["public", "secret"]}))
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "InvalidSpec")
    assert kb.judged(KIND, "docs")["Stalled"] == ("True", "InvalidSpec")
    assert "1002 shard keys, a collection takes 1000" in kb.condition(KIND, "docs", "Ready")["message"]
    assert (children(kb.cluster), len(store(kb).steps)) == (before, steps)
    kb.cluster.put(FIXED)
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"][0] == "True"


@pytest.mark.parametrize("behind", ["name", "alias"])
async def test_an_index_of_another_knowledge_base_is_refused_by_its_name_and_outlives_ours(behind: str) -> None:
    kb = operator(GONE)
    theirs = COLLECTION if behind == "name" else "their-team.handbook.g3"
    store(kb).make(theirs, owner=Owner("their-team", "handbook", 3, "abc"))
    if behind == "alias":
        store(kb).point_alias(ALIAS, theirs)
    await kb.settle()
    kb.cluster.roll_out_all()
    await kb.look()
    await kb.settle()
    assert kb.judged(KIND, "docs")["CollectionReady"] == ("False", "CollectionTaken")
    said = kb.condition(KIND, "docs", "CollectionReady")["message"]
    assert f"{theirs}" in said
    assert "belongs to KnowledgeBase their-team/handbook (generation 3): rename or delete it" in said
    kb.cluster.ask_to_delete(KIND, "docs")
    for _ in range(5):
        await kb.look()
    assert names(kb.cluster, KIND) == []
    assert sorted(store(kb).collections) == [theirs]
    assert broker(kb).topics == {}


CACHED = worlds.changed(FIXED, embedding__server={"managed": {"modelCache": {"size": "0"}}})


async def test_a_workload_stays_as_it_is_where_what_its_pods_need_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    kb = await ready(FIXED)
    before = children(kb.cluster)
    allowed = FakeCluster.apply_new

    async def apply_new(self: FakeCluster, manifest: dict[str, Any]) -> dict[str, Any]:
        if manifest["kind"] == "PersistentVolumeClaim":
            raise Refused("PersistentVolumeClaim docs-embedder: must be greater than zero", status=422)
        return await allowed(self, manifest)

    with monkeypatch.context() as patched:
        patched.setattr(FakeCluster, "apply_new", apply_new)
        kb.cluster.put(CACHED)
        await kb.settle()
        assert kb.judged(KIND, "docs")["Ready"] == ("False", "ApplyRefused")
        assert "must be greater than zero" in kb.condition(KIND, "docs", "Ready")["message"]
        assert children(kb.cluster) == before
    await kb.settle()
    claims = kb.cluster.objects["Deployment", "team", "docs-embedder"]["spec"]["template"]["spec"]["volumes"]
    assert [each["persistentVolumeClaim"]["claimName"] for each in claims if "persistentVolumeClaim" in each] == [
        "docs-embedder"
    ]


def by_hand(kb: Operator, kind: str, name: str) -> dict[str, Any]:
    """Put a copy of a child that somebody made with all of its metadata but its name, and return it."""
    child = copy.deepcopy(kb.cluster.objects[kind, "team", name])
    child["metadata"] |= {"name": "by-hand", "uid": "uid-by-hand"}
    child["metadata"]["managedFields"] = [{"manager": "kubectl-create", "operation": "Update"}]
    kb.cluster.put(child)
    return copy.deepcopy(kb.cluster.objects[kind, "team", "by-hand"])


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "docs-worker"), ("Service", "docs-embedder")])
async def test_a_copy_with_owner_and_labels_is_neither_written_nor_deleted(kind: str, name: str) -> None:
    kb = await ready(FIXED)
    copied = by_hand(kb, kind, name)
    kb.cluster.put(worlds.changed(FIXED, parsing__timeoutSeconds=30))
    await kb.look()
    kb.cluster.roll_out_all()
    await kb.look()
    await kb.settle()
    found = kb.cluster.objects[kind, "team", "by-hand"]
    assert (found["spec"], found["metadata"]["uid"]) == (copied["spec"], "uid-by-hand")
    assert found["metadata"]["managedFields"] == copied["metadata"]["managedFields"]
    assert kb.judged(KIND, "docs")["Ready"][0] == "True"


async def test_a_copied_owner_label_on_a_child_is_put_right() -> None:
    kb = await ready(FIXED)
    theirs = {labels.OWNER_UID: "uid-of-another", labels.ROLE: "query", "theirs": "1"}
    kb.cluster.edit("Deployment", "docs-worker", {"metadata": {"labels": theirs}})
    await kb.settle()
    found = kb.cluster.objects["Deployment", "team", "docs-worker"]["metadata"]["labels"]
    assert (found[labels.OWNER_UID], found[labels.ROLE], found["theirs"]) == ("uid-kb", "worker", "1")


@pytest.mark.parametrize("clock", ["yesterday", "2099-01-01T00:00:00Z", ""])
async def test_a_clock_that_no_condition_can_have_is_set_anew(clock: str) -> None:
    kb = await ready(FIXED)
    status = copy.deepcopy(kb.status(KIND, "docs"))
    for each in status["conditions"]:
        each["lastTransitionTime"] = clock
    kb.cluster.edit(KIND, "docs", {"status": status})
    await kb.settle()
    clocks = {each["lastTransitionTime"][:10] for each in kb.status(KIND, "docs")["conditions"]}
    assert clocks == {"2026-11-21"}


async def test_a_generation_and_an_index_that_somebody_wrote_into_the_status_change_no_workload() -> None:
    kb = await ready(FIXED)
    before, good = children(kb.cluster), copy.deepcopy(kb.status(KIND, "docs"))
    kb.cluster.edit(KIND, "docs", {"status": {"activeGeneration": 77, "indexIdentity": "wrong", "documents": None}})
    await kb.settle()
    assert children(kb.cluster) == before
    assert {key: kb.status(KIND, "docs")[key] for key in ("activeGeneration", "indexIdentity")} == {
        key: good[key] for key in ("activeGeneration", "indexIdentity")
    }


async def test_a_status_that_cannot_be_read_does_not_keep_others_from_using_the_knowledge_base() -> None:
    kb = await ready(FIXED)
    kb.cluster.put(worlds.SOURCE)
    kb.cluster.put(worlds.ENDPOINT)
    await kb.look()
    kb.cluster.edit(KIND, "docs", {"status": {"conditions": "nonsense", "activeGeneration": "x"}})
    kb.cluster.edit("IngestionSource", "guides", {"metadata": {"annotations": {"look": "again"}}})
    await kb.look()  # the source is looked at before the knowledge base is mended
    for kind, name in (("IngestionSource", "guides"), ("RagEndpoint", "ask")):
        assert kb.judged(kind, name)["KnowledgeBaseFound"] == ("True", "KnowledgeBaseExists")
    assert kb.judged(KIND, "docs")["Ready"][0] == "True"


async def test_a_long_address_leaves_room_for_the_next_step() -> None:
    url = f"http://{'a.' * 1000}invalid"
    kb = operator(worlds.changed(FIXED, vectorStore__url=url))
    await kb.settle()
    said = kb.condition(KIND, "docs", "CollectionReady")["message"]
    assert (len(said), said[:20]) == (1024, url[:20])
    assert said.endswith("; it is asked again")
