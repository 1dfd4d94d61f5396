"""The documents that workers gave up: which are still given up, why, and what a person can do about them.

A letter is open as long as the document's record in the store says that this very message failed; once a newer message
was worked on, or the document was deleted, it is history. So there is nothing to keep beside log and store: replaying
says the message again, dropping says that the document is gone, and either closes the letter when a worker has read it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lectern_contract import ids, messages, names
from lectern_contract.errors import DependencyError, DocumentError
from lectern_contract.messages import DeadLetter, Deleted, DocumentMessage, Envelope
from lectern_contract.names import Topic
from lectern_contract.payload import DocumentState
from lectern_contract.scope import Scope
from lectern_contract.settings import WorkerSettings
from lectern_runtime.moments import rfc3339
from lectern_runtime.ports import Log, OutgoingRecord, Record, VectorStore

BATCH = 500
POLL_SECONDS = 30.0
"""How long a log that has records may take to give the first of them."""
Heard = Callable[[str, int, int | None], None]
"""Told how far a long act is: what is done, how much of it, and of how many (None: nobody knows)."""
MOST_LETTERS = 1_000_000
"""Letters that one look reads; a topic with more is read to here, and the look says so."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant: each part that is given must fit.

    `uri` is a shell pattern, `since` seconds since 1970 UTC.
    """

    source: str | None = None
    reason: str | None = None
    uri: str | None = None
    since: float | None = None

    def takes(self, letter: Letter) -> bool:
        """Say whether a letter is meant."""
        document = letter.body.message.document
        return (
            self.source in (None, document.source)
            and self.reason in (None, letter.body.reason)
            and (self.uri is None or fnmatchcase(document.uri, self.uri))
            and (self.since is None or letter.time_ms / 1000 >= self.since)
        )


@dataclass(frozen=True, slots=True)
class Letter:
    """The newest letter about one document; `time_ms` is when it was written, in milliseconds since 1970 UTC."""

    body: DeadLetter
    time_ms: int


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: open letters, oldest first; letters that no release reads; whether the topic has more."""

    letters: tuple[Letter, ...]
    unreadable: int
    more: bool


def nobody_hears(_what: str, _done: int, _of: int | None) -> None:
    """Nobody asked how far it is."""


class DeadLetters:
    """The dead letters of one index generation; `settings` are those of its workers, `clock` gives seconds.

    `heard` is told how far looks and replays are.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        log: Log,
        store: VectorStore,
        clock: Callable[[], float] = time.time,
        heard: Heard = nobody_hears,
    ) -> None:
        self._heard = heard
        kb = (settings.namespace, settings.knowledge_base)
        self._log, self._store, self._clock = log, store, clock
        self._collection = names.collection(*kb, settings.generation)
        self._documents = names.topic(*kb, Topic.DOCUMENTS)
        self._topic = names.topic(*kb, Topic.DEAD_LETTERS)
        self._origin = f"lectern/dead-letters/{kb[0]}/{kb[1]}"

    async def look(self, wanted: Filter, *, most: int = MOST_LETTERS) -> Look:
        """Return the open letters that are meant; raises `DependencyError` for the log's and the store's faults."""
        newest: dict[str, Letter] = {}
        unreadable = seen = 0
        more = False
        async for record in self._records():
            if (seen := seen + 1) > most:
                more = True
                break
            self._heard("reading letters", seen, None)
            try:
                body = messages.decode(record.value).data
            except DocumentError:
                unreadable += 1
                continue
            if isinstance(body, DeadLetter):
                newest[body.message.document.id] = Letter(body, record.time_ms)
        meant = [letter for letter in newest.values() if wanted.takes(letter)]
        found = []
        for number, letter in enumerate(meant, start=1):
            found += [letter] if await self._is_open(letter) else []
            self._heard("looking which are open", number, len(meant))
        found.sort(key=lambda letter: (letter.time_ms, letter.body.message.document.id))
        return Look(tuple(found), unreadable, more)

    async def replay(self, letters: Sequence[Letter]) -> int:
        """Say the messages of these letters again; return how many that were."""
        return await self._say([letter.body.message for letter in letters])

    async def drop(self, letters: Sequence[Letter]) -> int:
        """Say that these documents are gone, until their source changes them; return how many that were."""
        return await self._say([Deleted(document=letter.body.message.document) for letter in letters])

    async def _say(self, bodies: Sequence[DocumentMessage]) -> int:
        now = self._clock()
        outgoing = [self._outgoing(body, f"{now:.6f}-{number}", now) for number, body in enumerate(bodies)]
        for start in range(0, len(outgoing), BATCH):
            await self._log.publish(self._documents, outgoing[start : start + BATCH])
            self._heard("saying them again", min(start + BATCH, len(outgoing)), len(outgoing))
        return len(outgoing)

    def _outgoing(self, body: DocumentMessage, occurrence: str, now: float) -> OutgoingRecord:
        envelope = Envelope(id=occurrence, source=self._origin, time=rfc3339(now), data=body)
        return OutgoingRecord(envelope.key, messages.encode(envelope))

    async def _is_open(self, letter: Letter) -> bool:
        document = letter.body.message.document
        scope = Scope.of_writer(document.partition)
        record = (await self._store.get_records(self._collection, scope, [document.id])).get(document.id)
        failed = record is not None and record.state is DocumentState.FAILED
        return failed and record is not None and record.version & ids.MAX_OFFSET == letter.body.origin_offset

    async def _records(self) -> AsyncIterator[Record]:
        consumer = await self._log.read_from_start(self._topic)
        try:
            while await consumer.lag() > 0:
                records = await consumer.poll(max_records=BATCH, timeout_seconds=POLL_SECONDS)
                if not records:
                    raise DependencyError(
                        f"topic {self._topic} has records and gave none in {POLL_SECONDS:.0f} s; look again when the "
                        "broker is well",
                        dependency="log",
                    )
                for record in records:
                    yield record
        finally:
            await consumer.close()
