"""Keeps good answers for the same question again, and forgets them when a document behind them changes.

The pipeline asks it before retrieval and hands it what it answered; the app runs `listen` in the background, which
reads the events topics. While a topic is not heard, nothing is given or kept: an old answer is worse than none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from lectern_contract import messages
from lectern_contract.errors import DependencyError, DocumentError
from lectern_contract.ids import DocumentId
from lectern_runtime.ports import AnswerCache, CachedAnswer, Consumer, Log
from lectern_runtime.query.schema import AnswerBody

_POLL_SECONDS = 1.0
_POLL_RECORDS = 256
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0

log = logging.getLogger(__name__)


class Outcome(BaseModel):
    """How a question ended, with what the answer cost; also what lies in the cache."""

    model_config = ConfigDict(frozen=True)

    body: AnswerBody
    passage_tokens: int


class ExactCache:
    """The exact layer over an `AnswerCache`; entries live for `ttl_seconds`."""

    def __init__(self, cache: AnswerCache, source: Log, topics: Sequence[str], *, ttl_seconds: int) -> None:
        self._cache = cache
        self._log = source
        self._topics = tuple(topics)
        self._ttl = ttl_seconds
        self._heard: set[str] = set()
        self._epoch = 0

    @property
    def usable(self) -> bool:
        """Whether every change of a document is being heard of."""
        return len(self._heard) == len(self._topics)

    @property
    def revision(self) -> str:
        """Part of every key: answers from before a gap in the events are never found again."""
        return str(self._epoch)

    async def get(self, key: str) -> Outcome | None:
        """The answer of `key`, or None; a cache that does not answer is none."""
        if not self.usable:
            return None
        try:
            kept = await self._cache.get(key)
        except DependencyError:
            log.warning("the answer cache does not answer; going on without it")
            return None
        if kept is None:
            return None
        try:
            return Outcome.model_validate_json(kept.value)
        except ValidationError:
            return None  # written by another release; its key will not be asked for much longer

    async def mark(self) -> int | None:
        """The point in the order of changes that `put` needs; None when nothing can be kept."""
        if not self.usable:
            return None
        try:
            return await self._cache.mark()
        except DependencyError:
            return None

    async def put(self, key: str, outcome: Outcome, documents: frozenset[DocumentId], *, since: int | None) -> None:
        """Keep a good answer: neither refused nor degraded, and none of its documents changed meanwhile."""
        if since is None or not self.usable or outcome.body.refused or outcome.body.degraded:
            return
        answer = CachedAnswer(outcome.model_dump_json().encode(), documents)
        try:
            await self._cache.put(key, answer, ttl_seconds=self._ttl, since=since)
        except DependencyError:
            log.warning("the answer cache does not answer; the answer is not kept")

    async def listen(self) -> None:
        """Follow every events topic until cancelled."""
        async with asyncio.TaskGroup() as group:
            for topic in self._topics:
                group.create_task(self._follow(topic))

    async def _follow(self, topic: str) -> None:
        wait = _FIRST_WAIT
        while True:
            try:
                consumer = await self._log.subscribe(topic, group=None)
                try:
                    self._heard.add(topic)
                    wait = _FIRST_WAIT
                    await self._forget_changes(consumer)
                finally:
                    self._heard.discard(topic)
                    self._epoch += 1  # what changes from now on is not heard of
                    await consumer.close()
            except DependencyError:
                log.warning("events topic is not readable; answers are not cached meanwhile", extra={"topic": topic})
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _forget_changes(self, consumer: Consumer) -> None:
        while True:
            for record in await consumer.poll(max_records=_POLL_RECORDS, timeout_seconds=_POLL_SECONDS):
                try:
                    data = messages.decode(record.value).data
                except DocumentError:
                    self._epoch += 1  # it may have been about any document
                    continue
                if isinstance(data, messages.DocumentEvent):
                    await self._cache.forget_document(data.document.id)
