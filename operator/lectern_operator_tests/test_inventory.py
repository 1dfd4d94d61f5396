"""The inventory: the newest body of each resource, and who looks again because of an event."""

from __future__ import annotations

from typing import Any

from lectern_contract import labels
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import WorkQueue
from lectern_operator.handlers.watching import poke_owner, take_in
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
    inventory, queue = Inventory(), WorkQueue()
    child = {"metadata": {"labels": {labels.OWNER_UID: "uid-kb"}}}
    poke_owner(child, inventory, queue)
    assert len(queue) == 0
    take_in(None, body(KB, 1), inventory, queue)
    queue.forget("uid-kb")
    poke_owner(child, inventory, queue)
    assert len(queue) == 1


def test_a_deleted_resource_leaves_the_queue() -> None:
    inventory, queue = Inventory(), WorkQueue()
    take_in("ADDED", body(SOURCE, 1), inventory, queue)
    take_in("DELETED", body(SOURCE, 2), inventory, queue)
    assert (len(inventory), len(queue)) == (0, 0)


def test_a_live_list_tells_what_was_missed_and_what_is_lost() -> None:
    inventory = Inventory()
    inventory.seen(body(KB, 1))
    inventory.seen(body(KB, 1, uid="stale", name="old"))
    inventory.seen(body(SOURCE, 1))
    live = [body(KB, 2), body(KB, 1, uid="new", name="new")]
    found = {each["metadata"]["uid"] for each in inventory.compare(live, "KnowledgeBase")}
    assert found == {"uid-kb", "new", "stale"}
    assert inventory.compare([body(SOURCE, 1)], "IngestionSource") == ()
