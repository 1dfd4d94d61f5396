"""Accepted requests as runs: which of their documents the index shows by now, as the events and dead letters tell.

In memory: at most `MOST_RUNS` runs of `MOST_BYTES` together, for `KEPT_SECONDS`; a restart forgets
them. `taking.py` adds runs, `reception.py` feeds what the topics say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lectern_contract import ids
from lectern_contract.ids import DocumentId
from lectern_contract.messages import Change, DeadLetter, DocumentEvent
from lectern_contract.scope import Partition

KEPT_SECONDS = 24 * 3600.0
MOST_RUNS = 10_000
MOST_BYTES = 64 * 1024 * 1024
MOST_NEWS = 20_000
"""What came of documents lately: a worker may be done with one before its request is answered."""
_DOCUMENT_BYTES = 400
"""What a document costs beside its texts, about."""
_OFFSETS = ids.MAX_OFFSET

State = Literal["queued", "done", "failed"]
RunState = Literal["queued", "running", "done", "failed"]


@dataclass(slots=True)
class RunDocument:
    """One document of a run; `offset` is that of its message, None where nothing was published."""

    uri: str
    result: Literal["accepted", "unchanged", "rejected"]
    id: DocumentId | None = None
    offset: int | None = None
    reason: str | None = None
    detail: str | None = None
    state: State = "queued"


@dataclass(frozen=True, slots=True)
class Run:
    """One accepted request; `partitions` are those of its documents, whose readers may see it."""

    id: str
    created_at: float
    tenant: str
    partitions: frozenset[Partition]
    documents: Sequence[RunDocument]

    @property
    def state(self) -> RunState:
        """How far it is, and whether all that was accepted came to something."""
        accepted = [each.state for each in self.documents if each.result == "accepted"]
        waiting = accepted.count("queued")
        if waiting:
            return "queued" if waiting == len(accepted) else "running"
        return "failed" if "failed" in accepted else "done"


@dataclass(frozen=True, slots=True)
class _News:
    offset: int
    state: State
    reason: str | None = None
    detail: str | None = None


@dataclass
class Runs:
    """The runs of one receiver."""

    clock: Callable[[], float] = time.time
    _runs: dict[str, Run] = field(default_factory=dict)
    _waiting: dict[DocumentId, list[RunDocument]] = field(default_factory=dict)
    _news: dict[DocumentId, _News] = field(default_factory=dict)
    _bytes: int = 0

    def add(self, run: Run) -> None:
        """Follow a run from now on."""
        self._runs[run.id] = run
        self._bytes += _bytes_of(run)
        for document in run.documents:
            if document.id is None or document.offset is None:
                document.state = "done" if document.result != "rejected" else "failed"
                continue
            self._waiting.setdefault(document.id, []).append(document)
            if document.id in self._news:
                self._settle(document.id, self._news[document.id])
        self._forget_old()

    def get(self, run_id: str) -> Run | None:
        """The run, or None when it is unknown or forgotten."""
        self._forget_old()
        return self._runs.get(run_id)

    def event(self, event: DocumentEvent) -> None:
        """Take in that the index changed for a document; a later message stands for the earlier ones."""
        state: State = "failed" if event.change is Change.FAILED else "done"
        offset = event.version & _OFFSETS
        known = self._news.get(event.document.id)
        if state == "failed" and known is not None and known.offset == offset and known.state == "failed":
            return  # the dead letter said more
        self._heard(event.document.id, _News(offset, state))

    def dead_letter(self, letter: DeadLetter) -> None:
        """Take in that a worker gave a document up."""
        news = _News(letter.origin_offset, "failed", letter.reason, letter.detail)
        self._heard(letter.message.document.id, news)

    def _heard(self, document: DocumentId, news: _News) -> None:
        known = self._news.pop(document, None)
        self._news[document] = news if known is None or known.offset <= news.offset else known
        if len(self._news) > MOST_NEWS:
            self._news.pop(next(iter(self._news)))
        self._settle(document, news)

    def _settle(self, document: DocumentId, news: _News) -> None:
        left = []
        for each in self._waiting.get(document, ()):
            assert each.offset is not None
            if each.offset > news.offset:
                left.append(each)
                continue
            each.state, each.reason, each.detail = news.state, news.reason, news.detail
        if left:
            self._waiting[document] = left
        else:
            self._waiting.pop(document, None)

    def _forget_old(self) -> None:
        oldest = self.clock() - KEPT_SECONDS
        while self._runs:
            run = next(iter(self._runs.values()))
            if len(self._runs) <= MOST_RUNS and self._bytes <= MOST_BYTES and run.created_at >= oldest:
                return
            self._forget(run)

    def _forget(self, run: Run) -> None:
        del self._runs[run.id]
        self._bytes -= _bytes_of(run)
        gone = {id(each) for each in run.documents}
        for document in {each.id for each in run.documents if each.id is not None}:
            left = [each for each in self._waiting.get(document, ()) if id(each) not in gone]
            if left:
                self._waiting[document] = left
            else:
                self._waiting.pop(document, None)


def _bytes_of(run: Run) -> int:
    """What a run costs in memory, about, whatever becomes of it."""
    return sum(_DOCUMENT_BYTES + 2 * len(each.uri) for each in run.documents)
