"""What a `Reranker` promises to the query runtime, whichever server is behind it.

A test module derives from the suite and gives it `reranker`. Doubles pass it, and so must a real server with a real
model: nothing here depends on what exactly a passage scores.
"""

from __future__ import annotations

import asyncio
import math

import pytest

from lectern_contract.errors import DependencyError
from lectern_runtime.ports import Reranker

QUESTION = "how long does a refund to the card take"
RIGHT = "A refund to the card does take five working days; here is how long each bank needs."
WRONG = ["Parcels leave the warehouse at noon.", "Straße, naïve café, Ærøskøbing", "東京は日本の首都です。 🙂"]


class RerankContract:
    """The promises of `scores` and `close`."""

    async def test_the_passage_that_answers_scores_best_wherever_it_stands(self, reranker: Reranker) -> None:
        for place in range(len(WRONG) + 1):
            passages = [*WRONG[:place], RIGHT, *WRONG[place:]]
            scores = await reranker.scores(QUESTION, passages)
            assert max(range(len(scores)), key=scores.__getitem__) == place

    async def test_each_passage_has_one_finite_score_from_0_to_1(self, reranker: Reranker) -> None:
        scores = await reranker.scores(QUESTION, [RIGHT, *WRONG])
        assert len(scores) == 1 + len(WRONG)
        assert all(math.isfinite(score) and 0 <= score <= 1 for score in scores)

    async def test_a_score_does_not_depend_on_the_passages_beside_it(self, reranker: Reranker) -> None:
        together = await reranker.scores(QUESTION, [RIGHT, *WRONG])
        alone = [(await reranker.scores(QUESTION, [each]))[0] for each in (RIGHT, *WRONG)]
        assert together == pytest.approx(alone, abs=1e-3)

    async def test_more_passages_than_a_batch_holds_keep_their_order(self, reranker: Reranker) -> None:
        passages = [WRONG[number % len(WRONG)] for number in range(99)]
        passages[70] = RIGHT
        scores = await reranker.scores(QUESTION, passages)
        assert len(scores) == 99
        assert max(range(99), key=scores.__getitem__) == 70

    async def test_no_passages_have_no_scores(self, reranker: Reranker) -> None:
        assert list(await reranker.scores(QUESTION, [])) == []

    async def test_of_a_long_passage_the_beginning_is_read(self, reranker: Reranker) -> None:
        long_one = RIGHT + " And so on, as was said before." * 1_000
        scores = await reranker.scores(QUESTION, [WRONG[0], long_one])
        assert scores[1] > scores[0]

    async def test_questions_at_the_same_time_have_their_own_scores(self, reranker: Reranker) -> None:
        questions = [QUESTION, "when do parcels leave the warehouse"]
        passages = [RIGHT, WRONG[0]]
        refund, parcels = await asyncio.gather(*(reranker.scores(each, passages) for each in questions))
        assert refund[0] > refund[1]
        assert parcels[0] < parcels[1]

    async def test_a_closed_one_says_so(self, reranker: Reranker) -> None:
        await reranker.close()
        with pytest.raises(DependencyError, match="was closed; open it again"):
            await reranker.scores(QUESTION, [RIGHT])
