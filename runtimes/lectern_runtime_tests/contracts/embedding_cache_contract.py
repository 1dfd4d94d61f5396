"""What every tier of the embedding cache promises.

A test module derives from the suite and gives it `open_tier`, which opens a tier with room for at least 1,000 vectors
of two dimensions for a number of seconds, and `advance`, which lets time pass (by a fake clock, or by waiting).
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from lectern_runtime.ports import EmbeddingCache

OpenTier = Callable[[float], EmbeddingCache]
Advance = Callable[[float], Awaitable[None]]
ONE, TWO = np.array([1, 0], np.float32), np.array([0, 1], np.float32)


class EmbeddingCacheContract:
    @pytest.fixture
    def model(self) -> str:
        """First part of every key; no test meets another's."""
        return uuid.uuid4().hex[:16]

    async def test_a_vector_comes_back_under_its_key_only(self, open_tier: OpenTier, model: str) -> None:
        tier = open_tier(60)
        await tier.put({f"{model}:a": ONE, f"{model}:b": TWO})
        found = await tier.get([f"{model}:b", f"{model}:none", f"{model}:a"])
        assert {key: vector.tolist() for key, vector in found.items()} == {f"{model}:a": [1, 0], f"{model}:b": [0, 1]}
        assert all(vector.dtype == np.float32 for vector in found.values())

    async def test_models_do_not_meet(self, open_tier: OpenTier, model: str) -> None:
        tier = open_tier(60)
        await tier.put({f"{model}:a": ONE})
        assert await tier.get([f"{model}2:a", "a", model]) == {}

    async def test_nothing_asked_is_nothing_found(self, open_tier: OpenTier) -> None:
        tier = open_tier(60)
        await tier.put({})
        assert await tier.get([]) == {}

    async def test_a_vector_put_again_replaces_the_first(self, open_tier: OpenTier, model: str) -> None:
        tier = open_tier(60)
        await tier.put({f"{model}:a": ONE})
        await tier.put({f"{model}:a": TWO})
        assert (await tier.get([f"{model}:a"]))[f"{model}:a"].tolist() == [0, 1]

    async def test_expiry_is_absolute_and_a_hit_does_not_prolong_it(
        self, open_tier: OpenTier, model: str, advance: Advance
    ) -> None:
        tier = open_tier(1)
        await tier.put({f"{model}:a": ONE})
        await advance(0.6)
        assert len(await tier.get([f"{model}:a"])) == 1
        await advance(0.6)
        assert await tier.get([f"{model}:a"]) == {}

    async def test_many_vectors_at_once_keep_their_places(self, open_tier: OpenTier, model: str) -> None:
        tier = open_tier(60)
        angles = np.linspace(0, 1, 1000)
        rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        await tier.put({f"{model}:{number}": row for number, row in enumerate(rows)})
        found = await tier.get([f"{model}:{number}" for number in range(1000)])
        assert np.array_equal(np.stack([found[f"{model}:{number}"] for number in range(1000)]), rows)
