"""The tier of the embedding cache in memory keeps the contract of every tier."""

from __future__ import annotations

import pytest

from lectern_runtime.adapters.memory_vectors import MemoryVectors
from lectern_runtime_tests.contracts.embedding_cache_contract import Advance, EmbeddingCacheContract, OpenTier


class TestMemoryVectors(EmbeddingCacheContract):
    now = 0.0

    @pytest.fixture
    def open_tier(self) -> OpenTier:
        return lambda ttl: MemoryVectors(max_entries=1000, ttl_seconds=ttl, clock=lambda: self.now)

    @pytest.fixture
    def advance(self) -> Advance:
        async def advance(seconds: float) -> None:
            self.now += seconds

        return advance
