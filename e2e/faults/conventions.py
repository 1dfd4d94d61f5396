"""A9: what every recorded state of Lectern's resources must hold to: kstatus and the API conventions of Kubernetes.

`breaches` judges the history that a mirror kept, whatever made it: each state by itself, and beside the one before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from e2e.faults.kstatus import conclude
from e2e.faults.mirror import State

REASON = re.compile(r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
"""Of metav1.Condition."""
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
BAD_WHEN_TRUE = frozenset({"Reconciling", "Stalled"})
Conditions = dict[str, Mapping[str, Any]]


def breaches(history: Sequence[State]) -> list[str]:
    """Return what does not hold, one line for each kind of breach of each object."""
    found: dict[str, None] = {}
    before: dict[str, State] = {}
    for state in history:
        uid = state.body["metadata"]["uid"]
        said = [*_alone(state.body), *_after(before[uid].body, state.body)] if uid in before else _alone(state.body)
        for line in said:
            found.setdefault(f"{state.plural}/{state.name}: {line}")
        before[uid] = state
    return list(found)


def _alone(body: Mapping[str, Any]) -> list[str]:
    status = body.get("status") or {}
    if not status.get("observedGeneration") and not status.get("conditions"):
        return []  # nobody has looked at it yet
    found = []
    generation, observed = body["metadata"]["generation"], status.get("observedGeneration")
    if observed is None or observed > generation:
        found.append(f"observedGeneration is {observed} at generation {generation}")
    conditions = _conditions(body)
    for each in conditions.values():
        found += _malformed(each, observed)
    return found + _contradictions(body, conditions)


def _malformed(condition: Mapping[str, Any], observed: int | None) -> list[str]:
    what, found = condition["type"], []
    if condition.get("status") not in ("True", "False", "Unknown"):
        found.append(f"{what} has status {condition.get('status')!r}")
    if not REASON.match(condition.get("reason", "")):
        found.append(f"{what} has reason {condition.get('reason')!r}")
    if not TIME.match(condition.get("lastTransitionTime", "")):
        found.append(f"{what} has lastTransitionTime {condition.get('lastTransitionTime')!r}")
    if is_alarm(condition) and not condition.get("message"):
        found.append(f"{what}={condition['status']} ({condition.get('reason')}) has no message")
    if condition.get("observedGeneration") not in (None, observed):
        found.append(f"{what} is of generation {condition['observedGeneration']}, the status of {observed}")
    return found


def is_alarm(condition: Mapping[str, Any]) -> bool:
    """Say whether a condition tells something that is not as it should be."""
    good = "False" if condition["type"] in BAD_WHEN_TRUE else "True"
    return bool(condition["status"] != good)


def _contradictions(body: Mapping[str, Any], conditions: Conditions) -> list[str]:
    truth = {name: each["status"] for name, each in conditions.items()}
    concluded, found = conclude(body), []
    if missing := {"Ready", "Reconciling", "Stalled"} - set(truth):
        found.append(f"the conditions {sorted(missing)} are missing")
    if truth.get("Reconciling") == "True" and truth.get("Stalled") == "True":
        found.append("Reconciling and Stalled are both True")
    is_new = body["status"].get("observedGeneration") == body["metadata"]["generation"]
    if concluded == "Current" and truth.get("Ready") != "True":
        found.append(f"kstatus concludes Current while Ready is {truth.get('Ready')}")
    if is_new and truth.get("Ready") == "True" and concluded not in ("Current", "Terminating"):
        found.append(f"kstatus concludes {concluded} while Ready is True")
    return found


def _after(before: Mapping[str, Any], body: Mapping[str, Any]) -> list[str]:
    old, new, found = _conditions(before), _conditions(body), []
    then, now = (each.get("status", {}).get("observedGeneration") or 0 for each in (before, body))
    if now < then:
        found.append(f"observedGeneration went back from {then} to {now}")
    for name in old.keys() & new.keys():
        moved = old[name]["lastTransitionTime"] != new[name]["lastTransitionTime"]
        if moved and old[name]["status"] == new[name]["status"]:
            found.append(f"{name} has a new lastTransitionTime although it stayed {new[name]['status']}")
    for name in old.keys() - new.keys():
        found.append(f"the condition {name} was there and is gone")
    return found


def _conditions(body: Mapping[str, Any]) -> Conditions:
    return {each["type"]: each for each in (body.get("status") or {}).get("conditions") or ()}
