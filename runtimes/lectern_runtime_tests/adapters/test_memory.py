"""The answer cache in memory keeps the contract of every answer cache, and its bounds."""

from __future__ import annotations

import pytest

from lectern_contract.ids import DocumentId
from lectern_runtime.adapters.memory import MemoryAnswerCache
from lectern_runtime_tests.contracts.answer_cache_contract import A, Advance, AnswerCacheContract, answer, keep


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class TestMemoryAnswerCache(AnswerCacheContract):
    @pytest.fixture
    def cache(self, clock: Clock) -> MemoryAnswerCache:
        return MemoryAnswerCache(100, clock=clock)

    @pytest.fixture
    def advance(self, clock: Clock) -> Advance:
        async def advance(seconds: float) -> None:
            clock.now += seconds

        return advance


async def test_the_oldest_answers_go_when_it_is_full(clock: Clock) -> None:
    cache = MemoryAnswerCache(3, clock=clock)
    for number in range(5):
        await keep(cache, f"k{number}", answer(str(number), A))
    assert [await cache.get(f"k{number}") for number in range(5)] == [None, None, *(answer(n, A) for n in "234")]
    assert await cache.forget_document(A) == 3


async def test_an_answer_kept_again_counts_as_young(clock: Clock) -> None:
    cache = MemoryAnswerCache(2, clock=clock)
    for key in ("a", "b", "a", "c"):
        await keep(cache, key, answer(key))
    assert [await cache.get(key) for key in "abc"] == [answer("a"), None, answer("c")]


async def test_bytes_are_bounded(clock: Clock) -> None:
    cache = MemoryAnswerCache(1000, max_bytes=10_000, clock=clock)
    assert not await keep(cache, "huge", answer("x" * 10_000))
    for number in range(10):
        assert await keep(cache, f"k{number}", answer("x" * 2_000, A))
    kept = [number for number in range(10) if await cache.get(f"k{number}")]
    assert kept == [6, 7, 8, 9] or kept == [7, 8, 9]


async def test_a_change_that_is_no_longer_remembered_refuses_answers_from_before_it(clock: Clock) -> None:
    cache = MemoryAnswerCache(10, clock=clock)
    before = await cache.mark()
    await cache.forget_document(A)
    for number in range(10_000):
        await cache.forget_document(DocumentId(f"other-{number}"))
    assert not await cache.put("k", answer("stale", A), ttl_seconds=60.0, since=before)
    assert await keep(cache, "k", answer("new", A))


async def test_closing_forgets_everything(clock: Clock) -> None:
    cache = MemoryAnswerCache(10, clock=clock)
    await keep(cache, "k", answer("one", A))
    await cache.close()
    assert await cache.get("k") is None
    assert await cache.forget_document(A) == 0
