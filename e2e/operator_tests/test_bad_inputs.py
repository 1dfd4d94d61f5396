"""Labels, annotations and statuses of somebody else on our objects and ours on theirs; names and texts at their limits.

Always: a foreign object is neither deleted nor adopted, ours is mended, and what nobody's spec asks for stays away.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import RunningOperator, conditions, eventually, quiet
from lectern_contract import labels, names
from lectern_contract.resources.reasons import CONDITIONS
from lectern_operator_tests import worlds

pytestmark = pytest.mark.usefixtures("claims", "operator", "fake_node")
SECONDS = 60.0
SOON = 10.0
"""Within what a status or a child is mended."""
FIXED = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=1, workers__maxReplicas=1)
TRIO = (("KnowledgeBase", "docs"), ("IngestionSource", "guides"), ("RagEndpoint", "ask"))
TOOLS = {
    "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:team/other",
    "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"kind": "Deployment", "spec": {"replicas": 0}}),
    "meta.helm.sh/release-name": "other",
    "meta.helm.sh/release-namespace": "team",
}
"""Annotations by which tools know what is theirs, copied from an object of theirs."""
HELM = {"app.kubernetes.io/instance": "other", "helm.sh/chart": "other-1.0"}
THEIRS = {**HELM, "app.kubernetes.io/managed-by": "Helm"}


def ready(objects: Objects, *documents: dict[str, Any]) -> None:
    """Create resources and wait until each is Ready."""
    for document in documents:
        objects.create(document)
    await_ready(objects, *((each["kind"], each["metadata"]["name"]) for each in documents))


def await_ready(objects: Objects, *which: tuple[str, str]) -> None:
    """Wait until these resources are Ready."""

    def waiting() -> list[dict[str, Any]]:
        found = [objects.get(*each) for each in which]
        return [each for each in found if conditions(each).get("Ready", ("",))[0] != "True"]

    eventually(lambda: not waiting(), SECONDS, lambda: [each.get("status") for each in waiting()])


def looked_again(objects: Objects, operator: RunningOperator) -> None:
    """Change the specs a little, so that children are written and pruned, and wait until that is done."""
    objects.merge("KnowledgeBase", "docs", {"spec": {"parsing": {"timeoutSeconds": 30}}})
    objects.merge("RagEndpoint", "ask", {"spec": {"retrieval": {"topK": 7}}})
    for kind, name in (("KnowledgeBase", "docs"), ("RagEndpoint", "ask")):
        eventually(
            lambda kind=kind, name=name: objects.get(kind, name)["status"]["observedGeneration"] == 2,  # type: ignore[misc]
            SOON,
        )
    quiet(operator)
    await_ready(objects, ("KnowledgeBase", "docs"), ("RagEndpoint", "ask"))


@pytest.mark.parametrize("owner", [False, True], ids=["labels", "labels-and-owner"])
def test_what_was_copied_from_a_child_is_neither_adopted_nor_deleted(
    objects: Objects, operator: RunningOperator, owner: bool
) -> None:
    ready(objects, FIXED, worlds.ENDPOINT)
    (settings,) = [each for each in objects.list("ConfigMap") if each["metadata"]["name"].startswith("ask-query-")]
    copies: dict[tuple[str, str], dict[str, Any]] = {}
    for kind, name in (
        ("Deployment", "ask-query"),
        ("Service", "ask-query"),
        ("ConfigMap", settings["metadata"]["name"]),
    ):
        child = objects.get(kind, name)
        kept = ("labels", "annotations", "ownerReferences") if owner else ("labels", "annotations")
        metadata = {key: child["metadata"][key] for key in kept if key in child["metadata"]}
        spec: dict[str, Any] = {key: copy.deepcopy(child[key]) for key in ("spec", "data") if key in child}
        spec.get("spec", {}).pop("clusterIP", None)
        spec.get("spec", {}).pop("clusterIPs", None)
        body = {"metadata": {**metadata, "name": f"by-hand-{kind.lower()}"}, **spec}
        made = objects.plane.request("POST", f"{objects.path(kind)}?fieldManager=somebody-else", body)
        copies[kind, made["metadata"]["name"]] = made["metadata"]
    looked_again(objects, operator)
    for (kind, name), before in copies.items():
        after = objects.get(kind, name)["metadata"]
        assert (after["uid"], after.get("deletionTimestamp")) == (before["uid"], None)
        assert names.FIELD_MANAGER not in {each["manager"] for each in after["managedFields"]}, "it was adopted"
    replicas = objects.get("Deployment", "ask-query")["status"]["replicas"]
    assert replicas == 1, "pods of the copy were counted as ours"


def test_labels_of_others_on_our_children_do_not_turn_them_into_theirs(
    objects: Objects, operator: RunningOperator
) -> None:
    other = {**FIXED, "metadata": {"name": "other"}}
    ready(objects, FIXED, other, worlds.ENDPOINT)
    foreign = objects.get("Deployment", "other-worker")["metadata"]
    copied = {"labels": {**foreign["labels"], **THEIRS}, "annotations": {**TOOLS, **foreign["annotations"]}}
    children = (("Deployment", "docs-worker"), ("Deployment", "ask-query"), ("Service", "ask-query"))
    before = {each: objects.get(*each)["metadata"] for each in children}
    for each in children:
        objects.merge(*each, {"metadata": copied})

    def mended() -> bool:
        return all(_has(objects.get(*each)["metadata"], before[each]) for each in children)

    eventually(mended, SOON, lambda: [objects.get(*each)["metadata"] for each in children])
    quiet(operator)
    for each in children:
        after = objects.get(*each)["metadata"]
        assert after["uid"] == before[each]["uid"]
        assert {key: after["labels"][key] for key in HELM} == HELM, "what others say of it was taken away"
        assert {key: after["annotations"][key] for key in TOOLS} == TOOLS
    assert objects.get("Deployment", "other-worker")["metadata"]["uid"] == foreign["uid"]
    await_ready(objects, ("KnowledgeBase", "docs"), ("KnowledgeBase", "other"), ("RagEndpoint", "ask"))


def _has(metadata: dict[str, Any], before: dict[str, Any]) -> bool:
    """Say whether all labels and annotations of ours are as they were; what others add beside them is theirs."""
    return all(before[where].items() <= metadata[where].items() for where in ("labels", "annotations"))


def test_labels_of_children_and_tools_on_a_resource_go_no_further(objects: Objects, operator: RunningOperator) -> None:
    ready(objects, {**FIXED, "metadata": {"name": "other"}})
    worker = objects.get("Deployment", "other-worker")["metadata"]
    marks = {"labels": {**worker["labels"], **THEIRS}, "annotations": {**TOOLS, **worker["annotations"]}}
    ready(objects, {**FIXED, "metadata": {"name": "docs", **marks}})
    quiet(operator)
    for kind in ("ConfigMap", "Deployment", "Pod", "Service"):
        for child in objects.list(kind):
            assert not set(HELM) & set(child["metadata"].get("labels", {}))
            assert not set(TOOLS) & set(child["metadata"].get("annotations", {}))
    found = objects.get("KnowledgeBase", "docs")["metadata"]
    assert found["labels"] == marks["labels"]
    assert objects.get("Deployment", "docs-worker")["metadata"]["labels"][labels.OWNER_UID] == found["uid"]
    objects.delete("KnowledgeBase", "other")
    eventually(lambda: "other-worker" not in _names(objects, "Deployment"), SECONDS)
    assert "docs-worker" in _names(objects, "Deployment")
    await_ready(objects, ("KnowledgeBase", "docs"))


def _names(objects: Objects, kind: str) -> list[str]:
    return [each["metadata"]["name"] for each in objects.list(kind)]


def test_a_status_that_somebody_else_wrote_is_put_right(objects: Objects, operator: RunningOperator) -> None:
    ready(objects, FIXED, worlds.SOURCE, worlds.ENDPOINT)
    quiet(operator)
    before = {each: objects.get(*each)["status"] for each in TRIO}
    running = _generations(objects)
    for kind, name in TRIO:
        forged = {key: _wrong(value) for key, value in before[kind, name].items()}
        path = f"{objects.path(kind, name)}/status?fieldManager=somebody-else"
        objects.plane.request("PATCH", path, {"status": forged}, content_type="application/merge-patch+json")

    def told() -> dict[tuple[str, str], Any]:
        return {each: _timeless(objects.get(*each)["status"]) for each in TRIO}

    wanted = {each: _timeless(status) for each, status in before.items()}

    def differing() -> list[Any]:
        found = told()
        return [
            (each, key, found[each].get(key), wanted[each].get(key))
            for each in TRIO
            for key in found[each] | wanted[each]
            if found[each].get(key) != wanted[each].get(key)
        ]

    eventually(lambda: not differing(), SOON, differing)
    quiet(operator)
    assert _generations(objects) == running, "a workload was rolled because of a status"
    for kind, name in TRIO:
        found = objects.get(kind, name)["status"]["conditions"]
        assert [each["type"] for each in found] == list(CONDITIONS[kind])
        assert all(each["lastTransitionTime"].startswith("20") for each in found), "a clock that is none was kept"


def _wrong(value: Any) -> Any:
    """Return a value of the same type that says something else."""
    match value:
        case bool():
            return not value
        case int():
            return value + 76
        case str() if value in ("True", "False", "Unknown"):
            return {"True": "True", "False": "True", "Unknown": "False"}[value]
        case str() if value in ("Dedicated", "Shared", "Promoting", "Running", "Succeeded", "Failed", "Sync"):
            return value
        case str():
            return value[::-1]
        case list() if value and isinstance(value[0], dict) and "type" in value[0]:
            wrong = [{**_wrong(each), "type": each["type"]} for each in value]
            return [*wrong, {**wrong[0], "type": "Theirs"}]
        case list():
            return [_wrong(each) for each in value]
        case dict():
            return {key: _wrong(each) for key, each in value.items()}
        case _:
            return value


def _timeless(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status without its clocks."""
    told = [{key: each[key] for key in each if key != "lastTransitionTime"} for each in status["conditions"]]
    return {**status, "conditions": told}


