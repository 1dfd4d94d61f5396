"""Fusion over knowledge bases, shared runs, citations: parts that the routes' tests do not reach by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from lectern_runtime.ports import AnswerPiece, CitedSpan, Passage, Scores, SparseVector
from lectern_runtime.query.citations import CitationCheck
from lectern_runtime.query.flights import Flights
from lectern_runtime.query.passages import Context
from lectern_runtime.query.retrieve import Found, fuse_across, search_request
from lectern_runtime_tests.query.test_words import found
from lectern_runtime_tests.query.world import query_settings

RETRIEVAL = query_settings().retrieval


def scored(kb: str, uri: str, dense: float | None, sparse: float | None) -> Found:
    each = found(uri, 0, uri)
    return replace(each, knowledge_base=kb, hit=replace(each.hit, scores=Scores(dense=dense, sparse=sparse)))


def order(hits: list[Found], *, one_model: bool = True) -> list[str]:
    fused = fuse_across(
        hits,
        settings=RETRIEVAL,
        dense_group=lambda each: "same" if one_model else each.knowledge_base,
        sparse_group=lambda each: "en",
    )
    scores = [each.hit.scores.fused or 0.0 for each in fused]
    assert scores == sorted(scores, reverse=True)
    return [each.hit.payload.uri for each in fused]


def test_the_best_of_an_unrelated_knowledge_base_does_not_stand_beside_the_best_of_the_right_one() -> None:
    right = [scored("a", "a1", 0.8, 9.0), scored("a", "a2", 0.7, 8.0), scored("a", "a3", 0.6, 7.0)]
    other = [scored("b", "b1", 0.2, 1.0), scored("b", "b2", 0.1, None)]
    assert order(right + other) == ["a1", "a2", "a3", "b1", "b2"]


def test_cosines_of_different_models_are_not_compared() -> None:
    hits = [scored("a", "a1", 0.5, None), scored("b", "b1", 0.9, None), scored("b", "b2", 0.8, None)]
    assert order(hits, one_model=False)[-1] == "b2"
    assert order(hits)[-1] == "a1"


def test_fused_scores_follow_the_formula() -> None:
    (only,) = fuse_across(
        [scored("a", "a1", 0.5, 2.0)], settings=RETRIEVAL, dense_group=lambda _: 1, sparse_group=lambda _: 1
    )
    assert only.hit.scores.fused == pytest.approx(1 / (1 + 2 - 1) + 1 / (1 / 1.5 + 2 - 1))


@pytest.mark.parametrize(
    ("mode", "terms", "searched"),
    [
        ("Hybrid", (1,), "Hybrid"),
        ("Hybrid", (), "Dense"),
        ("Hybrid", None, "Dense"),
        ("Dense", (1,), "Dense"),
        ("Sparse", (1,), "Sparse"),
        ("Sparse", (), None),
    ],
)
def test_what_is_searched_follows_from_what_the_question_holds(
    mode: str, terms: tuple[int, ...] | None, searched: str | None
) -> None:
    settings = query_settings(mode=mode, candidates=3).retrieval
    sparse = None if terms is None else SparseVector(terms, (1.0,) * len(terms))
    request = search_request(settings, None, sparse, 7)
    assert (request.mode if request else None) == searched
    if request is not None:
        assert (request.candidates, request.limit) == (7, 7)
        assert (request.sparse is None) == (searched == "Dense")


# ------------------------------------------------------------------------------------------- flights


async def test_a_late_listener_hears_everything_and_work_ends_with_the_last_one() -> None:
    flights: Flights[int] = Flights()
    go, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> AsyncIterator[int]:
        try:
            yield 1
            await go.wait()
            yield 2
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with aclosing(flights.join("k", work)) as first:
        assert await anext(first) == (1, False)
        async with aclosing(flights.join("k", work)) as late:
            assert await anext(late) == (1, True)
            go.set()
            assert [event async for event in late] == [(2, True)]
        assert [event async for event in first] == [(2, False)]
    assert (len(flights), cancelled.is_set()) == (0, False)
    go.clear()
    async with aclosing(flights.join("k", work)) as alone:
        assert await anext(alone) == (1, False)
    await asyncio.wait_for(cancelled.wait(), 1)
    assert len(flights) == 0


async def test_what_the_run_raises_reaches_every_listener() -> None:
    flights: Flights[int] = Flights()

    async def work() -> AsyncIterator[int]:
        yield 1
        raise ValueError("once")

    async def listen() -> list[int]:
        heard = []
        with pytest.raises(ValueError, match="once"):
            async for event, _ in flights.join("k", work):
                heard.append(event)
        return heard

    assert list(await asyncio.gather(listen(), listen())) == [[1], [1]]


# ----------------------------------------------------------------------------------------- citations

CONTEXT = Context(
    (Passage(1, "A", "alpha beta gamma"), Passage(2, "B", "delta")),
    {
        1: found("a", 100, "alpha beta gamma"),
        2: found("b", 0, "delta"),
    },
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("One [1].", "One [1]."),
        ("One [3].", "One."),
        ("One [1][3][2].", "One [1][2]."),
        ("[9] first", " first"),
        ("rules[9] and `x[0]`", "rules[9] and `x[0]`"),
    ],
)
def test_markers_of_passages_that_do_not_exist_go(text: str, shown: str) -> None:
    assert CitationCheck(CONTEXT).check(AnswerPiece(text))[0] == shown


def test_spans_that_touch_are_one_and_citations_are_in_order() -> None:
    check = CitationCheck(CONTEXT)
    _, first = check.check(AnswerPiece("x", (CitedSpan(2, 0, 5), CitedSpan(1, 6, 10))))
    _, second = check.check(AnswerPiece("y", (CitedSpan(1, 0, 6), CitedSpan(1, 11, 17), CitedSpan(1, -1, 3))))
    assert ([each.number for each in first], second) == ([2, 1], [])
    citations = check.citations()
    assert [(each.number, [(span.start, span.end) for span in each.spans]) for each in citations] == [
        (1, [(0, 10)]),
        (2, [(0, 5)]),
    ]
    assert (citations[0].start, citations[0].end, citations[0].text) == (100, 116, "alpha beta gamma")
