"""Deletions in the generation that still answers while the next one is built: deleted means gone, at once.

The worker of a new generation fills only that one. What is deleted meanwhile, or moved to other readers, would
stay findable in the old one until the switch; `embedded` runs this beside the worker until then. Changed texts wait
for the new generation, because only its settings are known. Nothing is committed: if the old generation becomes
the wanted one again, its worker reads the same messages and finds these already done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lectern_contract import ids, messages, names
from lectern_contract.errors import DocumentError
from lectern_contract.messages import Change, Deleted, DocumentEvent, Envelope
from lectern_contract.names import Topic
from lectern_contract.payload import DocumentRecord, DocumentState
from lectern_contract.resources import KnowledgeBase
from lectern_contract.scope import Scope
from lectern_runtime.embed.epoch import epoch_of
from lectern_runtime.errors import CollectionUnknown
from lectern_runtime.ports import BlobStore, DocumentWrite, Log, OutgoingRecord, Record, VectorStore

POLL_RECORDS = 256
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Withdrawal:
    """Takes deleted documents out of generation `number` of a knowledge base; `now` gives RFC 3339 times."""

    kb: KnowledgeBase
    number: int
    log: Log
    blobs: BlobStore
    store: VectorStore
    now: Callable[[], str]

    async def run(self, over: Callable[[], bool]) -> None:
        """Follow the documents topic from where the generation's worker stopped, until `over()`."""
        kb = (self.kb.namespace, self.kb.name)
        topic, collection = names.topic(*kb, Topic.DOCUMENTS), names.collection(*kb, self.number)
        epoch = await epoch_of(await self.log.topic_id(topic), self.blobs, collection=collection)
        consumer = await self.log.subscribe(topic, group=names.consumer_group(*kb, self.number))
        try:
            while not over():
                for record in await consumer.poll(max_records=POLL_RECORDS, timeout_seconds=POLL_SECONDS):
                    if not over():
                        await self._withdraw(collection, record, ids.version(epoch, record.position.offset))
        except CollectionUnknown:
            if not over():  # else it was dropped after the switch, with nothing retained
                raise
        finally:
            await consumer.close()

    async def _withdraw(self, collection: str, record: Record, version: int) -> None:
        try:
            message = messages.decode(record.value).data
        except DocumentError:
            return  # the worker counts and logs what it cannot read
        if not isinstance(message, Deleted):
            return
        document = message.document
        scope = Scope.of_writer(document.partition)
        before = (await self.store.get_records(collection, scope, [document.id])).get(document.id)
        if before is None or before.version >= version:
            return
        gone = DocumentRecord(
            tenant=document.tenant,
            access_level=document.access_level,
            document_id=document.id,
            version=version,
            source=document.source,
            uri=document.uri,
            title="",
            state=DocumentState.DELETED,
            sha256="",
            media_type="",
            chunks=0,
            reason="",
        )
        await self.store.write_documents(collection, scope, [DocumentWrite(gone)])
        event = Envelope(
            id=f"{document.id}-{version}-withdrawn",
            source=f"lectern/up/{self.kb.namespace}/{self.kb.name}/g{self.number}",
            time=self.now(),
            data=DocumentEvent(document=document, change=Change.DELETED, version=version),
        )
        events = names.topic(self.kb.namespace, self.kb.name, Topic.EVENTS)
        await self.log.publish(events, [OutgoingRecord(event.key, messages.encode(event))])
