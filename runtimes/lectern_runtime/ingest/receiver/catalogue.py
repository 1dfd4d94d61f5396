"""What a push source holds, read from the documents topic, which is the only record of it.

`reception.py` loads it before anything is taken; `taking.py` notes what it publishes. The table itself is temporary
and private to the process (`adapters/push_catalogue.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lectern_contract import messages
from lectern_contract.errors import DependencyError, DocumentError
from lectern_contract.messages import Deleted, DocumentRef, Put
from lectern_contract.payload import MetadataValue
from lectern_contract.scope import Partition
from lectern_contract.settings import ReceiverSettings
from lectern_runtime.ports import Log, Record

POLL_RECORDS = 2_000
POLL_SECONDS = 0.5
STALL_SECONDS = 60.0
"""How long a log that has more records may give none."""
logger = logging.getLogger("lectern.receiver")


class CatalogueFailed(DependencyError):
    """The temporary table could not be used; it is made anew from the topic."""

    def __init__(self, message: str) -> None:
        super().__init__(message, dependency="catalogue")


@dataclass(frozen=True, slots=True)
class Held:
    """A document in one partition, as the log has it.

    `held`: a message that it is there was acknowledged. Not `sure`: another one about it may have been written or not.
    `failed`: a worker gave it up, so that the same content said again is worth a try.
    """

    uri: str
    partition: Partition
    sha256: str
    size: int
    media_type: str
    title: str
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    held: bool = True
    sure: bool = True
    failed: bool = False

    def says(self, other: Held) -> bool:
        """Whether a message about `other` would say what was said of this one, with nothing in doubt."""
        settled = self.held and self.sure and not self.failed
        return settled and _said(self) == _said(other)


def _said(each: Held) -> tuple[object, ...]:
    # True is 1 to Python and another value to a reader of the message.
    typed = {name: (type(value), value) for name, value in each.metadata.items()}
    return each.uri, each.partition, each.sha256, each.size, each.media_type, each.title, typed


class Catalogue(Protocol):
    """The documents of one source by tenant, uri and access level. Raises `CatalogueFailed`; usable from any thread."""

    def find(self, tenant: str, uris: Sequence[str]) -> Mapping[str, Sequence[Held]]:
        """Return what is known of each of these uris, in any access level; those of which nothing is are left out."""

    def note(self, put: Sequence[Held], forget: Sequence[tuple[str, Partition]] = ()) -> None:
        """Forget these documents, and put those in place of what is known of the same uri and partition."""

    def listed(
        self, tenant: str, access_levels: Sequence[str], *, prefix: str, after: str, limit: int
    ) -> Sequence[Held]:
        """Return held documents whose uri begins with `prefix`, in order of uri, from behind `after` on."""

    def count(self) -> int:
        """Count the held documents."""

    def close(self) -> None:
        """Remove everything."""


async def load(
    log: Log,
    topic: str,
    settings: ReceiverSettings,
    catalogue: Catalogue,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Fill an empty catalogue from the beginning of the topic to its end. Raises `DependencyError`."""
    consumer = await log.read_from_start(topic)
    try:
        moved, short = clock(), True
        while not short or await consumer.lag():
            records = await consumer.poll(max_records=POLL_RECORDS, timeout_seconds=POLL_SECONDS)
            short = len(records) < POLL_RECORDS
            if records:
                moved = clock()
                await asyncio.to_thread(apply, catalogue, settings, records)
            elif clock() - moved > STALL_SECONDS:
                raise DependencyError(
                    f"topic {topic} has more records and gave none in {STALL_SECONDS:.0f} s; is the broker well?",
                    dependency="log",
                )
    finally:
        await consumer.close()


def apply(catalogue: Catalogue, settings: ReceiverSettings, records: Sequence[Record]) -> None:
    """Take in what `records` of the documents topic say of this source; what they say of others is passed over."""
    newest: dict[tuple[str, Partition], Held | None] = {}
    for record in records:
        try:
            body = messages.decode(record.value).data
        except DocumentError as error:
            logger.warning("passed over a message at %s: %s", record.position, error.reason)
            continue
        if isinstance(body, Put | Deleted) and ours(body.document, settings):
            newest[body.document.uri, body.document.partition] = held_of(body) if isinstance(body, Put) else None
    gone = [place for place, held in newest.items() if held is None]
    catalogue.note([held for held in newest.values() if held is not None], gone)


def ours(document: DocumentRef, settings: ReceiverSettings) -> bool:
    """Whether a message is about a document of this source."""
    wanted = (settings.namespace, settings.knowledge_base, settings.name)
    return (document.namespace, document.knowledge_base, document.source) == wanted


def held_of(message: Put) -> Held:
    """What a message says of its document."""
    return Held(
        uri=message.document.uri,
        partition=message.document.partition,
        sha256=message.sha256,
        size=message.size,
        media_type=message.media_type,
        title=message.title,
        metadata=message.metadata,
    )
