"""Takes what a source lists, batch by batch, and says what is new, changed, moved, restricted or gone.

`run.py` hands in the listing; `changes.py` judges one document, `examine.py` reads it, `known.py` remembers it. In
memory are one batch of the listing and one window of documents. Of each document a deletion is said before a put, and
whatever is said stands in the journal first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from lectern_contract.errors import LecternError
from lectern_contract.reports import RunMode
from lectern_runtime.errors import first_of
from lectern_runtime.ingest import changes, media_types
from lectern_runtime.ingest.changes import Candidate, Step
from lectern_runtime.ingest.connector import Gone, Item, Listed, Listing, SourceUnavailable, Unlisted
from lectern_runtime.ingest.examine import Examiner, Outcome, told_type, usable_etag
from lectern_runtime.ingest.globs import Selection
from lectern_runtime.ingest.known import KnownDocuments, entry_of
from lectern_runtime.ingest.manifest import Entry
from lectern_runtime.ingest.outcome import Stopped, Tally
from lectern_runtime.ingest.partitions import PartitionRules
from lectern_runtime.ingest.publish import BATCH
from lectern_runtime.ingest.scratch import Row

WINDOW_DOCUMENTS = 64
WINDOW_BYTES = 16 * 1024 * 1024
"""Documents are gathered until a window holds this much and are then read side by side, so that memory is bounded."""
CONCURRENT_READS = 8
LOOKED_UP = 256
"""Listed documents that are compared with what is known in one go."""
WAIT_SECONDS = 1.0
"""How long a source that lists slowly lets documents wait for others to be compared with."""
MAX_URI = 4096
OF_ONE_FILE = frozenset({"BrokenLink", "NameNotUnicode", "NotAFile", "OutsideSource"})
"""Why one document was not listed; what else the source has is listed all the same."""
_NO_DOCUMENT = OF_ONE_FILE - {"NameNotUnicode"}
"""No trouble where the path is none that is asked for."""
_RESTRICTED = "fewer people may read it at the source; say in spec.partition.restrictedAccessLevel who may here"

Progress = Callable[[Tally], None]


class HandOver:
    """What one run says of its source, and how far it is."""

    def __init__(
        self,
        known: KnownDocuments,
        examiner: Examiner,
        tally: Tally,
        on_progress: Progress,
        stop: asyncio.Event,
    ) -> None:
        settings = examiner.settings
        self.rules = PartitionRules(settings)
        self.seen_all = True
        self._settings = settings
        self._selection = Selection(settings.include, settings.exclude)
        self._known = known
        self._examiner = examiner
        self._tally = tally
        self._on_progress = on_progress
        self._stop = stop
        self._whole = True
        self._window: list[Candidate] = []
        self._window_bytes = 0
        self._leaving: list[tuple[str, Entry]] = []
        self._pending: set[str] = set()

    async def listing(self, listing: Listing) -> None:
        """Say what the items of a listing call for; of what they do not name nothing is said."""
        self._whole = listing.whole
        try:
            async for batch in _batches(listing.items):
                self._go_on()
                await self._take(batch)
                self._on_progress(self._tally)
            await self._flush()
        finally:
            if (close := getattr(listing.items, "aclose", None)) is not None:
                await close()

    async def waiting(self) -> None:
        """Try documents again that failed before and that a listing of changes did not name."""
        async for listed in self._known.waiting():
            for each, row in zip(listed, await self._known.find([each.uri for each in listed]), strict=True):
                await self._consider(each, row)
        await self._flush()

    async def remove_absent(self) -> None:
        """Say of each document that a whole listing did not name that it is gone; with `Keep` it stays as it was."""
        if not self._settings.prune:
            return
        async for rows in self._known.absent():
            self._go_on()
            gone = [(row.uri, entry) for row in rows if (entry := entry_of(row)) is not None]
            for start in range(0, len(gone), BATCH):
                await self._withdraw(gone[start : start + BATCH])
                self._tally.deleted += len(gone[start : start + BATCH])
                self._on_progress(self._tally)

    # ----------------------------------------------------------------------------------- one batch

    async def _take(self, batch: Sequence[Item]) -> None:
        items = [found for item in batch if (found := self._asked_for(item)) is not None]
        rows = iter(await self._known.look([item.uri for item in items if isinstance(item, Listed)]))
        await self._known.unlisted([item.uri for item in items if isinstance(item, Unlisted)])
        for item in items:
            if isinstance(item, Listed):
                await self._named(item, next(rows))
            elif isinstance(item, Gone):
                await self._gone(item.uri)
        await self._withdraw_leaving()  # now: whatever comes next may fail, and those readers may not have it

    def _asked_for(self, item: Item) -> Item | None:
        """The item as the run takes it, or None where it calls for nothing."""
        match item:
            case Unlisted():
                self.seen_all = self.seen_all and item.reason in OF_ONE_FILE
                if item.reason not in _NO_DOCUMENT or self._selection.admits(item.uri):
                    self._tally.fail(item.uri, item.reason, item.detail)
                return Unlisted(_storable(item.uri), item.reason, item.detail)
            case Gone():
                return None if self._whole else item
            case Listed():
                return self._asked_for_listed(item)

    def _asked_for_listed(self, item: Listed) -> Listed | Gone | None:
        if not self._selection.admits(item.path):
            return None if self._whole else Gone(item.uri)
        if not 0 < len(item.uri) <= MAX_URI or _storable(item.uri) != item.uri or _storable(item.path) != item.path:
            self._tally.listed += 1
            detail = f"its name is empty, longer than {MAX_URI} characters or no Unicode; rename it"
            self._tally.fail(_storable(item.uri[:MAX_URI]), "NameInvalid", detail)
            return None
        etag = usable_etag(item.etag)
        return item if etag == item.etag else replace(item, etag=etag)

    async def _named(self, listed: Listed, row: Row) -> None:
        """Take a listed document. Where everything is listed the first of a uri counts, of changes the last."""
        if row.listed and self._whole:
            if row.listed == 1:
                self._tally.listed += 1
                self._tally.fail(listed.uri, "ListedTwice", "the source gives this name to several; the first is taken")
            return
        if row.listed or listed.uri in self._pending:
            await self._flush()
            (row,) = await self._known.find([listed.uri])
        await self._consider(listed, row)

    async def _gone(self, uri: str) -> None:
        """Take a document that a listing of changes calls removed."""
        if uri in self._pending:
            await self._flush()
        for row in await self._known.find([uri]):
            await self._known.not_again(row)
            entry = entry_of(row)
            if entry is not None and self._settings.prune:
                self._tally.deleted += 1
                await self._leave(uri, entry)

    async def _consider(self, listed: Listed, row: Row) -> None:
        """Put a document into the window unless its listing settles it."""
        self._tally.listed += 1
        known = entry_of(row)
        partition = self.rules.restricted(listed.path) if listed.restricted else self.rules.of(listed.path)
        if partition is None:
            self._tally.fail(listed.uri, "Restricted", _RESTRICTED)
            await self._known.not_again(row)
            if known is not None:
                await self._leave(listed.uri, known)
            return
        candidate = Candidate(
            listed=listed,
            partition=partition,
            media_type=told_type(listed.media_type) or media_types.by_name(listed.path),
            known=known,
            said=row.said,
            anew=self._tally.mode is RunMode.FULL,
        )
        if known is not None and changes.step(candidate) is Step.NOTHING:
            self._tally.unchanged += 1
            await self._known.not_again(row)
            return
        if known is not None and candidate.left is not None:
            await self._leave(listed.uri, known)
        self._window.append(candidate)
        self._window_bytes += listed.size or 0
        self._pending.add(listed.uri)
        if len(self._window) >= WINDOW_DOCUMENTS or self._window_bytes >= WINDOW_BYTES:
            await self._flush()

    async def _leave(self, uri: str, entry: Entry) -> None:
        self._leaving.append((uri, entry))
        self._pending.add(uri)
        if len(self._leaving) >= BATCH:
            await self._withdraw_leaving()

    # ---------------------------------------------------------------------------------- one window

    async def _flush(self) -> None:
        """Say what the gathered documents call for: first what leaves readers, even if its bytes cannot be read."""
        await self._withdraw_leaving()
        window, self._window, self._window_bytes = self._window, [], 0
        self._pending.clear()
        if window:
            await self._hand_over(await self._examine_all(window))
            self._on_progress(self._tally)

    async def _withdraw_leaving(self) -> None:
        leaving, self._leaving = self._leaving, []
        self._pending = {each.listed.uri for each in self._window}
        await self._withdraw(leaving)

    async def _withdraw(self, leaving: Sequence[tuple[str, Entry]]) -> None:
        if not leaving:
            return
        publisher = self._examiner.publisher
        await self._known.journal.intend(leaving)
        self._examiner.failpoint("publish-deletions")
        await publisher.publish([publisher.deleted(uri, entry.partition) for uri, entry in leaving])
        await self._settle([(uri, None) for uri, _ in leaving])

    async def _hand_over(self, outcomes: Sequence[Outcome]) -> None:
        spoken = [each for each in outcomes if each.entry is not None and each.message is not None]
        if spoken:
            await self._known.journal.intend([(each.candidate.listed.uri, each.entry) for each in spoken if each.entry])
            self._examiner.failpoint("publish-puts")
            await self._examiner.publisher.publish([each.message for each in spoken if each.message is not None])
        await self._settle([(each.candidate.listed.uri, each.entry) for each in outcomes if each.entry is not None])
        await self._known.failed([each.candidate.listed for each in outcomes if each.error is not None])
        for outcome in outcomes:
            self._count(outcome)

    async def _settle(self, entries: Sequence[tuple[str, Entry | None]]) -> None:
        await self._known.settle(entries)
        await self._known.journal.settle(entries)

    def _count(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._tally.fail(outcome.candidate.listed.uri, outcome.error.reason, str(outcome.error))
            return
        self._tally.published += outcome.message is not None
        self._tally.unchanged += outcome.message is None
        self._tally.moved += outcome.candidate.left is not None

    async def _examine_all(self, window: Sequence[Candidate]) -> list[Outcome]:
        gate = asyncio.Semaphore(CONCURRENT_READS)

        async def examine(candidate: Candidate) -> Outcome:
            async with gate:
                return await self._examiner.examine(candidate)

        async def watch() -> None:
            await self._stop.wait()
            raise Stopped

        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(watch())
                tasks = [group.create_task(examine(candidate)) for candidate in window]
                await asyncio.wait(tasks)
                watching.cancel()
        except* LecternError as errors:
            raise first_of(errors) from None
        return [task.result() for task in tasks]

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise Stopped


async def _batches(items: AsyncIterator[Item]) -> AsyncIterator[list[Item]]:
    """The items in groups, none of which waits long for the rest of its group."""
    clock = asyncio.get_running_loop().time
    batch: list[Item] = []
    began = clock()
    try:
        async for item in items:
            batch.append(item)
            if len(batch) >= LOOKED_UP or clock() - began >= WAIT_SECONDS:
                yield batch
                batch, began = [], clock()
    except SourceUnavailable:
        if batch:
            yield batch  # what was seen is seen
        raise
    if batch:
        yield batch


def _storable(text: str) -> str:
    """`text` with halves of surrogate pairs spelled out: the same text where it is one."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
