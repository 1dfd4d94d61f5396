"""The cache of children: never older than it was, by owner, small, and blind to copied labels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from lectern_contract import labels
from lectern_operator.handlers.cache import ChildCache, owner_of
from lectern_operator.handlers.packing import Packing
from lectern_operator_tests import cache_memory

Body = dict[str, Any]


def child(version: int, *, uid: str = "c1", owner: str = "uid-kb", name: str = "notes", **metadata: Any) -> Body:
    """Return a ConfigMap of `owner`."""
    own = {
        "name": name,
        "namespace": "team",
        "uid": uid,
        "resourceVersion": str(version),
        "labels": {labels.OWNER_UID: owner},
        "ownerReferences": [{"uid": owner}],
        **metadata,
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": own, "data": {"n": str(version)}}


def known(cache: ChildCache, owner: str = "uid-kb") -> list[str]:
    """Return the data of the children of `owner`."""
    return [each["data"]["n"] for each in cache.children("ConfigMap", "team", owner)]


def test_the_newest_body_stays_whatever_comes_late() -> None:
    cache = ChildCache()
    assert cache.seen("ConfigMap", child(9)) == "uid-kb"
    assert cache.seen("ConfigMap", child(9)) is None, "the echo of our own write is no news"
    assert cache.seen("ConfigMap", child(8)) is None
    assert cache.seen("ConfigMap", child(10)) == "uid-kb"
    assert known(cache) == ["10"]


def test_what_went_does_not_come_back_by_a_late_event() -> None:
    cache = ChildCache()
    cache.seen("ConfigMap", child(5))
    assert cache.gone("c1", 7) == "uid-kb"
    assert cache.seen("ConfigMap", child(6)) is None
    assert cache.gone("c1", 7) is None
    assert (known(cache), len(cache)) == ([], 0)


def test_late_news_of_a_delete_spares_what_is_seen_since() -> None:
    cache = ChildCache()
    cache.seen("ConfigMap", child(9))
    assert cache.gone("c1", 7) is None
    assert known(cache) == ["9"]


def test_an_object_made_anew_takes_the_place_of_its_namesake() -> None:
    cache = ChildCache()
    cache.seen("ConfigMap", child(5))
    cache.seen("ConfigMap", child(8, uid="c2"))
    assert known(cache) == ["8"]
    assert cache.seen("ConfigMap", child(6)) is None


@pytest.mark.parametrize("metadata", [{"ownerReferences": []}, {"ownerReferences": [{"uid": "other"}]}, {"labels": {}}])
def test_a_copied_label_makes_no_child(metadata: Body) -> None:
    cache = ChildCache()
    assert cache.seen("ConfigMap", child(5, **metadata)) is None
    assert len(cache) == 0


def test_a_child_that_loses_its_owner_is_news_for_the_owner() -> None:
    cache = ChildCache()
    cache.seen("ConfigMap", child(5))
    assert cache.seen("ConfigMap", child(6, ownerReferences=[])) == "uid-kb"
    assert known(cache) == []
    assert cache.seen("ConfigMap", child(7)) == "uid-kb"


def test_a_pod_of_a_controller_has_an_owner_of_its_own() -> None:
    pod = child(5, ownerReferences=[{"kind": "ReplicaSet", "uid": "rs"}])
    assert owner_of("Pod", pod) == "uid-kb"
    assert owner_of("Pod", child(5, ownerReferences=[])) is None


def test_children_are_told_by_owner_kind_and_namespace() -> None:
    cache = ChildCache()
    cache.seen("ConfigMap", child(1, uid="b", name="b"))
    cache.seen("ConfigMap", child(2, uid="a", name="a"))
    cache.seen("ConfigMap", child(3, uid="x", owner="another"))
    cache.seen("ConfigMap", child(4, uid="far", namespace="elsewhere"))
    cache.seen("Secret", {**child(5, uid="s"), "kind": "Secret"})
    assert known(cache) == ["2", "1"]
    assert cache.versions("ConfigMap", "team") == {"b": 1, "a": 2, "x": 3}
    assert cache.name("far") == "ConfigMap/notes"


def test_a_kind_that_goes_takes_its_children_along_and_may_come_back() -> None:
    cache = ChildCache()
    cache.seen("ConfigMap", child(5))
    cache.listed("ConfigMap")
    assert cache.complete("ConfigMap")
    cache.forget("ConfigMap")
    assert (known(cache), cache.complete("ConfigMap")) == ([], False)
    assert cache.seen("ConfigMap", child(5)) == "uid-kb"
    cache.refused("ConfigMap", "cannot list")
    assert cache.unreadable("ConfigMap") == "cannot list"
    cache.listed("ConfigMap")
    assert cache.unreadable("ConfigMap") is None


def test_what_is_packed_comes_back_whole_and_without_who_set_which_field() -> None:
    packing = Packing()
    first, second = child(1, managedFields=[{}]), child(2, name="ünïcode", annotations={"a": "b" * 70_000})
    packed = [packing.pack("ConfigMap", each) for each in (first, second)]
    del first["metadata"]["managedFields"]
    assert [packing.unpack("ConfigMap", each) for each in packed] == [first, second]


def test_a_knowledge_base_with_its_children_takes_a_few_kilobytes() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", cache_memory.__name__]
    told = subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    found = json.loads(told.stdout)
    assert found["children"] >= 1_000
    assert found["bytes_a_child"] < 700, found
