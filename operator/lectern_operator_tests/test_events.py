"""Transitions become Events, each once, bounded, and never in the way of a pass."""

from __future__ import annotations

from typing import Any

import pytest

from lectern_contract.errors import DependencyError
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_contract.resources.status import Condition
from lectern_operator.clients.errors import Outdated
from lectern_operator.handlers.events import MOST_A_MINUTE, Events
from lectern_operator.policies.transitions import transitions
from lectern_operator_tests import worlds

BODY = worlds.KNOWLEDGE_BASE


def condition(aspect: ConditionType, status: Any, at: str = "2026-11-21T10:00:00Z") -> Condition:
    """Return one condition."""
    return Condition(
        type=aspect,
        status=status,
        reason=Reason.COMPONENT_NOT_READY,
        message="why",
        last_transition_time=at,
        observed_generation=1,
    )


READY, STALLED, SCALER = ConditionType.READY, ConditionType.STALLED, ConditionType.SCALER_READY


@pytest.mark.parametrize(
    ("aspect", "before", "after", "told"),
    [
        (READY, None, "Unknown", None),
        (READY, None, "False", None),
        (READY, None, "True", "Normal"),
        (READY, "Unknown", "False", "Warning"),
        (READY, "False", "Unknown", "Normal"),
        (READY, "True", "True", None),
        (SCALER, None, "False", None),
        (SCALER, "True", "False", "Warning"),
        (SCALER, "Unknown", "False", "Warning"),
        (SCALER, "False", "True", "Normal"),
        (SCALER, "Unknown", "True", None),
        (SCALER, "True", "Unknown", None),
        (STALLED, "False", "True", "Warning"),
        (STALLED, "True", "False", "Normal"),
        (ConditionType.RECONCILING, "True", "False", None),
    ],
)
def test_what_is_told(aspect: ConditionType, before: str | None, after: str, told: str | None) -> None:
    known = () if before is None else (condition(aspect, before),)
    assert [each.type for each in transitions(known, (condition(aspect, after),))] == ([told] if told else [])


class Server:
    """Takes each name once; `answer` is raised instead where it is set."""

    def __init__(self, answer: Exception | None = None) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.answer = answer

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Keep the Event."""
        if self.answer is not None:
            raise self.answer
        if manifest["metadata"]["name"] in self.events:
            raise Outdated("exists")
        self.events[manifest["metadata"]["name"]] = manifest
        return manifest


DOWN = ((condition(READY, "True"),), (condition(READY, "False"),))


async def test_an_event_says_what_it_regards_and_why() -> None:
    server = Server()
    assert await Events(server, lambda: 0.0).tell(BODY, *DOWN) == 1
    ((name, found),) = server.events.items()
    assert name.startswith("docs.")
    assert {key: found[key] for key in ("reason", "type", "note", "action", "eventTime")} == {
        "reason": "ComponentNotReady",
        "type": "Warning",
        "note": "Ready is False: why",
        "action": "Ready",
        "eventTime": "2026-11-21T10:00:00.000000Z",
    }
    assert found["regarding"] == {
        "apiVersion": "lectern.dev/v1alpha1",
        "kind": "KnowledgeBase",
        "name": "docs",
        "namespace": "team",
        "uid": "uid-kb",
    }


async def test_the_same_transition_is_one_event_also_after_a_restart() -> None:
    server = Server()
    assert await Events(server, lambda: 0.0).tell(BODY, *DOWN) == 1
    assert await Events(server, lambda: 0.0).tell(BODY, *DOWN) == 0
    assert len(server.events) == 1


async def test_an_object_that_flaps_is_told_of_a_bounded_number_of_times() -> None:
    server, now = Server(), 0.0
    events = Events(server, lambda: now)
    for second in range(60):
        at = f"2026-11-21T10:00:{second:02}Z"
        await events.tell(BODY, (condition(READY, "True"),), (condition(READY, "False", at),))
    assert len(server.events) == MOST_A_MINUTE
    now = 61.0
    await events.tell(BODY, (condition(READY, "True"),), (condition(READY, "False", "2026-11-21T10:02:00Z"),))
    assert len(server.events) == MOST_A_MINUTE + 1


async def test_objects_of_which_nothing_was_told_for_a_minute_are_forgotten() -> None:
    now = 0.0
    events = Events(Server(), lambda: now)
    for number in range(100):
        await events.tell({**BODY, "metadata": {**BODY["metadata"], "uid": f"uid-{number}"}}, *DOWN)
    assert len(events) == 100
    now = 61.0
    await events.tell(BODY, *DOWN)
    assert len(events) == 1


async def test_an_event_that_cannot_be_written_fails_nothing() -> None:
    server = Server(DependencyError("away", dependency="kubernetes"))
    assert await Events(server, lambda: 0.0).tell(BODY, *DOWN) == 0
