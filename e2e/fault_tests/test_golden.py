"""The mask of end states: what may differ between two runs is equal, what must not is kept."""

from __future__ import annotations

import json
from typing import Any

from e2e.faults import golden
from e2e.faults.mirror import Seen

UID = "0a1b2c3d-0000-4000-8000-{:012d}"


def config_map(namespace: str, digest: str, uid: int) -> Seen:
    """Return a settings file as the operator makes it."""
    body: dict[str, Any] = {
        "metadata": {
            "name": f"docs-worker-{digest[:10]}",
            "namespace": namespace,
            "uid": UID.format(uid),
            "resourceVersion": str(uid),
            "annotations": {"lectern.dev/settings": digest},
            "ownerReferences": [{"kind": "KnowledgeBase", "uid": UID.format(uid + 1)}],
        },
        "data": {"settings.json": json.dumps({"topic": f"lectern.{namespace}.docs", "bytes": 33554432})},
    }
    return Seen("configmaps", body, uid)


def owner(namespace: str, uid: int) -> Seen:
    """Return the knowledge base that owns it."""
    body = {
        "metadata": {"name": "docs", "namespace": namespace, "uid": UID.format(uid), "generation": 1},
        "spec": {},
        "status": {"lastRun": "2026-11-21T00:00:00Z"},
    }
    return Seen("knowledgebases", body, uid)


def test_two_runs_with_the_same_outcome_are_equal() -> None:
    first = golden.masked_state([owner("n1", 2), config_map("n1", "a1b2c3d4e5f60718", 1)], "n1")
    second = golden.masked_state([owner("n2", 8), config_map("n2", "1234567890123456", 7)], "n2")
    assert golden.differences(first, second) == []


def test_numbers_stay_and_digests_are_told_apart() -> None:
    two = [config_map("n", "a1b2c3d4e5f60718", 1), config_map("n", "ffb2c3d4e5f60718", 3)]
    state = golden.masked_state(two, "n")
    assert list(state) == ["configmaps/docs-worker-*", "configmaps/docs-worker-*'"]
    names = [each["metadata"]["name"] for each in state.values()]
    assert names == ["docs-worker-digest-1", "docs-worker-digest-2"]
    assert "33554432" in state["configmaps/docs-worker-*"]["data"]["settings.json"]


def test_differences_name_their_place() -> None:
    wanted = {"a": {"b": [1, 2]}, "gone": 1}
    assert golden.differences(wanted, {"a": {"b": [1, 3]}, "new": 1}) == [
        "a.b[1] is 3 instead of 2",
        "gone is missing",
        "new is there but should not be",
    ]


def test_settings_that_only_a_condition_tells_of_are_digests_even_without_a_letter() -> None:
    def told(wanted: str) -> list[Seen]:
        body = owner("n1", 2)
        message = f"1 of 1 pods run other settings than the spec asks for (worker has a1b2c3d4e5, not {wanted})"
        conditions = [{"type": "ConfigApplied", "status": "False", "reason": "SettingsPending", "message": message}]
        return [Seen(body.plural, {**body.body, "status": {"conditions": conditions}}, body.first)]

    first, second = (golden.masked_state(told(wanted), "n1") for wanted in ("f00dfeed12", "2348185121"))
    assert golden.differences(first, second) == []
