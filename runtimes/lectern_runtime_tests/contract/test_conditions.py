"""Conditions over time: the clock of a condition moves with its status and with nothing else."""

from __future__ import annotations

from lectern_contract.conditions import MAX_MESSAGE, Verdict, advance
from lectern_contract.resources.reasons import ConditionType, Reason

READY = ConditionType.READY


def test_the_transition_time_moves_only_with_the_status() -> None:
    first = advance((), [Verdict(READY, "Unknown", Reason.UNKNOWN)], generation=1, now="t1")
    same = advance(first, [Verdict(READY, "Unknown", Reason.RUNNING, "other words")], generation=2, now="t2")
    moved = advance(same, [Verdict(READY, "True", Reason.ALL_COMPONENTS_READY)], generation=2, now="t3")

    assert [found[0].last_transition_time for found in (first, same, moved)] == ["t1", "t1", "t3"]
    assert (same[0].reason, same[0].message, same[0].observed_generation) == (Reason.RUNNING, "other words", 2)


def test_a_condition_without_a_verdict_is_gone_and_order_is_that_of_the_verdicts() -> None:
    verdicts = [Verdict(ConditionType.SYNCED, "True", Reason.RUN_SUCCEEDED), Verdict(READY, "True", Reason.STABLE)]
    before = advance((), [*verdicts, Verdict(ConditionType.STALLED, "False", Reason.STABLE)], generation=1, now="t")

    assert [found.type for found in advance(before, verdicts, generation=1, now="t")] == ["Synced", "Ready"]


def test_a_message_is_cut_to_what_the_schema_allows() -> None:
    told = advance((), [Verdict(READY, "False", Reason.UNKNOWN, "x" * 5000)], generation=1, now="t")

    assert len(told[0].message) == MAX_MESSAGE
