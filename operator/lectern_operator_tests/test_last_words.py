"""What a pod said last becomes a sentence that is the same after each restart."""

from __future__ import annotations

import pytest

from lectern_operator.policies.last_words import last_words


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("", ""),
        ("first\n2026-11-21T08:00:00.000Z ERROR lectern.worker it will not\n \n", "it will not"),
        (
            '{"message": "early"}\n{"time": "2026-11-21T08:00:00", "level": "ERROR", "message": "it will not"}',
            "it will not",
        ),
        ('{"message": "it broke", "cause": "it will not"}', "it will not"),
        ('sage": "cut off in front"}', 'sage": "cut off in front"}'),
        ("17", "17"),
    ],
)
def test_the_last_line_is_told_without_its_time(log: str, words: str) -> None:
    assert last_words(log) == words
