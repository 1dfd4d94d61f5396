"""Retrieval scores against hand-worked rankings, and the properties that any score must have."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_runtime.evaluate.retrieval import (
    Mean,
    RetrievalScores,
    hit_at,
    mean,
    ndcg_at,
    recall_at,
    score,
)

IDS = [f"d{number}" for number in range(12)]
RANKINGS = st.permutations(IDS).flatmap(lambda ids: st.integers(0, len(ids)).map(lambda length: ids[:length]))
JUDGEMENTS = st.dictionaries(st.sampled_from(IDS), st.integers(0, 3), min_size=1).filter(lambda j: any(j.values()))
CUT_OFFS = st.integers(1, 15)


def test_ndcg_of_a_worked_example() -> None:
    # Ranks 1 to 4 hold relevances 3, 0, 1, 0; a relevance of 2 was not retrieved.
    gain = 7 / math.log2(2) + 1 / math.log2(4)
    ideal = 7 / math.log2(2) + 3 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_at(["a", "x", "b", "y"], {"a": 3, "b": 1, "c": 2}, 10) == pytest.approx(gain / ideal)


@pytest.mark.parametrize(("rank", "expected"), [(1, 1.0), (2, 0.6309), (3, 0.5), (10, 0.2891), (11, 0.0)])
def test_ndcg_of_a_single_relevant_id_depends_on_its_rank(rank: int, expected: float) -> None:
    ranking = [f"x{number}" for number in range(1, rank)] + ["gold"]
    assert ndcg_at(ranking, {"gold": 1}, 10) == pytest.approx(expected, abs=5e-5)


def test_the_ideal_order_is_cut_off_as_well() -> None:
    assert ndcg_at(["a"], {"a": 1, "b": 1, "c": 1}, 1) == 1.0


def test_recall_counts_relevant_ids_only() -> None:
    judgements = {"a": 2, "b": 1, "c": 0}
    assert recall_at(["c", "a", "x"], judgements, 3) == 0.5
    assert recall_at(["c", "a", "x"], judgements, 1) == 0.0
    assert recall_at([], judgements, 5) == 0.0


def test_a_hit_needs_one_relevant_id() -> None:
    assert hit_at(["c", "a"], {"a": 1, "b": 1, "c": 0}, 1) == 0.0
    assert hit_at(["c", "a"], {"a": 1, "b": 1, "c": 0}, 2) == 1.0


def test_scores_are_means_over_all_judged_questions() -> None:
    rankings = {"q1": ["a", "b"], "q2": ["x", "b"], "unjudged": ["a"]}
    judgements = {"q1": {"a": 1}, "q2": {"b": 1}, "q3": {"c": 1}}
    second = 1 / math.log2(3)

    scores = score(rankings, judgements, k=2)

    assert scores == RetrievalScores(
        questions=3,
        k=2,
        ndcg=mean([1.0, second, 0.0]),
        recall=mean([1.0, 1.0, 0.0]),
        hit=mean([1.0, 1.0, 0.0]),
    )


def test_a_mean_comes_with_its_standard_error() -> None:
    known = mean([1.0, 1.0, 0.0, 0.0])
    assert known.value == 0.5
    assert known.standard_error == pytest.approx(math.sqrt((4 * 0.25 / 3) / 4))
    assert mean([0.7]) == Mean(0.7, 0.0)


@given(ranking=RANKINGS, judgements=JUDGEMENTS, k=CUT_OFFS)
def test_scores_lie_between_0_and_1_and_agree_on_nothing_found(
    ranking: list[str], judgements: dict[str, int], k: int
) -> None:
    values = [metric(ranking, judgements, k) for metric in (ndcg_at, recall_at, hit_at)]
    assert all(0.0 <= value <= 1.0 + 1e-12 for value in values)
    assert len({value > 0 for value in values}) == 1


@given(judgements=JUDGEMENTS, k=CUT_OFFS)
def test_the_best_order_scores_1(judgements: dict[str, int], k: int) -> None:
    best = sorted(judgements, key=lambda found: -judgements[found])
    assert ndcg_at(best, judgements, k) == pytest.approx(1.0)
    assert hit_at(best, judgements, k) == 1.0
    assert recall_at(best, judgements, len(best)) == 1.0


@given(ranking=RANKINGS, judgements=JUDGEMENTS, k=CUT_OFFS, data=st.data())
def test_moving_a_more_relevant_id_up_never_lowers_ndcg(
    ranking: list[str], judgements: dict[str, int], k: int, data: st.DataObject
) -> None:
    if len(ranking) < 2:
        ranking = IDS
    upper = data.draw(st.integers(0, len(ranking) - 2))
    lower = data.draw(st.integers(upper + 1, len(ranking) - 1))
    if judgements.get(ranking[upper], 0) > judgements.get(ranking[lower], 0):
        upper, lower = lower, upper
    swapped = list(ranking)
    swapped[upper], swapped[lower] = swapped[lower], swapped[upper]
    better, worse = (swapped, ranking) if upper < lower else (ranking, swapped)
    assert ndcg_at(better, judgements, k) >= ndcg_at(worse, judgements, k) - 1e-12


@given(ranking=RANKINGS, judgements=JUDGEMENTS, k=CUT_OFFS)
def test_a_larger_cut_off_never_lowers_recall_or_hit(ranking: list[str], judgements: dict[str, int], k: int) -> None:
    assert recall_at(ranking, judgements, k + 1) >= recall_at(ranking, judgements, k)
    assert hit_at(ranking, judgements, k + 1) >= hit_at(ranking, judgements, k)


@pytest.mark.parametrize("metric", [ndcg_at, recall_at, hit_at])
@pytest.mark.parametrize(
    ("ranking", "judgements", "k", "message"),
    [
        (["a"], {"a": 1}, 0, "cut-off k is 0"),
        (["a"], {"a": 0}, 1, "no id is relevant"),
        (["a"], {}, 1, "no id is relevant"),
        (["a", "b", "a"], {"a": 1}, 1, "ranked twice"),
    ],
)
def test_what_has_no_score_is_refused(
    metric: object, ranking: list[str], judgements: dict[str, int], k: int, message: str
) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match=message):
        metric(ranking, judgements, k)


def test_no_questions_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no question is judged"):
        score({"q": ["a"]}, {}, k=10)
