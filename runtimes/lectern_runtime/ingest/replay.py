"""Hands over again what the workers of a knowledge base gave up: the dead letters of one source.

A letter is old, and what it is about may have changed, moved to other readers or gone since. So nothing of a letter is
published: it only names a document, and the message is made of what the manifest says of that document now. A letter
about anything else is passed over, because the message that replaced it has been said already.

Called by `run.py`, never beside another run of the same source. The consumer group remembers how far it came, so that
a letter is replayed once; a run that dies between saying and remembering says a few again, which changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from lectern_contract import messages, names
from lectern_contract.errors import DependencyError, DocumentError
from lectern_contract.messages import DeadLetter, Put
from lectern_contract.names import Topic
from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest.known import KnownDocuments
from lectern_runtime.ingest.manifest import Entry
from lectern_runtime.ingest.outcome import Tally
from lectern_runtime.ingest.publish import BATCH, Publisher
from lectern_runtime.ports import Consumer, Log, OutgoingRecord, Record

MOST_RECORDS = 100_000
"""Letters, of all sources together, that one replay looks at; the next one goes on behind them."""
POLL_SECONDS = 30.0
"""How long a log that has records may take to give the first of them."""
logger = logging.getLogger("lectern.connector")


@dataclass(slots=True)
class Replayed:
    """How far a replay came: letters that no release can read, and whether it stopped at its bound."""

    unreadable: int = 0
    left: bool = False
    _done: set[tuple[str, str]] = field(default_factory=set)

    def first(self, letter: DeadLetter) -> bool:
        """Say whether this is the first letter of the replay that says this of this document."""
        said = (letter.message.document.id, letter.message.sha256 if isinstance(letter.message, Put) else "")
        if said in self._done:
            return False
        self._done.add(said)
        return True


async def replay(
    settings: ConnectorSettings,
    *,
    log: Log,
    publisher: Publisher,
    known: KnownDocuments,
    tally: Tally,
    most: int = MOST_RECORDS,
) -> Replayed:
    """Publish what the letters of this source that nobody replayed yet are about, and count them in `tally`.

    Letters that are written meanwhile are left to the next replay. Raises `DependencyError` for the log's faults.
    """
    topic = names.topic(settings.namespace, settings.knowledge_base, Topic.DEAD_LETTERS)
    group = names.replay_group(settings.namespace, settings.knowledge_base, settings.name)
    found = Replayed()
    consumer = await log.subscribe(topic, group=group)
    try:
        waiting = await consumer.lag()
        found.left = waiting > most
        remaining = min(waiting, most)
        while remaining > 0:
            records = await _next(consumer, min(BATCH, remaining), topic)
            remaining -= len(records)
            outgoing = await _messages(records, settings, publisher, known, tally, found)
            await publisher.publish(outgoing)
            tally.published += len(outgoing)
            await consumer.commit({each.position.partition: each.position.offset + 1 for each in records})
    finally:
        await consumer.close()
    return found


async def _next(consumer: Consumer, most: int, topic: str) -> Sequence[Record]:
    records = await consumer.poll(max_records=most, timeout_seconds=POLL_SECONDS)
    if not records:
        raise DependencyError(
            f"topic {topic} has records and gave none in {POLL_SECONDS:.0f} s; ask for the replay again when the "
            "broker is well",
            dependency="log",
        )
    return records


async def _messages(
    records: Sequence[Record],
    settings: ConnectorSettings,
    publisher: Publisher,
    known: KnownDocuments,
    tally: Tally,
    found: Replayed,
) -> list[OutgoingRecord]:
    outgoing = []
    for record in records:
        letter = _letter(record, found)
        if letter is None or not _is_of(letter, settings):
            continue
        tally.listed += 1
        try:
            entry = await known.entry(letter.message.document.uri)
            message = _again(letter, publisher, entry) if found.first(letter) else None
        except DocumentError as error:
            tally.fail(letter.message.document.uri, error.reason, str(error))
            continue
        if message is None:
            tally.unchanged += 1
            continue
        outgoing.append(message)
    return outgoing


def _letter(record: Record, found: Replayed) -> DeadLetter | None:
    try:
        body = messages.decode(record.value).data
    except DocumentError as error:
        found.unreadable += 1
        logger.warning("dead letter %s/%s: %s", record.position.partition, record.position.offset, error)
        return None
    return body if isinstance(body, DeadLetter) else None


def _is_of(letter: DeadLetter, settings: ConnectorSettings) -> bool:
    document = letter.message.document
    wanted = (settings.namespace, settings.knowledge_base, settings.name)
    return (document.namespace, document.knowledge_base, document.source) == wanted


def _again(letter: DeadLetter, publisher: Publisher, entry: Entry | None) -> OutgoingRecord | None:
    """Return what is to be said again; None when the letter is about what is no more."""
    document = letter.message.document
    here = entry is not None and entry.partition == document.partition
    if isinstance(letter.message, Put):
        same = here and entry is not None and entry.sha256 == letter.message.sha256
        return publisher.put(document.uri, entry) if same and entry is not None else None
    return None if here else publisher.deleted(document.uri, document.partition)
