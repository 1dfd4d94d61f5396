"""What the routes share: a model, its queue, its limits, and the way of inputs through them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from starlette.requests import Request

from lectern_runtime.embedding_server import encoding
from lectern_runtime.embedding_server.batching import Batcher, Entry
from lectern_runtime.embedding_server.bodies import Embedding, Held, Input
from lectern_runtime.embedding_server.engine import Engine, Limits
from lectern_runtime.embedding_server.metrics import Metrics
from lectern_runtime.embedding_server.refusals import Kind, Refusal, Unreadable, empty_batch, not_this_model, too_many
from lectern_runtime.errors import EmbedderFailed
from lectern_runtime.ports import Vectors

SHORT_CHARACTERS = 2_000
"""What is tokenised on the event loop, in less time than a thread takes to be woken."""
PROBE_SECONDS = 5.0
BODIES_HELD = 32
"""The bodies of all requests together are at most so many times the limit of one; beyond that the server is full."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Spent:
    """What a request took: characters, tokens, and seconds, those of the stages as a mean of its inputs."""

    characters: int
    tokens: int
    started: float
    tokenization: float
    queue: float
    inference: float

    def headers(self) -> dict[str, str]:
        """Return TEI's headers; times are in milliseconds."""
        total = time.perf_counter() - self.started
        seconds = {
            "x-compute-time": total,
            "x-total-time": total,
            "x-tokenization-time": self.tokenization,
            "x-queue-time": self.queue,
            "x-inference-time": self.inference,
        }
        return {
            "x-compute-type": "cpu",
            "x-compute-characters": str(self.characters),
            "x-compute-tokens": str(self.tokens),
            **{name: str(int(value * 1000)) for name, value in seconds.items()},
        }


class Service:
    """One model being served."""

    def __init__(self, engine: Engine, limits: Limits, *, threads: int) -> None:
        self.engine = engine
        self.limits = limits
        self.threads = threads
        self.metrics = Metrics(longest=engine.model.longest)
        self.batcher = Batcher(
            engine,
            self.metrics,
            max_batch_tokens=limits.max_batch_tokens,
            max_inputs=limits.max_concurrent_requests,
            threads=threads,
        )
        self.held = Held(BODIES_HELD * limits.payload_limit)
        self._tokenising = asyncio.Semaphore(threads)

    def check_batch(self, count: int, name: str) -> None:
        """Raise Refusal for a list that is empty or longer than a request may have."""
        if count == 0:
            raise empty_batch(name)
        if count > self.limits.max_client_batch_size:
            raise too_many(count, self.limits.max_client_batch_size)

    async def in_thread(self, call: Callable[[], Result]) -> Result:
        """Run what tokenises, a few at once so that their memory stays small."""
        async with self._tokenising:
            return await asyncio.to_thread(call)

    async def embed(self, asked: Embedding, request: Request) -> tuple[Vectors, Spent]:
        """Return one row of length 1 per input and what it took; raises Refusal, or Unreadable if nobody listens."""
        started = time.perf_counter()
        items = asked.inputs.items
        self.metrics.requests.labels(asked.inputs.method).inc()
        if not asked.inputs.single:
            self.check_batch(len(items), "inputs")
        if not asked.normalize:
            raise not_this_model("`normalize` false is not available for this model, whose vectors have length 1")
        with self.batcher.admitted(len(items)):
            self.metrics.inputs.inc(len(items))
            ids = await self._encoded(asked, items)
            tokenization = time.perf_counter() - started
            entries = self.batcher.submit(ids)
            rows = await unless_gone(request, _rows(entries))
        spent = Spent(
            characters=asked.inputs.characters(),
            tokens=sum(map(len, ids)),
            started=started,
            tokenization=tokenization / len(items),
            queue=sum(entry.queued for entry in entries) / len(entries),
            inference=sum(entry.inference for entry in entries) / len(entries),
        )
        self._observe(asked, entries, spent)
        return rows, spent

    async def healthy(self) -> bool:
        """Whether the model works; after a failed pass it is tried."""
        if not self.batcher.alive or not self.batcher.failing:
            return self.batcher.alive
        (entry,) = self.batcher.submit([self.engine.encode("", special=True)])
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await _rows([entry])
        except (Refusal, TimeoutError):
            return False
        return True

    async def _encoded(self, asked: Embedding, items: Sequence[Input]) -> list[list[int]]:
        encoding.refuse_prompt(asked.prompt_name)
        truncate = self.limits.auto_truncate if asked.truncate is None else asked.truncate

        def encode() -> list[list[int]]:
            return [encoding.encoded(self.engine, each, truncate=truncate, left=asked.left) for each in items]

        ids = encode() if asked.inputs.characters() <= SHORT_CHARACTERS else await self.in_thread(encode)
        for each in ids:
            self.metrics.lengths.observe(len(each))
        return ids

    def _observe(self, asked: Embedding, entries: Sequence[Entry], spent: Spent) -> None:
        total = time.perf_counter() - spent.started
        self.metrics.successes.labels(asked.inputs.method).inc()
        self.metrics.embedded.inc(len(entries))
        seconds = self.metrics.request_seconds
        seconds["total"].observe(total)
        seconds["tokenization"].observe(spent.tokenization)
        seconds["queue"].observe(spent.queue)
        seconds["inference"].observe(spent.inference)
        for entry in entries:
            each = self.metrics.input_seconds
            each["total"].observe(total)
            each["tokenization"].observe(spent.tokenization)
            each["queue"].observe(entry.queued)
            each["inference"].observe(entry.inference)


async def unless_gone(request: Request, answer: Awaitable[Result]) -> Result:
    """Wait for an answer while somebody is there to hear it; raises Unreadable when the client has gone."""
    working = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Unreadable(499, "the client has gone")
    finally:
        for task in (working, leaving):
            task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _rows(entries: Sequence[Entry]) -> Vectors:
    """The vectors of entries in order; those that still wait are dropped when this is cancelled."""
    try:
        return np.stack(await asyncio.gather(*(entry.row for entry in entries)))
    except EmbedderFailed as error:
        raise Refusal(Kind.BACKEND, f"Backend error: {error}", cause="inference") from error
    finally:
        for entry in entries:
            entry.row.cancel()
