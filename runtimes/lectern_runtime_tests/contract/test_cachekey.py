"""The cache key: any difference that could change the answer changes the key; a difference nobody sees does not."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract.cachekey import AnswerKeyParts, answer_key, normalised

PARTS = AnswerKeyParts(
    endpoint_revision="r1",
    scope_digests={"kb": "s1"},
    collections={"kb": "n.kb.g1"},
    model="extractive",
    prompt_version="1",
    top_k=5,
)


@pytest.mark.parametrize(
    "difference",
    [
        {"endpoint_revision": "r2"},
        {"scope_digests": {"kb": "s2"}},
        {"scope_digests": {"other": "s1"}},
        {"collections": {"kb": "n.kb.g2"}},
        {"model": "qwen"},
        {"prompt_version": "2"},
        {"top_k": 6},
    ],
)
def test_each_part_changes_the_key(difference: dict[str, object]) -> None:
    assert answer_key(dataclasses.replace(PARTS, **difference), "q") != answer_key(PARTS, "q")  # type: ignore[arg-type]  # one field each


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is a pod?", "  what   IS a\npod? "),
        ("caf\u00e9", "cafe\u0301"),
        ("\uff21\uff22", "ab"),
    ],
)
def test_differences_that_nobody_sees_do_not(one: str, other: str) -> None:
    assert answer_key(PARTS, one) == answer_key(PARTS, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("version 1.2", "version 12"),
        ("Is it allowed?", "Is it not allowed?"),
        ("in 2024", "in 2025"),
        ("10 kg", "10 g"),
    ],
)
def test_differences_that_change_the_question_do(one: str, other: str) -> None:
    assert answer_key(PARTS, one) != answer_key(PARTS, other)


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing_more(question: str) -> None:
    assert normalised(normalised(question)) == normalised(question)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_the_order_of_knowledge_bases_does_not_matter(digests: dict[str, str]) -> None:
    reordered = dict(reversed(digests.items()))

    assert answer_key(dataclasses.replace(PARTS, scope_digests=digests), "q") == answer_key(
        dataclasses.replace(PARTS, scope_digests=reordered), "q"
    )
