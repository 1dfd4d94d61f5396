"""What every `AnswerCache` promises.

A test module derives from the suite and gives it `cache`, with room for at least 100 answers, and `advance`, which lets
time pass (by a fake clock, or by waiting).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lectern_contract.ids import DocumentId
from lectern_runtime.ports import AnswerCache, CachedAnswer

Advance = Callable[[float], Awaitable[None]]
A, B, C = (DocumentId(f"00000000-0000-5000-8000-00000000000{n}") for n in "abc")


def answer(text: str, *documents: DocumentId) -> CachedAnswer:
    return CachedAnswer(text.encode(), frozenset(documents))


async def keep(cache: AnswerCache, key: str, kept: CachedAnswer, *, ttl: float = 60.0) -> bool:
    return await cache.put(key, kept, ttl_seconds=ttl, since=await cache.mark())


class AnswerCacheContract:
    async def test_an_answer_comes_back_under_its_key_only(self, cache: AnswerCache) -> None:
        assert await cache.get("k1") is None
        assert await keep(cache, "k1", answer("one", A, B))
        assert await cache.get("k1") == answer("one", A, B)
        assert await cache.get("k2") is None

    async def test_a_later_answer_replaces_the_first(self, cache: AnswerCache) -> None:
        await keep(cache, "k", answer("one", A))
        await keep(cache, "k", answer("two", B))
        assert await cache.get("k") == answer("two", B)
        assert await cache.forget_document(A) == 0
        assert await cache.get("k") == answer("two", B)
        assert await cache.forget_document(B) == 1

    async def test_expiry_is_absolute_and_a_hit_does_not_prolong_it(self, cache: AnswerCache, advance: Advance) -> None:
        await keep(cache, "short", answer("one", A), ttl=1.0)
        await keep(cache, "long", answer("two", A), ttl=100.0)
        await advance(0.6)
        assert await cache.get("short") == answer("one", A)
        await advance(0.6)
        assert await cache.get("short") is None
        assert await cache.get("long") == answer("two", A)

    async def test_an_answer_without_time_to_live_is_not_kept(self, cache: AnswerCache) -> None:
        assert not await keep(cache, "k", answer("one", A), ttl=0.0)
        assert await cache.get("k") is None

    async def test_a_changed_document_takes_all_its_answers_with_it(self, cache: AnswerCache) -> None:
        await keep(cache, "a", answer("a", A))
        await keep(cache, "ab", answer("ab", A, B))
        await keep(cache, "b", answer("b", B))
        await keep(cache, "none", answer("none"))
        assert await cache.forget_document(A) == 2
        assert await cache.forget_document(A) == 0
        assert await cache.forget_document(C) == 0
        assert [await cache.get(key) for key in ("a", "ab", "b", "none")] == [
            None,
            None,
            answer("b", B),
            answer("none"),
        ]

    async def test_an_answer_from_before_a_change_is_not_kept(self, cache: AnswerCache) -> None:
        before = await cache.mark()
        await cache.forget_document(A)
        assert not await cache.put("k", answer("stale", A, B), ttl_seconds=60.0, since=before)
        assert await cache.get("k") is None
        assert await cache.put("other", answer("fresh", B), ttl_seconds=60.0, since=before)
        assert await cache.put("k", answer("new", A), ttl_seconds=60.0, since=await cache.mark())
        assert await cache.get("k") == answer("new", A)

    async def test_a_refused_answer_leaves_the_kept_one(self, cache: AnswerCache) -> None:
        before = await cache.mark()
        await cache.forget_document(A)
        await keep(cache, "k", answer("new", B))
        assert not await cache.put("k", answer("stale", A), ttl_seconds=60.0, since=before)
        assert await cache.get("k") == answer("new", B)

    async def test_every_change_of_a_document_counts(self, cache: AnswerCache) -> None:
        await cache.forget_document(A)
        between = await cache.mark()
        await cache.forget_document(A)
        assert not await cache.put("k", answer("stale", A), ttl_seconds=60.0, since=between)
