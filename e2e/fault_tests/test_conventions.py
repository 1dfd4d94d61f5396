"""The judge of recorded states: right ones pass, each breach is named."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from e2e.faults.conventions import breaches
from e2e.faults.kstatus import conclude
from e2e.faults.mirror import State


def body(**truth: str) -> dict[str, Any]:
    """Return a resource with these conditions, by default Ready."""
    wanted = {"Ready": "True", "Reconciling": "False", "Stalled": "False"} | truth
    conditions = [
        {
            "type": name,
            "status": status,
            "reason": "Because",
            "message": "said",
            "lastTransitionTime": "2026-11-21T00:00:00Z",
            "observedGeneration": 2,
        }
        for name, status in wanted.items()
    ]
    return {
        "metadata": {"uid": "u", "name": "docs", "generation": 2},
        "status": {"observedGeneration": 2, "conditions": conditions},
    }


def states(*bodies: dict[str, Any]) -> list[State]:
    """Return them as a history of one knowledge base."""
    return [State(number, "knowledgebases", each) for number, each in enumerate(bodies)]


def edited(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return the Ready resource with one place set."""
    found = copy.deepcopy(body())
    place: Any = found
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return found


@pytest.mark.parametrize(
    ("resource", "concluded"),
    [
        (body(), "Current"),
        (body(Ready="False"), "InProgress"),
        (body(Ready="False", Stalled="True"), "Failed"),
        (body(Reconciling="True"), "InProgress"),
        (edited(("metadata", "generation"), 3), "InProgress"),
        (edited(("metadata", "deletionTimestamp"), "2026-11-21T00:00:00Z"), "Terminating"),
    ],
)
def test_kstatus_concludes_as_its_tools_do(resource: dict[str, Any], concluded: str) -> None:
    assert conclude(resource) == concluded


def test_a_life_as_it_should_be_breaks_nothing() -> None:
    new = {"metadata": {"uid": "u", "name": "docs", "generation": 1}}
    waiting = body(Ready="Unknown", Reconciling="True")
    assert breaches(states(new, waiting, body(Ready="False", Stalled="True"), body())) == []


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (edited(("status", "observedGeneration"), 3), "observedGeneration is 3 at generation 2"),
        (edited(("status", "conditions", 0, "reason"), ""), "Ready has reason ''"),
        (edited(("status", "conditions", 0, "lastTransitionTime"), "now"), "Ready has lastTransitionTime 'now'"),
        (edited(("status", "conditions", 0, "observedGeneration"), 1), "Ready is of generation 1, the status of 2"),
        (edited(("status", "conditions", 0, "status"), "yes"), "Ready has status 'yes'"),
        (body(Reconciling="True", Stalled="True", Ready="False"), "Reconciling and Stalled are both True"),
        (body(Reconciling="True"), "kstatus concludes InProgress while Ready is True"),
    ],
)
def test_a_breach_is_named(resource: dict[str, Any], said: str) -> None:
    assert f"knowledgebases/docs: {said}" in breaches(states(resource))


def test_a_condition_that_moves_in_time_but_not_in_status_is_named() -> None:
    later = edited(("status", "conditions", 0, "lastTransitionTime"), "2026-11-21T00:00:01Z")
    assert breaches(states(body(), later)) == [
        "knowledgebases/docs: Ready has a new lastTransitionTime although it stayed True"
    ]


def test_an_alarm_without_a_message_is_named() -> None:
    silent = body(Ready="False")
    silent["status"]["conditions"][0]["message"] = ""
    assert breaches(states(silent)) == ["knowledgebases/docs: Ready=False (Because) has no message"]
