"""Batches over concurrent requests: a queue of inputs, cut into batches by tokens and into passes by length.

A few threads take passes one after the other; none waits while there is work, for when the passes of a batch are all
given out, the next batch is formed. Small requests have a line of their own, from which every other pass is taken while
both have some: a question does not wait for a corpus, and a corpus not for ever for questions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lectern_runtime.embedding_server.engine import Engine, Ids
from lectern_runtime.embedding_server.metrics import Metrics
from lectern_runtime.embedding_server.refusals import Kind, Refusal
from lectern_runtime.errors import EmbedderFailed
from lectern_runtime.ports import Vectors
from lectern_runtime.telemetry.logging import described

LONGEST_ASKED_SECONDS = 60
SMALL_TOKENS = 64
"""A request with no more tokens than this is a question and no document."""

log = logging.getLogger(__name__)
Row = NDArray[np.float32]


@dataclass(slots=True, eq=False)
class Entry:
    """An input in the queue; `row` is its vector once it is there. Times are in seconds."""

    ids: Sequence[int]
    row: asyncio.Future[Row]
    since: float
    queued: float = 0.0
    inference: float = 0.0


@dataclass(frozen=True, slots=True)
class Work:
    """A pass that is to be made, and for whom."""

    entries: list[Entry]
    ids: Ids


@dataclass(slots=True, eq=False)
class Line:
    """Inputs that wait for a batch, and the passes of the batch that was formed last."""

    inputs: deque[Entry] = field(default_factory=deque)
    passes: deque[Work] = field(default_factory=deque)


class Batcher:
    """The queue of a server and the threads that empty it."""

    def __init__(
        self, engine: Engine, metrics: Metrics, *, max_batch_tokens: int, max_inputs: int, threads: int
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._max_batch_tokens = max_batch_tokens
        self._max_inputs = max_inputs
        self._held = 0  # inputs admitted and not yet answered
        self._small, self._large = Line(), Line()
        self._next_line = self._small
        self._changed = threading.Condition()
        self._closing = False
        self._waiting_tokens = 0
        self._done_tokens = 0
        self._busy_seconds = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"embed-{number}", daemon=True) for number in range(threads)
        ]
        self.failing = False

    def start(self) -> None:
        """Start the threads; called on the event loop that `submit` is called on."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether every thread still takes work."""
        return not self._closing and all(thread.is_alive() for thread in self._threads)

    @contextlib.contextmanager
    def admitted(self, count: int) -> Iterator[None]:
        """Count inputs in for as long as the block runs; raises Refusal when there are too many already.

        A list of inputs comes in whole where there is room for one.
        """
        if self._held >= self._max_inputs:
            raise Refusal(
                Kind.OVERLOADED, "Model is overloaded", cause="overloaded", retry_after_seconds=self._clears_in()
            )
        self._held += count
        try:
            yield
        finally:
            self._held -= count

    def submit(self, inputs: Sequence[Sequence[int]]) -> list[Entry]:
        """Queue inputs; the entry of one that nobody waits for any more (a cancelled `row`) is passed over."""
        assert self._loop is not None, "start() comes first"
        now = time.perf_counter()
        entries = [Entry(ids, self._loop.create_future(), now) for ids in inputs]
        tokens = sum(map(len, inputs))
        with self._changed:
            (self._small if tokens <= SMALL_TOKENS else self._large).inputs.extend(entries)
            self._waiting_tokens += tokens
            self._show_queue()
            self._changed.notify_all()
        return entries

    async def close(self) -> None:
        """Let running passes end, drop what waits, end the threads."""
        with self._changed:
            self._closing = True
            for line in (self._small, self._large):
                line.inputs.clear()
                line.passes.clear()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                await asyncio.to_thread(thread.join)

    def _clears_in(self) -> int:
        """Seconds, at least 1, in which what waits now will be done at the pace so far."""
        with self._changed:
            if not self._done_tokens:
                return 1
            seconds = self._waiting_tokens * self._busy_seconds / self._done_tokens / len(self._threads)
        return min(LONGEST_ASKED_SECONDS, max(1, math.ceil(seconds)))

    # --- in the threads

    def _work(self) -> None:
        while (work := self._next()) is not None:
            started = time.perf_counter()
            outcome: Vectors | EmbedderFailed
            try:
                outcome = self._engine.forward(work.ids)
            except EmbedderFailed as error:
                outcome = error
            except Exception as error:  # noqa: BLE001 whatever it is, this thread goes on and those who wait hear of it
                log.error("a pass through the model broke", extra=described(error))
                outcome = EmbedderFailed(f"the model failed ({type(error).__name__})", dependency="embedder")
            self._tell(work, outcome, started, time.perf_counter())

    def _next(self) -> Work | None:
        """The next pass that somebody still waits for; None when the server closes."""
        with self._changed:
            while not self._closing:
                first = self._next_line
                second = self._large if first is self._small else self._small
                for line, other in ((first, second), (second, first)):
                    if (work := self._take(line)) is not None:
                        self._next_line = other
                        return work
                self._changed.wait()
        return None

    def _take(self, line: Line) -> Work | None:
        """A pass of this line, from the next batch where there is none left; None when nothing waits."""
        while line.passes or line.inputs:
            if not line.passes:
                self._form_batch(line)
                continue
            work = line.passes.popleft()
            if any(not entry.row.done() for entry in work.entries):
                return work
            self._passed_over(work.entries)
        return None

    def _form_batch(self, line: Line) -> None:
        batch: list[Entry] = []
        tokens = 0
        while line.inputs and (not batch or tokens + len(line.inputs[0].ids) <= self._max_batch_tokens):
            entry = line.inputs.popleft()
            if entry.row.done():
                self._passed_over([entry])
                continue
            batch.append(entry)
            tokens += len(entry.ids)
        self._show_queue()
        if batch:
            self._metrics.batch_sizes.observe(len(batch))
            self._metrics.batch_tokens.observe(tokens)
            for each in self._engine.plan([entry.ids for entry in batch]):
                line.passes.append(Work([batch[row] for row in each.rows], each.ids))

    def _show_queue(self) -> None:
        self._metrics.queued.set(len(self._small.inputs) + len(self._large.inputs))

    def _passed_over(self, entries: Sequence[Entry]) -> None:
        self._waiting_tokens -= sum(len(entry.ids) for entry in entries)
        self._metrics.failures.labels("dropped").inc(len(entries))

    def _tell(self, work: Work, outcome: Vectors | EmbedderFailed, started: float, ended: float) -> None:
        with self._changed:
            self._waiting_tokens -= work.ids.size
            self._done_tokens += work.ids.size
            self._busy_seconds += ended - started
        self.failing = isinstance(outcome, EmbedderFailed)
        assert self._loop is not None
        # RuntimeError: the loop has ended, and with it everybody who waited.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_settle, work.entries, outcome, started, ended)


def _settle(entries: Sequence[Entry], outcome: Vectors | EmbedderFailed, started: float, ended: float) -> None:
    """Give each entry its vector or the error; on the event loop."""
    for number, entry in enumerate(entries):
        if entry.row.done():
            continue
        entry.queued = started - entry.since
        entry.inference = ended - started
        if isinstance(outcome, EmbedderFailed):
            entry.row.set_exception(outcome)
        else:
            entry.row.set_result(outcome[number])