def _generations(objects: Objects) -> dict[str, tuple[str, int]]:
    found = [each["metadata"] for each in objects.list("Deployment")]
    return {each["name"]: (each["uid"], each["generation"]) for each in found}


def test_names_at_their_limit_and_texts_of_any_script_become_ready_and_rest(
    objects: Objects, operator: RunningOperator
) -> None:
    longest = {"kb": "k" * 40, "rag": "r" * 40}
    text = "Straße 家 \U0001f4da e\u0301 \u202egnirts\u202c \u0007\x7f\x85\u2028\ufeff"
    kb = worlds.changed(
        FIXED,
        embedding__documentPrefix=f"{text} passage: ",
        embedding__queryPrefix=f"{text} query: ",
        embedding__revision="Größe/家",
        embedding__server={"managed": {"args": [text, "--name=Ελλάδα", "'\"\\ $(X) \n"]}},
        dataPolicy={"masking": [{"name": "Häuser", "kind": "Pattern", "pattern": "\\p{L}+ß家"}]},
        partitioning={
            "accessLevels": ["l" * 63],
            "tenants": [{"name": "T" * 63, "dedicated": True}],
        },
    )
    rag = worlds.changed(
        worlds.ENDPOINT,
        knowledgeBaseRefs=[longest["kb"]],
        auth__anonymous={"tenant": "T" * 63, "accessLevels": ["l" * 63]},
    )
    ready(objects, {**kb, "metadata": {"name": longest["kb"]}}, {**rag, "metadata": {"name": longest["rag"]}})
    quiet(operator)
    before = objects.versions()
    objects.merge("KnowledgeBase", longest["kb"], {"metadata": {"annotations": {"note": text}}})
    quiet(operator)
    after = objects.versions()
    assert {name for name in after if after[name] != before.get(name)} == {f"KnowledgeBase/{longest['kb']}"}
    args = objects.get("Deployment", f"{longest['kb']}-embedder")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[-3:] == kb["spec"]["embedding"]["server"]["managed"]["args"]
    (file,) = [each for each in objects.list("ConfigMap") if each["metadata"]["name"].startswith(longest["rag"])]
    (settings,) = file["data"].values()
    assert kb["spec"]["embedding"]["queryPrefix"] in _texts(json.loads(settings))


def _texts(value: Any) -> list[str]:
    """Return every text in a JSON document."""
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in _texts(item)]
