"""Turns changes of a source into messages on the documents topic, and waits until the log has them durably.

Used by `handover.py` and `examine.py`; the messages carry references to bytes, never the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count

from pydantic import ValidationError

from lectern_contract import messages, names
from lectern_contract.errors import DocumentError
from lectern_contract.messages import Deleted, DocumentMessage, DocumentRef, Envelope, Put
from lectern_contract.names import Topic
from lectern_contract.payload import MetadataValue
from lectern_contract.scope import Partition
from lectern_contract.settings import ConnectorSettings, ReceiverSettings
from lectern_runtime.ingest.manifest import Entry
from lectern_runtime.moments import rfc3339
from lectern_runtime.ports import Log, OutgoingRecord
from lectern_runtime.telemetry import tracing

BATCH = 500
HEADROOM_BYTES = 1536
"""What a dead letter adds to the message that it carries."""


class Publisher:
    """Writes the messages of one run, or of one receiver; `run` makes their ids unique."""

    def __init__(
        self, settings: ConnectorSettings | ReceiverSettings, log: Log, *, clock: Callable[[], float], run: str
    ) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock
        self._run = run
        self._sequence = count()
        self.topic = names.topic(settings.namespace, settings.knowledge_base, Topic.DOCUMENTS)

    def put(self, uri: str, entry: Entry, metadata: Mapping[str, MetadataValue] | None = None) -> OutgoingRecord:
        """The message that the document is there. Raises `DocumentError` when it cannot be said in one message.

        `metadata` is the document's own; what the source sets stands above it.
        """
        return self._record(
            lambda: Put(
                document=self._ref(uri, entry.partition),
                sha256=entry.sha256,
                size=entry.size,
                media_type=entry.media_type,
                title=entry.title,
                metadata={**(metadata or {}), **self._settings.metadata},
            )
        )

    def deleted(self, uri: str, partition: Partition) -> OutgoingRecord:
        """The message that the document is gone from `partition`."""
        return self._record(lambda: Deleted(document=self._ref(uri, partition)))

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        """Append the records in order and return once the log has them."""
        for start in range(0, len(records), BATCH):
            with tracing.span("connector.publish", {"lectern.messages": len(records[start : start + BATCH])}):
                await self._log.publish(self.topic, records[start : start + BATCH])

    def _ref(self, uri: str, partition: Partition) -> DocumentRef:
        return DocumentRef(
            namespace=self._settings.namespace,
            knowledge_base=self._settings.knowledge_base,
            tenant=partition.tenant,
            access_level=partition.access_level,
            source=self._settings.name,
            uri=uri,
        )

    def _record(self, body: Callable[[], DocumentMessage]) -> OutgoingRecord:
        try:
            envelope = Envelope(
                id=f"{self._run}-{next(self._sequence)}",
                source=f"lectern/{self._settings.runtime}/{self._settings.namespace}/{self._settings.name}",
                time=rfc3339(self._clock()),
                traceparent=tracing.carried(),
                data=body(),
            )
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise DocumentError(
                f"no message can be written about it: {where}: {fault['msg']}", stage="publish", reason="MessageInvalid"
            ) from error
        data = messages.encode(envelope)
        if len(data) > messages.MAX_MESSAGE_BYTES - HEADROOM_BYTES:
            raise DocumentError(
                f"the message about it would have {len(data)} bytes; shorten its path or the source's metadata",
                stage="publish",
                reason="MessageTooLarge",
            )
        return OutgoingRecord(envelope.key, data)
