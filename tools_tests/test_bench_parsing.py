"""The figures of the parsing benchmark: what recall counts, and what happens where the data is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import parsing


@pytest.mark.parametrize(
    ("expected", "text", "share"),
    [
        ("one two three four five six", "one two three four five six", 1.0),
        ("one two three four five six", "one two three four five", 0.5),
        ("a b", "x a b y", 1.0),
        ("| a | b |\n|---|---|\n| c | d | e |", "a b c d e", 1.0),
        ("<!-- image -->", "anything", None),
        (r"snake\_case [text](http://x/y) A&amp;B **bold** end", "snake_case text A&B bold end", 1.0),
        ("a b c d e a b c d e", "a b c d e", 1 / 6),
    ],
)
def test_recall_counts_runs_of_five_words(expected: str, text: str, share: float | None) -> None:
    assert parsing.recall(expected, text) == share


def test_without_the_data_no_goal_is_met(tmp_path: Path) -> None:
    goals, figures = parsing.goals({"LECTERN_BENCH_DATA": str(tmp_path / "nowhere")})
    assert ([goal.met for goal in goals], figures) == ([None] * len(parsing.AIMS), {})
    goals, _ = parsing.goals({"LECTERN_BENCH_DATA": str(tmp_path)})
    assert [goal.met for goal in goals] == [None] * len(parsing.AIMS)
