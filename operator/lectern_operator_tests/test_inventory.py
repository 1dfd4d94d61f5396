"""The inventory: the newest body of each resource, and who looks again because of an event."""

from __future__ import annotations

from typing import Any

from lectern_contract import labels
from lectern_operator.handlers.cache import ChildCache
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import WorkQueue
from lectern_operator.handlers.watching import View, take_in
from lectern_operator_tests import worlds


def body(document: dict[str, Any], version: int, *, generation: int = 1, **metadata: Any) -> dict[str, Any]:
    """Return an event's body."""
    own = {"resourceVersion": str(version), "generation": generation, "managedFields": [{}]}
    return {**document, "metadata": {**document["metadata"], **own, **metadata}}


KB, SOURCE, ENDPOINT = worlds.KNOWLEDGE_BASE, worlds.SOURCE, worlds.ENDPOINT


def test_a_new_resource_looks_and_nobody_who_set_which_field_is_remembered() -> None:
    inventory = Inventory()
    assert inventory.seen(body(SOURCE, 1)) == ("uid-isrc",)
    found = inventory.get("uid-isrc")
    assert found is not None
    assert "managedFields" not in found["metadata"]


def test_an_echo_of_our_own_write_asks_for_nothing() -> None:
    inventory = Inventory()
    inventory.seen(body(KB, 1))
    inventory.wrote(body(KB, 2))
    assert inventory.seen(body(KB, 2)) == ()
    assert inventory.seen(body(KB, 1)) == (), "a late event makes nothing older"
    assert inventory.seen(body(KB, 10)) == ("uid-kb",), "versions are numbers, not texts"


def test_dependents_look_when_a_knowledge_base_comes_changes_or_goes() -> None:
    inventory = Inventory()
    inventory.seen(body(SOURCE, 1))
    inventory.seen(body(ENDPOINT, 2))
    everybody = ("uid-kb", "uid-isrc", "uid-rag")
    assert inventory.seen(body(KB, 3)) == everybody
    assert inventory.seen(body(KB, 4)) == ("uid-kb",), "a status is no news for dependents"
    assert inventory.seen(body(KB, 5, generation=2)) == everybody
    assert inventory.gone(body(KB, 6)) == ("uid-isrc", "uid-rag")
    assert inventory.get("uid-kb") is None


def test_a_knowledge_base_elsewhere_is_none_of_ours() -> None:
    inventory = Inventory()
    inventory.seen(body(SOURCE, 1))
    assert inventory.seen(body(KB, 2, namespace="other")) == ("uid-kb",)


def test_a_write_does_not_bring_back_what_is_gone() -> None:
    inventory = Inventory()
    inventory.wrote(body(KB, 2))
    assert inventory.uids() == ()


def test_a_child_pokes_its_owner_while_it_is_there() -> None:
    view = View(Inventory(), ChildCache(), WorkQueue())
    metadata = {"uid": "c", "name": "c", "namespace": "team", "ownerReferences": [{"uid": "uid-kb"}]}

    def child(version: int, **more: Any) -> dict[str, Any]:
        label = {labels.OWNER_UID: "uid-kb"}
        return {"kind": "Service", "metadata": {**metadata, "labels": label, "resourceVersion": str(version), **more}}

    view.child("ADDED", "Service", child(1))
    assert len(view.queue) == 0
    view.resource(None, body(KB, 1))
    view.queue.forget("uid-kb")
    view.child("MODIFIED", "Service", child(1))
    view.child("ADDED", "Service", child(2, uid="copy", ownerReferences=[]))
    assert len(view.queue) == 0, "neither an echo nor a copied label is news"
    view.child("MODIFIED", "Service", child(3))
    assert len(view.queue) == 1
    view.queue.forget("uid-kb")
    view.child("DELETED", "Service", child(4))
    assert len(view.queue) == 1


def test_a_deleted_resource_leaves_the_queue() -> None:
    inventory, queue = Inventory(), WorkQueue()
    take_in("ADDED", body(SOURCE, 1), inventory, queue)
    take_in("DELETED", body(SOURCE, 2), inventory, queue)
    assert (len(inventory), len(queue)) == (0, 0)


def test_late_news_of_a_delete_and_of_the_deleted_change_nothing() -> None:
    inventory = Inventory()
    inventory.seen(body(KB, 5))
    assert inventory.gone(body(KB, 4)) == ()
    assert inventory.get("uid-kb") is not None
    inventory.gone(body(KB, 7))
    assert inventory.seen(body(KB, 6)) == ()
    assert "uid-kb" not in inventory


def test_a_resource_is_found_by_name_also_after_it_was_made_anew() -> None:
    inventory = Inventory()
    inventory.seen(body(KB, 1))
    inventory.seen(body(KB, 3, uid="anew"))
    inventory.gone(body(KB, 2))
    found = inventory.find("KnowledgeBase", "team", "docs")
    assert found is not None
    assert found["metadata"]["uid"] == "anew"
    assert inventory.find("KnowledgeBase", "other", "docs") is None
    assert (inventory.count("KnowledgeBase"), inventory.versions("KnowledgeBase", "team")) == (1, {"anew": 3})


def test_an_endpoint_elsewhere_and_its_knowledge_base_look_for_each_other() -> None:
    inventory = Inventory()
    inventory.seen(body(KB, 1))
    far = {**ENDPOINT, "spec": {**ENDPOINT["spec"], "knowledgeBaseRefs": ["team/docs", "own"]}}
    assert inventory.seen(body(far, 2, namespace="far")) == ("uid-rag", "uid-kb")
    assert inventory.naming("team", "docs") == (
        {
            "kind": "RagEndpoint",
            "metadata": {"namespace": "far", "name": "ask"},
            "spec": {"knowledgeBaseRefs": ["team/docs", "far/own"]},
        },
    )
    assert inventory.seen(body(KB, 3, generation=2)) == ("uid-kb", "uid-rag")
    without = {**ENDPOINT, "spec": {**ENDPOINT["spec"], "knowledgeBaseRefs": ["own"]}}
    assert inventory.seen(body(without, 4, generation=2, namespace="far")) == ("uid-rag", "uid-kb")
    assert inventory.naming("team", "docs") == ()


def test_a_spec_of_any_shape_names_what_can_be_read_of_it() -> None:
    inventory = Inventory()
    specs: list[Any] = [None, [], {"knowledgeBaseRefs": "docs"}, {"knowledgeBaseRefs": [1, None, "docs"]}]
    for number, spec in enumerate(specs):
        inventory.seen(body({**ENDPOINT, "spec": spec}, number + 1, uid=str(number), name=str(number)))
    assert [each["metadata"]["name"] for each in inventory.naming("team", "docs")] == ["3"]


def test_conditions_are_counted_by_kind_and_status() -> None:
    inventory = Inventory()
    ready = {"conditions": [{"type": "Ready", "status": "True"}, "nonsense"]}
    for number, status in enumerate((ready, ready, {"conditions": "nonsense"}, None)):
        metadata = {"uid": str(number), "name": f"kb-{number}", "namespace": "team", "resourceVersion": "1"}
        inventory.seen({"kind": "KnowledgeBase", "metadata": metadata, "spec": {}, "status": status})
    assert dict(inventory.conditions()) == {("KnowledgeBase", "Ready", "True"): 2}
