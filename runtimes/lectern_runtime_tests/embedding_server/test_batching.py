"""The queue of the embedding server: batches by tokens, room for so many inputs, faults, and what nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from lectern_runtime.embedding_server.batching import Batcher
from lectern_runtime.embedding_server.metrics import Metrics
from lectern_runtime.embedding_server.refusals import Refusal
from lectern_runtime.errors import EmbedderFailed
from lectern_runtime_tests.contracts.tei_contract import counters
from lectern_runtime_tests.embedding_server.model import WordModel, memory_ran_out

PATIENCE = 20.0
Make = Callable[..., Batcher]


@pytest.fixture
def model() -> WordModel:
    return WordModel()


@pytest.fixture
def metrics(model: WordModel) -> Metrics:
    return Metrics(longest=model.model.longest)


@pytest.fixture
async def batcher(model: WordModel, metrics: Metrics) -> AsyncIterator[Batcher]:
    """One thread, batches of 10 tokens, room for 4 inputs."""
    made = Batcher(model, metrics, max_batch_tokens=10, max_inputs=4, threads=1)
    made.start()
    yield made
    model.free.set()
    await made.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.005)


async def hold(batcher: Batcher, model: WordModel, metrics: Metrics) -> None:
    """Let a pass begin that does not end, so that what comes now waits."""
    model.free.clear()
    batcher.submit([[1]])
    await until(lambda: counters(metrics.page())["te_batch_next_size_count"] >= 1)


async def test_what_waits_goes_in_batches_of_so_many_tokens_and_short_inputs_first(
    batcher: Batcher, model: WordModel, metrics: Metrics
) -> None:
    await hold(batcher, model, metrics)
    inputs = [[7] * 4, [7] * 5, [7], [7] * 9, [7] * 3, [7] * 30]
    entries = batcher.submit(inputs)
    assert counters(metrics.page())["te_queue_size"] == 6
    model.free.set()
    rows = await asyncio.gather(*(entry.row for entry in entries))
    assert [len(ids) for (ids,) in model.passes] == [1, 1, 4, 5, 9, 3, 30]
    assert [round(float(row[0] / row[1])) for row in rows] == [7 * len(ids) for ids in inputs]
    seen = counters(metrics.page())
    assert (seen["te_queue_size"], seen["te_batch_next_size_count"], seen["te_batch_next_size_sum"]) == (0, 5, 7)
    assert seen["te_batch_next_tokens_sum"] == 1 + sum(map(len, inputs))


async def test_a_question_does_not_wait_for_a_corpus_nor_a_corpus_for_all_questions(
    batcher: Batcher, model: WordModel, metrics: Metrics
) -> None:
    await hold(batcher, model, metrics)
    corpus = batcher.submit([[9] * 70, [9] * 71, [9] * 72])
    questions = [entry for number in (1, 2) for entry in batcher.submit([[7] * number])]
    model.free.set()
    await asyncio.gather(*(entry.row for entry in (*corpus, *questions)))
    assert [len(ids) for (ids,) in model.passes] == [1, 70, 1, 71, 2, 72]


async def test_there_is_room_for_so_many_inputs_and_a_list_comes_in_whole(batcher: Batcher) -> None:
    with batcher.admitted(3), batcher.admitted(20):
        with pytest.raises(Refusal, match="Model is overloaded") as caught, batcher.admitted(1):
            pass
        assert caught.value.retry_after_seconds == 1
    with batcher.admitted(4):
        pass


async def test_it_says_when_what_waits_will_be_done(batcher: Batcher, model: WordModel, metrics: Metrics) -> None:
    await asyncio.gather(*(entry.row for entry in batcher.submit([[1] * 10])))
    await hold(batcher, model, metrics)
    batcher.submit([[1] * 1_000_000] * 1_000)
    with batcher.admitted(4), pytest.raises(Refusal) as caught, batcher.admitted(1):
        pass
    assert caught.value.retry_after_seconds == 60


async def test_what_nobody_waits_for_is_passed_over(batcher: Batcher, model: WordModel, metrics: Metrics) -> None:
    await hold(batcher, model, metrics)
    gone, wanted = batcher.submit([[5], [6]])
    gone.row.cancel()
    model.free.set()
    await wanted.row
    assert model.passes == [[[1]], [[6]]]
    assert counters(metrics.page())['te_request_failure{err="dropped"}'] == 1


@pytest.mark.parametrize("fault", [memory_ran_out(), ZeroDivisionError("content")])
async def test_a_fault_of_the_model_is_told_and_the_next_pass_is_made(
    batcher: Batcher, model: WordModel, fault: Exception
) -> None:
    model.fault = fault
    (entry,) = batcher.submit([[1]])
    with pytest.raises(EmbedderFailed) as caught:
        await entry.row
    assert "content" not in str(caught.value)
    assert batcher.failing
    model.fault = None
    (entry,) = batcher.submit([[1]])
    assert np.linalg.norm(await entry.row) == pytest.approx(1)
    assert (batcher.failing, batcher.alive) == (False, True)


async def test_closing_drops_what_waits_and_ends_the_threads(
    batcher: Batcher, model: WordModel, metrics: Metrics
) -> None:
    await hold(batcher, model, metrics)
    (entry,) = batcher.submit([[1]])
    closing = asyncio.create_task(batcher.close())
    await until(lambda: not batcher.alive)
    model.free.set()
    await closing
    assert not entry.row.done()
    assert model.passes == [[[1]]]
