"""Takes documents and deletions: bytes to the blob store, then messages to the log, then the answer.

Whatever the log did not acknowledge is not held: an error leaves such a document in doubt, so that the next request
about it is never taken for unchanged. A document that moves to other readers is deleted for the old ones first.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from lectern_contract import ids
from lectern_contract.ids import DocumentId
from lectern_contract.scope import Partition
from lectern_contract.settings import ReceiverSettings
from lectern_runtime.api_keys import Holder
from lectern_runtime.ingest.publish import Publisher
from lectern_runtime.ingest.receiver.catalogue import Catalogue, CatalogueFailed, Held
from lectern_runtime.ingest.receiver.judging import NOT_THEIRS, Judge, Rejection, Wanted
from lectern_runtime.ingest.receiver.problems import Reason
from lectern_runtime.ingest.receiver.rights import Rights
from lectern_runtime.ingest.receiver.runs import Run, RunDocument, Runs
from lectern_runtime.ingest.receiver.schema import Pushed
from lectern_runtime.ingest.receiver.turns import Turns
from lectern_runtime.ports import BlobStore, Log, OutgoingRecord, Position

CONCURRENT_BLOBS = 4
_Judged = Wanted | Rejection


class Taking:
    """What one receiver does for its callers. `broken` is called when the catalogue may differ from the log."""

    def __init__(
        self,
        settings: ReceiverSettings,
        *,
        log: Log,
        blobs: BlobStore,
        catalogue: Catalogue,
        runs: Runs,
        rights: Rights,
        broken: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises `ConfigurationError` when a partition rule names an unknown access level."""
        self.catalogue = catalogue
        self.publisher = Publisher(settings, log, clock=clock, run=_new_id())
        self._settings = settings
        self._log = log
        self._blobs = blobs
        self._runs = runs
        self._rights = rights
        self._broken = broken
        self._clock = clock
        self._turns = Turns()
        self._at_work = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._judge = Judge(settings, rights, self.publisher)

    async def put(self, holder: Holder, documents: Sequence[Pushed]) -> Run:
        """Take what may be taken and say what became of each; raises `DependencyError` when log or store are away."""
        judged = await asyncio.to_thread(self._judge_all, holder, documents)
        async with self._turn(holder, [each.document.uri for each in documents]):
            wanted = [each for each in judged if isinstance(each, Wanted)]
            known = await self._known(holder, [each.held.uri for each in wanted])
            judged = [self._against_known(holder, each, known) for each in judged]
            changed = await self._changed(judged, known)
            await self._store(changed)
            moved = [
                other
                for each in changed
                for other in known.get(each.held.uri, ())
                if other.partition != each.held.partition
            ]
            await self._withdraw(moved)
            places = await self._say([(each.held, each.message) for each in changed])
            return self._run(holder, [self._told(each, places) for each in judged])

    async def delete(self, holder: Holder, uris: Sequence[str]) -> Run:
        """Delete the documents that are there and theirs; raises `DependencyError` when the log is away."""
        wanted = list(dict.fromkeys(uris))
        async with self._turn(holder, wanted):
            known = await self._known(holder, wanted)
            theirs = {
                uri: [each for each in rows if self._rights.may(holder, each.partition)] for uri, rows in known.items()
            }
            gone = [each for rows in theirs.values() for each in rows]
            places = await self._withdraw(gone)
            return self._run(holder, [self._gone(uri, theirs.get(uri, ()), places) for uri in wanted])

    async def finished(self) -> None:
        """Wait until nothing is under way: only then does the log say all that this one took."""
        await self._idle.wait()

    @asynccontextmanager
    async def _turn(self, holder: Holder, uris: Sequence[str]) -> AsyncIterator[None]:
        self._at_work += 1
        self._idle.clear()
        try:
            async with self._turns.of(holder.tenant, uris):
                yield
        finally:
            self._at_work -= 1
            if not self._at_work:
                self._idle.set()

    # --------------------------------------------------------------------------------------- judging

    def _judge_all(self, holder: Holder, documents: Sequence[Pushed]) -> list[_Judged]:
        seen: set[str] = set()
        found: list[_Judged] = []
        for each in documents:
            uri = each.document.uri
            twice = Rejection(uri, Reason.DUPLICATE_URI, "the request names it twice; the first is taken")
            found.append(twice if uri in seen else self._judge.judge(holder, each.document, each.data))
            seen.add(uri)
        return found

    def _against_known(self, holder: Holder, each: _Judged, known: Mapping[str, Sequence[Held]]) -> _Judged:
        """Reject what would take a document away from readers that are not the caller's."""
        if isinstance(each, Wanted) and not all(
            self._rights.may(holder, other.partition) for other in known.get(each.held.uri, ())
        ):
            return Rejection(each.held.uri, Reason.PARTITION_NOT_ALLOWED, NOT_THEIRS)
        return each

    async def _changed(self, judged: Sequence[_Judged], known: Mapping[str, Sequence[Held]]) -> list[Wanted]:
        """Those about which something is to be said, or whose bytes are gone from the blob store."""
        changed = []
        for each in judged:
            if isinstance(each, Wanted):
                rows = known.get(each.held.uri, ())
                same = len(rows) == 1 and rows[0].says(each.held)
                if not same or not await self._blobs.exists(each.held.sha256):
                    changed.append(each)
        return changed

    async def _known(self, holder: Holder, uris: Sequence[str]) -> Mapping[str, Sequence[Held]]:
        return await asyncio.to_thread(self.catalogue.find, holder.tenant, uris)

    # --------------------------------------------------------------------------------------- writing

    async def _store(self, changed: Sequence[Wanted]) -> None:
        gate = asyncio.Semaphore(CONCURRENT_BLOBS)

        async def store(data: bytes) -> None:
            async with gate:
                await self._blobs.put(data)

        stored = await asyncio.gather(*(store(each.data) for each in changed), return_exceptions=True)
        for each in stored:
            if isinstance(each, BaseException):
                raise each

    async def _withdraw(self, gone: Sequence[Held]) -> Mapping[DocumentId, Position]:
        """Say that these are gone; what the log does not acknowledge stays, in doubt."""
        if not gone:
            return {}
        records = [self.publisher.deleted(each.uri, each.partition) for each in gone]
        places = await self._publish(records, in_doubt=gone)
        await self._note([], [(each.uri, each.partition) for each in gone])
        return places

    async def _say(self, said: Sequence[tuple[Held, OutgoingRecord]]) -> Mapping[DocumentId, Position]:
        """Say that these are there; what the log does not acknowledge is in doubt, and not held if it was not."""
        if not said:
            return {}
        puts = [held for held, _ in said]
        known = {(each.partition, each.uri): each for each in await asyncio.to_thread(self._same_place, puts)}
        doubtful = [known.get((each.partition, each.uri), replace(each, held=False)) for each in puts]
        places = await self._publish([message for _, message in said], in_doubt=doubtful)
        await self._note(puts, [])
        return places

    def _same_place(self, puts: Sequence[Held]) -> list[Held]:
        rows = self.catalogue.find(puts[0].partition.tenant, [each.uri for each in puts])
        return [row for found in rows.values() for row in found]

    async def _publish(
        self, records: Sequence[OutgoingRecord], *, in_doubt: Sequence[Held]
    ) -> Mapping[DocumentId, Position]:
        try:
            places = await self._log.publish(self.publisher.topic, records)
        except BaseException:
            try:
                self.catalogue.note([replace(each, sure=False) for each in in_doubt])
            except CatalogueFailed:
                self._broken()
            raise
        return {DocumentId(record.key): place for record, place in zip(records, places, strict=True)}

    async def _note(self, put: Sequence[Held], forget: Sequence[tuple[str, Partition]]) -> None:
        try:
            await asyncio.to_thread(self.catalogue.note, put, forget)
        except CatalogueFailed:
            self._broken()
            raise

    # --------------------------------------------------------------------------------------- telling

    def _id(self, uri: str, partition: Partition) -> DocumentId:
        return ids.document_id(
            namespace=self._settings.namespace,
            knowledge_base=self._settings.knowledge_base,
            tenant=partition.tenant,
            access_level=partition.access_level,
            source=self._settings.name,
            uri=uri,
        )

    def _told(self, each: _Judged, places: Mapping[DocumentId, Position]) -> tuple[RunDocument, Partition | None]:
        if isinstance(each, Rejection):
            return RunDocument(each.uri, "rejected", reason=each.reason.value, detail=each.detail), None
        document = self._id(each.held.uri, each.held.partition)
        place = places.get(document)
        result = RunDocument(each.held.uri, "accepted" if place else "unchanged", document)
        result.offset = place.offset if place else None
        return result, each.held.partition

    def _gone(
        self, uri: str, rows: Sequence[Held], places: Mapping[DocumentId, Position]
    ) -> tuple[RunDocument, Partition | None]:
        if not rows:
            return RunDocument(uri, "unchanged"), None
        document = self._id(uri, rows[-1].partition)
        return RunDocument(uri, "accepted", document, places[document].offset), rows[-1].partition

    def _run(self, holder: Holder, told: Sequence[tuple[RunDocument, Partition | None]]) -> Run:
        run = Run(
            id=_new_id(),
            created_at=self._clock(),
            tenant=holder.tenant,
            partitions=frozenset(partition for _, partition in told if partition is not None),
            documents=[document for document, _ in told],
        )
        if any(document.result != "rejected" for document in run.documents):
            self._runs.add(run)
        return run


def _new_id() -> str:
    return uuid.uuid4().hex
