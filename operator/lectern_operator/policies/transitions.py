"""Which changes of conditions are worth a Kubernetes Event: transitions that a person has to know of, nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lectern_contract.resources.reasons import ConditionType
from lectern_contract.resources.status import Condition

_SILENT = frozenset({ConditionType.RECONCILING})
"""Goes up and down with every change; Ready tells the same with a reason."""
_BAD_WHEN_TRUE = frozenset({ConditionType.STALLED})


@dataclass(frozen=True, slots=True)
class Transition:
    """One condition that went over to `status` at `at` (RFC 3339)."""

    aspect: str
    status: str
    reason: str
    message: str
    at: str
    type: Literal["Normal", "Warning"]


def transitions(before: Iterable[Condition], after: Iterable[Condition]) -> tuple[Transition, ...]:
    """Return what changed between two statuses, in the order of `after`.

    Told are: Ready whenever its status changes, any other condition when it turns bad, and when it is good again
    after it was bad. A first look that finds everything in its way up tells nothing.
    """
    known = {str(each.type): each.status for each in before}
    return tuple(
        Transition(
            str(each.type),
            each.status,
            str(each.reason),
            each.message,
            each.last_transition_time,
            "Warning" if _is_bad(str(each.type), each.status) else "Normal",
        )
        for each in after
        if each.type not in _SILENT and _is_told(str(each.type), known.get(str(each.type)), each.status)
    )


def _is_told(aspect: str, before: str | None, after: str) -> bool:
    if before == after:
        return False
    if aspect == ConditionType.READY:
        return before is not None or after == "True"
    if _is_bad(aspect, after):
        return before is not None
    return before is not None and _is_bad(aspect, before) and after != "Unknown"


def _is_bad(aspect: str, status: str) -> bool:
    return status == ("True" if aspect in _BAD_WHEN_TRUE else "False")
