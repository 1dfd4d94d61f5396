"""Answers that are kept in this process, by their exact key and for a limited time.

The query pipeline of the embedded mode asks it before it retrieves; the consumer of document events tells it which
documents changed.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lectern_contract.ids import DocumentId
from lectern_runtime.ports import CachedAnswer

_OVERHEAD_BYTES = 512  # of an entry's key, set and places in the maps
_DOCUMENT_BYTES = 128
_MOST_CHANGES = 10_000


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: CachedAnswer
    expires: float
    size: int


class MemoryAnswerCache:
    """The `AnswerCache` of the embedded mode: at most `max_entries` answers and `max_bytes` bytes, the oldest go first.

    `clock` gives seconds and never goes backwards.
    """

    def __init__(
        self,
        max_entries: int = 1_000,
        *,
        max_bytes: int = 16 << 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # oldest first
        self._keys: dict[DocumentId, set[str]] = {}
        self._bytes = 0
        # Order of changes: a counter, the last change of each document, and the newest change that was forgotten.
        self._changes = 0
        self._changed: OrderedDict[DocumentId, int] = OrderedDict()
        self._forgotten = 0

    async def get(self, key: str) -> CachedAnswer | None:
        """The answer, unless it expired or one of its documents changed."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= self._clock():
            self._remove(key)
            return None
        return entry.answer

    async def mark(self) -> int:
        """How many changes there were so far."""
        return self._changes

    async def put(self, key: str, answer: CachedAnswer, *, ttl_seconds: float, since: int) -> bool:
        """Keep the answer for `ttl_seconds` and return whether it was kept.

        It is not when one of its documents changed after `since` (or may have: only the last 10,000 changes are
        remembered), when it is larger than the whole cache, or when its time is over at once.
        """
        size = _OVERHEAD_BYTES + len(key) + len(answer.value) + _DOCUMENT_BYTES * len(answer.documents)
        changed = since < self._forgotten or any(self._changed.get(each, 0) > since for each in answer.documents)
        if changed or size > self._max_bytes or not ttl_seconds > 0:
            return False
        self._remove(key)
        self._entries[key] = _Entry(answer, self._clock() + ttl_seconds, size)
        self._bytes += size
        for document in answer.documents:
            self._keys.setdefault(document, set()).add(key)
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))
        return key in self._entries

    async def forget_document(self, document: DocumentId) -> int:
        """Drop every answer that this document stands behind; how many there were."""
        self._changes += 1
        self._changed[document] = self._changes
        self._changed.move_to_end(document)
        if len(self._changed) > _MOST_CHANGES:
            self._forgotten = self._changed.popitem(last=False)[1]
        keys = list(self._keys.get(document, ()))
        for key in keys:
            self._remove(key)
        return len(keys)

    async def close(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._keys.clear()
        self._bytes = 0

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._bytes -= entry.size
        for document in entry.answer.documents:
            keys = self._keys[document]
            keys.discard(key)
            if not keys:
                del self._keys[document]
