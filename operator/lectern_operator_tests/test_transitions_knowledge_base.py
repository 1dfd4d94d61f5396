"""KnowledgeBase: given this world, one pass, that world; and a second pass that writes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from lectern_contract.resources.reasons import CONDITIONS
from lectern_operator.clients.errors import Refused
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import FakeCluster, Manifest
from lectern_operator_tests.passes import Operator, children, names

KIND = "KnowledgeBase"
BACKUP = {"schedule": "@daily", "destination": {"endpoint": "https://s3.example", "bucket": "backups"}}
FIXED = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=2, workers__maxReplicas=2)


def operator(document: dict[str, Any] = worlds.KNOWLEDGE_BASE, *, keda: bool = True) -> Operator:
    cluster = FakeCluster(keda=keda)
    cluster.put(document)
    return Operator(cluster)


async def ready(document: dict[str, Any] = worlds.KNOWLEDGE_BASE) -> Operator:
    """An operator whose knowledge base is ready."""
    found = operator(document)
    await found.settle()
    found.cluster.roll_out_all()
    if ("ScaledObject", "team", "docs-worker") in found.cluster.objects:
        found.cluster.judge("docs-worker", "True")
    await found.settle()
    assert found.condition(KIND, "docs", "Ready")["status"] == "True"
    return found


async def test_a_new_knowledge_base_gets_its_children_and_every_condition() -> None:
    kb = operator()
    await kb.settle()
    config_map = names(kb.cluster, "ConfigMap")[0]
    assert children(kb.cluster) == [
        f"ConfigMap/{config_map}",
        "Deployment/docs-embedder",
        "Deployment/docs-worker",
        "NetworkPolicy/docs-embedder",
        "NetworkPolicy/docs-worker",
        "ScaledObject/docs-worker",
        "Service/docs-embedder",
        "Service/docs-worker",
        "ServiceAccount/docs-embedder",
        "ServiceAccount/docs-worker",
        "ServiceMonitor/docs-embedder",
        "ServiceMonitor/docs-worker",
    ]
    assert tuple(kb.judged(KIND, "docs")) == CONDITIONS[KIND]
    assert kb.judged(KIND, "docs") == {
        "Ready": ("False", "Waiting"),
        "Reconciling": ("True", "Progressing"),
        "Stalled": ("False", "Stable"),
        "SpecHonored": ("True", "AsSpecified"),
        "ReferencesFound": ("True", "ReferencesExist"),
        "EmbeddingReady": ("Unknown", "Progressing"),
        "TopicsReady": ("True", "TopicsExist"),
        "CollectionReady": ("False", "Waiting"),
        "WorkersReady": ("Unknown", "Progressing"),
        "ScalerReady": ("Unknown", "Progressing"),
        "ConfigApplied": ("True", "SettingsLoaded"),
        "EndpointsAllowed": ("True", "EndpointsAsAllowed"),
    }
    assert kb.status(KIND, "docs")["observedGeneration"] == 1


async def test_ready_only_when_every_part_is() -> None:
    kb = operator(FIXED)
    await kb.settle()
    kb.cluster.roll_out("docs-embedder")
    kb.cluster.roll_out("docs-worker", available=1)
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "DeploymentProgressing")
    assert "1 of 2 replicas" in kb.condition(KIND, "docs", "Ready")["message"]
    assert [each["ready"] for each in kb.status(KIND, "docs")["components"]] == [True, False]
    kb.cluster.roll_out("docs-worker")
    assert await kb.settle() == [("status", KIND, "docs")]
    assert kb.judged(KIND, "docs")["Ready"] == ("True", "AllComponentsReady")
    assert kb.judged(KIND, "docs")["Reconciling"] == ("False", "Stable")


async def test_a_clock_of_a_condition_moves_only_with_its_status() -> None:
    kb = await ready(FIXED)
    before = {each["type"]: each["lastTransitionTime"] for each in kb.status(KIND, "docs")["conditions"]}
    kb.cluster.roll_out("docs-worker", available=1)
    await kb.settle()
    after = {each["type"]: each["lastTransitionTime"] for each in kb.status(KIND, "docs")["conditions"]}
    moved = {aspect for aspect in before if before[aspect] != after[aspect]}
    assert moved == {"Ready", "Reconciling", "WorkersReady"}


@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment", "ScaledObject", "Service"])
async def test_a_deleted_child_comes_back(kind: str) -> None:
    kb = await ready()
    before = children(kb.cluster)
    for name in names(kb.cluster, kind):
        kb.cluster.remove(kind, name)
    await kb.settle()
    assert children(kb.cluster) == before


@pytest.mark.parametrize(
    ("kind", "name", "patch"),
    [
        ("Deployment", "docs-embedder", {"spec": {"replicas": 5}}),
        ("Deployment", "docs-worker", {"spec": {"template": {"spec": {"automountServiceAccountToken": True}}}}),
        ("Deployment", "docs-worker", {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}}),
        ("ScaledObject", "docs-worker", {"spec": {"maxReplicaCount": 100}}),
        ("Service", "docs-embedder", {"spec": {"selector": {"app": "other"}}}),
        ("Service", "docs-embedder", {"metadata": {"ownerReferences": None}}),
    ],
)
async def test_what_somebody_changes_of_ours_is_taken_back(kind: str, name: str, patch: dict[str, Any]) -> None:
    kb = await ready()
    kb.cluster.edit(kind, name, patch)
    writes = await kb.settle()
    assert ("apply", kind, name) in writes


async def test_what_somebody_adds_beside_ours_is_left_alone() -> None:
    kb = await ready()
    for kind, name in (("Deployment", "docs-worker"), ("Service", "docs-embedder")):
        kb.cluster.edit(kind, name, {"metadata": {"annotations": {"team": "x"}, "labels": {"team": "x"}}})
    assert await kb.settle() == []


async def test_replicas_that_keda_sets_are_left_alone() -> None:
    kb = await ready()
    kb.cluster.edit("Deployment", "docs-worker", {"spec": {"replicas": 0}})
    kb.cluster.roll_out("docs-worker")
    assert await kb.settle() == []


async def test_a_replica_that_starts_because_of_load_does_not_take_readiness_away() -> None:
    kb = await ready()
    deployment = kb.cluster.objects["Deployment", "team", "docs-worker"]
    conditions = deployment["status"]["conditions"]
    kb.cluster.edit("Deployment", "docs-worker", {"spec": {"replicas": 4}})
    kb.cluster.roll_out("docs-worker", available=1)
    deployment = kb.cluster.objects["Deployment", "team", "docs-worker"]
    deployment["status"]["conditions"] = conditions  # Kubernetes keeps it while only the number changes
    assert await kb.settle() == []


async def test_changed_settings_are_another_config_map_and_the_old_one_outlives_the_rollout() -> None:
    kb = await ready()
    (old,) = names(kb.cluster, "ConfigMap")
    kb.cluster.put(worlds.changed(worlds.KNOWLEDGE_BASE, parsing__timeoutSeconds=30))
    writes = await kb.settle()
    assert len(names(kb.cluster, "ConfigMap")) == 2
    assert ("delete", "ConfigMap", old) not in writes
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "SettingsPending")
    kb.cluster.roll_out("docs-worker")
    await kb.settle()
    (new,) = names(kb.cluster, "ConfigMap")
    assert new != old
    assert kb.judged(KIND, "docs")["Ready"][0] == "True"


async def test_an_old_config_map_stays_while_a_pod_mounts_it() -> None:
    kb = await ready(FIXED)
    (old,) = names(kb.cluster, "ConfigMap")
    (straggler, *_) = [
        body for (kind, _, name), body in kb.cluster.objects.items() if name.startswith("docs-worker-pod")
    ]
    kb.cluster.put(worlds.changed(FIXED, parsing__timeoutSeconds=30))
    await kb.settle()
    kb.cluster.roll_out("docs-worker")
    kb.cluster.put({**straggler, "metadata": {**straggler["metadata"], "name": "straggler"}})
    await kb.settle()
    assert old in names(kb.cluster, "ConfigMap")
    kb.cluster.remove("Pod", "straggler")
    await kb.settle()
    assert old not in names(kb.cluster, "ConfigMap")


async def test_without_keda_a_worker_runs_and_the_condition_says_what_to_install() -> None:
    kb = operator(keda=False)
    await kb.settle()
    kb.cluster.roll_out_all()
    await kb.settle()
    assert kb.cluster.objects["Deployment", "team", "docs-worker"]["spec"]["replicas"] == 1
    assert kb.judged(KIND, "docs")["ScalerReady"] == ("False", "KedaNotInstalled")
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "KedaNotInstalled")
    assert kb.judged(KIND, "docs")["WorkersReady"][0] == "True"
    assert "install KEDA, or set workers.minReplicas equal to" in kb.condition(KIND, "docs", "Ready")["message"]


async def test_keda_that_is_installed_later_takes_over() -> None:
    kb = operator(keda=False)
    await kb.settle()
    kb.cluster.roll_out_all()
    kb.cluster.keda = True
    await kb.settle()
    kb.cluster.judge("docs-worker", "True")
    kb.cluster.roll_out_all()
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"] == ("True", "AllComponentsReady")
    kb.cluster.edit("Deployment", "docs-worker", {"spec": {"replicas": 3}})
    kb.cluster.roll_out_all()
    assert await kb.settle() == []


async def test_an_equal_minimum_and_maximum_needs_no_scaler() -> None:
    kb = await ready(FIXED)
    assert names(kb.cluster, "ScaledObject") == []
    assert kb.judged(KIND, "docs")["ScalerReady"] == ("True", "ScalerNotNeeded")
    assert kb.cluster.objects["Deployment", "team", "docs-worker"]["spec"]["replicas"] == 2


async def test_what_keda_will_not_have_is_told_in_its_words() -> None:
    kb = await ready()
    kb.cluster.judge("docs-worker", "False", "no such broker")
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "ScalerRejected")
    assert "no such broker" in kb.condition(KIND, "docs", "Ready")["message"]


async def test_a_scaler_that_may_not_be_read_is_not_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    kb = await ready()
    allowed = kb.cluster.children

    async def forbidden(kind: str, namespace: str, owner_uid: str) -> tuple[Manifest, ...]:
        if kind in ("ScaledObject", "TriggerAuthentication"):
            raise Refused("scaledobjects is forbidden", status=403)
        return await allowed(kind, namespace, owner_uid)

    monkeypatch.setattr(kb.cluster, "children", forbidden)
    await kb.settle()
    assert names(kb.cluster, "ScaledObject") == ["docs-worker"]
    assert kb.judged(KIND, "docs")["ScalerReady"] == ("Unknown", "Unknown")
    assert kb.condition(KIND, "docs", "Ready")["message"] == "ScalerReady: scaledobjects is forbidden"


async def test_suspend_stops_the_workers_and_resume_starts_them() -> None:
    kb = await ready()
    kb.cluster.put(worlds.changed(worlds.KNOWLEDGE_BASE, suspend=True))
    writes = await kb.settle()
    assert writes.index(("delete", "ScaledObject", "docs-worker")) < writes.index(
        ("apply", "Deployment", "docs-worker")
    )
    kb.cluster.roll_out("docs-worker")
    await kb.settle()
    assert kb.cluster.objects["Deployment", "team", "docs-worker"]["spec"]["replicas"] == 0
    assert kb.judged(KIND, "docs")["Ready"] == ("True", "Suspended")
    kb.cluster.put(worlds.KNOWLEDGE_BASE | {"spec": {**worlds.KNOWLEDGE_BASE["spec"], "suspend": False}})
    await kb.settle()
    assert names(kb.cluster, "ScaledObject") == ["docs-worker"]


async def test_an_external_server_takes_the_place_of_ours() -> None:
    kb = await ready()
    external = {"external": {"url": "https://embed.example"}}
    kb.cluster.put(worlds.changed(worlds.KNOWLEDGE_BASE, embedding__server=external))
    await kb.settle()
    assert names(kb.cluster, "Service") == ["docs-worker"]
    assert names(kb.cluster, "Deployment") == ["docs-worker"]
    assert kb.judged(KIND, "docs")["EmbeddingReady"] == ("True", "EmbedderVerified")
    assert kb.outside.embedders.asked[-1].url == "https://embed.example"


async def test_left_out_stores_are_named_and_what_runs_is_left_alone() -> None:
    kb = await ready()
    before = {key: body for key, body in kb.cluster.objects.items() if key[0] != KIND}
    kb.cluster.put(worlds.changed(worlds.KNOWLEDGE_BASE, messaging=None, vectorStore=None))
    assert await kb.settle() == [("status", KIND, "docs")]
    assert {key: body for key, body in kb.cluster.objects.items() if key[0] != KIND} == before
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "NotOnCluster")
    assert kb.judged(KIND, "docs")["Stalled"] == ("True", "NotOnCluster")
    assert "set spec.vectorStore, spec.messaging:" in kb.condition(KIND, "docs", "Ready")["message"]


async def test_a_spec_that_breaks_a_rule_is_named_and_what_runs_is_left_alone() -> None:
    kb = await ready()
    kb.cluster.put(worlds.changed(worlds.KNOWLEDGE_BASE, chunking__overlap=199))
    assert await kb.settle() == [("status", KIND, "docs")]
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "InvalidSpec")
    assert "spec.chunking.overlap" in kb.condition(KIND, "docs", "Ready")["message"]
    assert kb.judged(KIND, "docs")["WorkersReady"] == ("True", "DeploymentAvailable")
    assert kb.status(KIND, "docs")["observedGeneration"] == 2
    kb.cluster.put(worlds.KNOWLEDGE_BASE | {"spec": {**worlds.KNOWLEDGE_BASE["spec"], "chunking": {}}})
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"][0] == "True"


async def test_an_invalid_spec_from_the_start_has_every_condition() -> None:
    kb = operator(worlds.changed(worlds.KNOWLEDGE_BASE, chunking__overlap=199))
    await kb.settle()
    assert tuple(kb.judged(KIND, "docs")) == CONDITIONS[KIND]
    assert kb.judged(KIND, "docs")["EmbeddingReady"] == ("Unknown", "Unknown")
    assert children(kb.cluster) == []


async def test_a_name_that_is_taken_is_not_taken_over() -> None:
    kb = operator(FIXED)
    theirs = kb.cluster.put(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "docs-embedder", "namespace": "team"}, "spec": {}}
    )
    await kb.look()
    assert kb.cluster.objects["Service", "team", "docs-embedder"] == theirs
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "ApplyRefused")
    assert "Service docs-embedder exists already and is not ours" in kb.condition(KIND, "docs", "Ready")["message"]
    kb.cluster.remove("Service", "docs-embedder")
    await kb.settle()
    kb.cluster.roll_out_all()
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"][0] == "True"


async def test_a_copied_label_makes_no_child() -> None:
    kb = await ready()
    labels = kb.cluster.objects["Deployment", "team", "docs-worker"]["metadata"]["labels"]
    kb.cluster.put(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "namespace": "team", "labels": labels}}
    )
    assert await kb.settle() == []


async def test_a_knowledge_base_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    kb = await ready()
    kb.cluster.edit(KIND, "docs", {"metadata": {"deletionTimestamp": "2026-11-21T00:00:00Z"}})
    kb.cluster.remove("Service", "docs-embedder")
    assert await kb.settle() == []


async def test_an_image_that_cannot_be_pulled_is_named() -> None:
    kb = operator(FIXED)
    await kb.settle()
    kb.cluster.roll_out("docs-embedder")
    kb.cluster.stick("docs-worker", "ImagePullBackOff", "Back-off 10s")
    await kb.settle()
    assert kb.judged(KIND, "docs")["Ready"] == ("False", "ComponentNotReady")
    assert "the image image of container main cannot be pulled" in kb.condition(KIND, "docs", "Ready")["message"]


async def test_fields_that_nothing_reads_are_named_and_do_not_hold_readiness_back() -> None:
    kb = await ready(worlds.changed(worlds.KNOWLEDGE_BASE, backup=BACKUP))
    assert kb.judged(KIND, "docs")["SpecHonored"] == ("False", "FieldsNotRead")
    assert "does not act on spec.backup;" in kb.condition(KIND, "docs", "SpecHonored")["message"]


async def test_a_status_that_somebody_else_wrote_is_replaced() -> None:
    kb = await ready()
    before = kb.judged(KIND, "docs")
    kb.cluster.edit(KIND, "docs", {"status": {"conditions": "nonsense", "documents": {"indexed": -1}}})
    assert await kb.settle() == [("status", KIND, "docs")]
    assert kb.judged(KIND, "docs") == before


async def test_a_generation_that_somebody_else_caused_takes_no_readiness_away() -> None:
    kb = await ready(FIXED)
    deployment = kb.cluster.objects["Deployment", "team", "docs-worker"]
    deployment["metadata"]["generation"] += 1  # as for an annotation: its controller has not looked yet
    assert await kb.settle() == []


async def test_our_own_change_is_not_ready_before_the_controller_has_looked() -> None:
    kb = await ready(FIXED)
    kb.cluster.edit("Deployment", "docs-worker", {"spec": {"replicas": 5}})
    await kb.look()
    assert kb.judged(KIND, "docs")["WorkersReady"] == ("Unknown", "Progressing")
