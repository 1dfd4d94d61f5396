"""From verdicts on the parts to Ready, Reconciling, Stalled and SpecHonored."""

from __future__ import annotations

import pytest

from lectern_contract.conditions import Truth, Verdict
from lectern_contract.errors import ResourceInvalid
from lectern_contract.resources.reasons import CONDITIONS, REASON_TEXT, ConditionType, Reason
from lectern_contract.resources.status import Condition
from lectern_operator.policies import summary
from lectern_operator.policies.summary import Blocked, Situation

GOOD = Verdict(ConditionType.EMBEDDING_READY, "True", Reason.DEPLOYMENT_AVAILABLE, "fine")
LATE = Verdict(ConditionType.WORKERS_READY, "Unknown", Reason.PROGRESSING, "not yet")
BAD = Verdict(ConditionType.SCALER_READY, "False", Reason.SCALER_REJECTED, "no")
FAILED = Verdict(ConditionType.WORKERS_READY, "False", Reason.DEPLOYMENT_FAILED, "no progress")
PLANNED = Verdict(ConditionType.SYNCED, "Unknown", Reason.SCHEDULED, "at two")


@pytest.mark.parametrize(
    ("situation", "ready", "reconciling", "stalled"),
    [
        (Situation((GOOD,)), ("True", Reason.ALL_COMPONENTS_READY), "False", "False"),
        (Situation((GOOD, LATE)), ("Unknown", Reason.PROGRESSING), "True", "False"),
        (Situation((GOOD, LATE, BAD)), ("False", Reason.SCALER_REJECTED), "True", "False"),
        (Situation((FAILED,)), ("False", Reason.DEPLOYMENT_FAILED), "False", "True"),
        (Situation((BAD,), stalled=True), ("False", Reason.SCALER_REJECTED), "False", "True"),
        (Situation((GOOD,), stalled=True), ("True", Reason.ALL_COMPONENTS_READY), "False", "False"),
        (Situation((GOOD,), refusals=("no", "no")), ("False", Reason.APPLY_REFUSED), "False", "True"),
        (Situation((PLANNED,)), ("Unknown", Reason.SCHEDULED), "True", "False"),
        (
            Situation((PLANNED,), awaited=frozenset({Reason.SCHEDULED})),
            ("True", Reason.ALL_COMPONENTS_READY),
            "False",
            "False",
        ),
        (
            Situation((GOOD,), Blocked(Reason.KNOWLEDGE_BASE_MISSING, "m", stalled=False)),
            ("False", Reason.KNOWLEDGE_BASE_MISSING),
            "True",
            "False",
        ),
        (
            Situation((GOOD,), Blocked(Reason.NOT_ON_CLUSTER, "m", stalled=True)),
            ("False", Reason.NOT_ON_CLUSTER),
            "False",
            "True",
        ),
    ],
)
def test_the_first_part_that_is_not_as_it_should_be_decides(
    situation: Situation, ready: tuple[Truth, Reason], reconciling: Truth, stalled: Truth
) -> None:
    found = summary.verdicts(situation)
    assert (found[0].status, found[0].reason) == ready
    assert (found[1].status, found[2].status) == (reconciling, stalled)
    assert found[4:] == situation.parts


def test_many_unread_fields_are_counted() -> None:
    unread = tuple(f"spec.f{number}" for number in range(10))
    found = summary.verdicts(Situation((GOOD,), unread=unread))[3]
    assert found.status == "False"
    assert "spec.f7 and 2 more" in found.message


def condition(reason: str, generation: int = 4) -> Condition:
    return Condition(
        type=ConditionType.QUERY_READY,
        status="True",
        reason=reason,
        last_transition_time="x",
        observed_generation=generation,
    )


def test_a_verdict_stands_for_its_own_generation_only() -> None:
    before = [condition("DeploymentAvailable")]
    found = summary.standing(before, ConditionType.QUERY_READY, generation=4)
    assert found == Verdict(ConditionType.QUERY_READY, "True", Reason.DEPLOYMENT_AVAILABLE)
    assert summary.standing(before, ConditionType.QUERY_READY, generation=5) is None


def test_a_reason_of_somebody_else_says_nothing() -> None:
    assert summary.standing([condition("Splendid")], ConditionType.QUERY_READY) is None
    fault = ResourceInvalid("RagEndpoint/ask: spec.x: bad", resource="RagEndpoint/ask", field="spec.x")
    found = {each.type: each for each in summary.invalid("RagEndpoint", [condition("Splendid")], fault)}
    assert tuple(found) == CONDITIONS["RagEndpoint"]
    assert found[ConditionType.QUERY_READY].status == "Unknown"


def test_every_reason_is_explained() -> None:
    assert set(REASON_TEXT) == set(Reason)
