"""Conditions over time: a condition moves its clock only when its status changes.

Pure; used wherever a status is written, by the operator and by the embedded mode.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_contract.resources.status import Condition

Truth = Literal["True", "False", "Unknown"]
MAX_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is true now of one aspect, without its history."""

    type: ConditionType
    status: Truth
    reason: Reason
    message: str = ""


def advance(
    before: Iterable[Condition], verdicts: Iterable[Verdict], *, generation: int, now: str
) -> tuple[Condition, ...]:
    """The conditions after `verdicts`, in their order; `now` is RFC 3339 in UTC.

    `lastTransitionTime` is kept where the status did not change. A condition without a verdict is gone.
    """
    known = {str(condition.type): condition for condition in before}
    return tuple(
        Condition(
            type=verdict.type,
            status=verdict.status,
            reason=verdict.reason,
            message=verdict.message[:MAX_MESSAGE],
            last_transition_time=known[verdict.type].last_transition_time
            if verdict.type in known and known[verdict.type].status == verdict.status
            else now,
            observed_generation=generation,
        )
        for verdict in verdicts
    )
