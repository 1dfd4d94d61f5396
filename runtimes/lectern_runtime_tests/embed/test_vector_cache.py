"""The embedding cache: what was embedded once is not embedded again, and a tier that is away costs nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from lectern_contract.errors import DependencyError
from lectern_runtime.adapters.memory_vectors import MemoryVectors
from lectern_runtime.embed.vector_cache import VectorCache, model_digest
from lectern_runtime.ports import Vectors
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics
from lectern_runtime_tests.pipeline import Pipeline, pipeline, worker_settings

ONE, TWO = np.array([1, 0], np.float32), np.array([0, 1], np.float32)


class Away:
    """A tier whose server does not answer."""

    tier = "redis"

    async def get(self, keys: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        raise DependencyError("Redis is away", dependency="redis")

    async def put(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        raise DependencyError("Redis is away", dependency="redis")

    async def close(self) -> None: ...


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(tmp_path) as found:
        await found.worker().ensure()
        yield found


def counting(pipe: Pipeline) -> tuple[list[int], type]:
    """Return the sizes of the calls of the model, and a model that notes them."""
    calls: list[int] = []

    class Counted:
        def __getattr__(self, name: str) -> object:
            return getattr(pipe.embedder, name)

        async def embed(self, texts: Sequence[str]) -> Vectors:
            calls.append(len(texts))
            if any("poison" in text for text in texts):
                raise DependencyError("it answers with nonsense", dependency="embedder")
            return await pipe.embedder.embed(texts)

    return calls, Counted


async def test_a_text_that_another_document_had_is_not_embedded_again(pipe: Pipeline) -> None:
    calls, counted = counting(pipe)
    registry = CollectorRegistry()
    cache = MemoryVectors(max_entries=10, ttl_seconds=60)
    for name in ("a.md", "b.md"):
        await pipe.publish(await pipe.put(name, "the same text", title="One"))
        await pipe.index(embedder=counted(), caches=[cache], metrics=WorkerMetrics(registry))
        registry = CollectorRegistry()
    assert calls == [1]
    assert (await pipe.content()) == {"public:a.md": ("the same text",), "public:b.md": ("the same text",)}


async def test_a_tier_that_is_away_is_passed_over(pipe: Pipeline) -> None:
    registry = CollectorRegistry()
    memory = MemoryVectors(max_entries=10, ttl_seconds=60)
    await pipe.publish(await pipe.put("a.md", "text"))
    await pipe.index(caches=[memory, Away()], metrics=WorkerMetrics(registry))
    assert (await pipe.content()).keys() == {"public:a.md"}
    errors = registry.get_sample_value("lectern_worker_embedding_cache_errors_total", {"tier": "redis"})
    assert errors == 2
    assert registry.get_sample_value("lectern_worker_embedding_cache_misses_total") == 1
    assert registry.get_sample_value("rag_freshness_seconds_count", {"source": "files"}) == 1


async def test_what_a_later_tier_has_is_given_to_the_earlier_ones() -> None:
    first, second = (MemoryVectors(max_entries=10, ttl_seconds=60) for _ in range(2))
    cache = VectorCache("model", [first, second], WorkerMetrics(CollectorRegistry()))
    await VectorCache("model", [second], cache.metrics).put({"a": ONE})
    assert (await cache.get(["a", "b"])).keys() == {"a"}
    assert (await first.get(["model:a"])).keys() == {"model:a"}


async def test_another_model_has_other_vectors() -> None:
    tier = MemoryVectors(max_entries=10, ttl_seconds=60)
    metrics = WorkerMetrics(CollectorRegistry())
    embedder = worker_settings().embedder
    digests = {
        model_digest(embedder.model_copy(update=change))
        for change in ({}, {"revision": "2"}, {"model": "other"}, {"dimensions": 8}, {"max_input_tokens": 32})
    }
    assert len(digests) == 5
    await VectorCache("one", [tier], metrics).put({"a": ONE})
    assert await VectorCache("other", [tier], metrics).get(["a"]) == {}


async def test_memory_forgets_by_age_and_by_number() -> None:
    now = 0.0
    tier = MemoryVectors(max_entries=2, ttl_seconds=10, clock=lambda: now)
    await tier.put({"a": ONE, "b": TWO})
    assert (await tier.get(["a"])).keys() == {"a"}
    await tier.put({"c": ONE})
    assert (await tier.get(["a", "b", "c"])).keys() == {"a", "c"}, "the one that was used longest ago goes"
    now = 10.1
    assert await tier.get(["a", "b", "c"]) == {}


async def test_a_kept_vector_is_a_copy_that_nobody_can_change() -> None:
    tier = MemoryVectors(max_entries=2, ttl_seconds=10)
    rows = np.array([[1, 0], [0, 1]], np.float32)
    await tier.put({"a": rows[0]})
    rows[:] = 7
    kept = (await tier.get(["a"]))["a"]
    assert kept.tolist() == [1, 0]
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 3


async def test_one_bad_document_among_many_costs_few_calls(pipe: Pipeline) -> None:
    calls, counted = counting(pipe)
    names = ["poison", *(f"good-{number}" for number in range(15))]
    for name in names:
        await pipe.publish(await pipe.put(f"{name}.md", f"{name} text"))
    await pipe.index(embedder=counted(), settings=worker_settings(max_attempts=1))
    assert len(await pipe.content()) == 15
    assert [letter.message.document.uri for letter in await pipe.dead_letters()] == ["poison.md"]
    # Each call that fails is followed by one word, which tells whether the model is away.
    texts, words = [size for size in calls if size > 1], [size for size in calls if size == 1]
    assert sorted(texts, reverse=True) == [16, 8, 8, 4, 4, 2, 2]
    assert len(words) <= 2 + 4 + 2, "the two of the last half, a word at each of four levels, the document alone"
