"""What earlier runs of a source handed over, for the length of one run, however many documents there are.

`KnownDocuments` loads the manifest and the journals of runs that died into a scratch table, answers what the run and
its connector ask, takes in what the run says, and writes the manifest: first the parts that are new, then the index.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from lectern_contract.errors import DependencyError
from lectern_contract.reports import RunMode
from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest import journal, manifest, parts
from lectern_runtime.ingest.connector import Listed
from lectern_runtime.ingest.failpoints import Failpoint, no_failpoint
from lectern_runtime.ingest.journal import Journal
from lectern_runtime.ingest.manifest import Entry, Found, Index, Part
from lectern_runtime.ingest.scratch import Row, Scratch
from lectern_runtime.ports import BlobStore

PAGE = 1000
"""Rows that are in memory at once."""
T = TypeVar("T")


class RunsOverlap(DependencyError):
    """Two runs of one source were at work at once."""

    def __init__(self, message: str) -> None:
        super().__init__(message, dependency="manifest")


class KnownDocuments:
    """The documents of one source; a `connector.Known`. `header` is the index of this run, still without parts."""

    def __init__(
        self,
        blobs: BlobStore,
        settings: ConnectorSettings,
        scratch: Scratch,
        *,
        found: Found,
        topic_id: str,
        left: Sequence[tuple[int, str]] = (),
        mode: RunMode = RunMode.SYNC,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._blobs = blobs
        self._settings = settings
        self._scratch = scratch
        self._found = found
        self._left = [name for _, name in left]
        self._unfolded = [name for run, name in left if run > found.index.run]
        self._mode = mode
        self._failpoint = failpoint
        self.header = Index(
            knowledge_base=settings.knowledge_base,
            topic_id=topic_id,
            messages=manifest.message_digest(settings),
            selection=manifest.selection_digest(settings),
            run=max([found.index.run, *(run for run, _ in left)]) + 1,
        )
        self.journal = Journal(blobs, settings, self.header, failpoint)

    @classmethod
    async def load(
        cls,
        blobs: BlobStore,
        settings: ConnectorSettings,
        scratch: Scratch,
        *,
        topic_id: str,
        mode: RunMode = RunMode.SYNC,
        failpoint: Failpoint = no_failpoint,
    ) -> KnownDocuments:
        """Read the manifest, and after it what runs that died have left. Raises `ManifestDamaged`."""
        found = await manifest.read(blobs, settings)
        left = await journal.leftovers(blobs, settings)
        known = cls(blobs, settings, scratch, found=found, topic_id=topic_id, left=left, mode=mode, failpoint=failpoint)
        await known._load()
        return known

    async def _load(self) -> None:
        old = self._found.index
        said = (old.topic_id, old.messages) == (self.header.topic_id, self.header.messages)
        inline = (Row(uri, entry.text(), said) for uri, entry in self._found.inline.items())
        for page in _pages(inline):
            await asyncio.to_thread(self._scratch.load, page)
        for part in old.parts:
            data = await parts.load(self._blobs, self._settings, part)
            try:
                await asyncio.to_thread(self._scratch.load, parts.rows(data, said=said))
            except (ValueError, KeyError, TypeError) as error:
                raise manifest.damaged(f"part {part.sha256}", "damaged") from error
        async for rows in journal.replay(self._blobs, self._unfolded, self.header):
            await asyncio.to_thread(self._scratch.load, rows)

    # -------------------------------------------------------------------------------- what connectors ask

    @property
    def cursor(self) -> str:
        """What the last listing ended with; empty where all must be looked at again.

        That is so for a full run, after a run that died, and under settings that would have chosen otherwise.
        """
        old = self._found.index
        as_then = (old.topic_id, old.messages, old.selection) == (
            self.header.topic_id,
            self.header.messages,
            self.header.selection,
        )
        return old.cursor if as_then and not self._unfolded and self._mode is not RunMode.FULL else ""

    async def etag(self, uri: str) -> str:
        """The etag of a document at its last hand-over; empty when there was none, and in a full run."""
        if self._mode is RunMode.FULL:
            return ""
        entry = await self.entry(uri)
        return entry.etag if entry is not None else ""

    # ------------------------------------------------------------------------------------ what runs ask

    async def entry(self, uri: str) -> Entry | None:
        """What was handed over of a document, or None."""
        rows = await self.find([uri])
        return entry_of(rows[0]) if rows else None

    async def find(self, uris: Sequence[str]) -> list[Row]:
        """The rows of these documents that are there, as they stand now."""
        return await asyncio.to_thread(self._scratch.find, uris)

    async def look(self, uris: Sequence[str]) -> list[Row]:
        """The rows of these listed documents, in the order asked; each counts as named once more."""
        return await asyncio.to_thread(self._scratch.look, uris)

    async def any(self) -> bool:
        """Whether anything was ever handed over, or may have been."""
        return await asyncio.to_thread(self._scratch.count) > 0

    async def settle(self, entries: Sequence[tuple[str, Entry | None]]) -> None:
        """Take in what was said of documents; None is what was taken back."""
        if entries:
            texts = [(uri, manifest.text(entry)) for uri, entry in entries]
            await asyncio.to_thread(self._scratch.note, texts)

    async def failed(self, listed: Iterable[Listed]) -> None:
        """Remember documents that must be tried again, even if a listing of changes does not name them."""
        retries = [(each.uri, _retry(each)) for each in listed]
        if retries:
            await asyncio.to_thread(self._scratch.retry, retries)

    async def not_again(self, row: Row) -> None:
        """Forget that a document had to be tried again: by what the source says of it now, it need not be."""
        if row.retry is not None:
            await asyncio.to_thread(self._scratch.retry, [(row.uri, None)])

    async def unlisted(self, places: Sequence[str]) -> None:
        """Remember what could not be listed: of that, and of all below it, nothing is absent."""
        if places:
            await asyncio.to_thread(self._scratch.unlisted, places)

    async def absent(self) -> AsyncIterator[list[Row]]:
        """Rows of what was handed over and is no longer listed, a page at a time."""
        async for rows in self._paged(self._scratch.absent):
            yield rows

    async def waiting(self) -> AsyncIterator[list[Listed]]:
        """Documents that failed in an earlier run and were not named in this one, a page at a time."""
        async for rows in self._paged(self._scratch.waiting):
            yield [listed_again(row) for row in rows]

    async def _paged(self, select: Callable[..., list[Row]]) -> AsyncIterator[list[Row]]:
        after = ""
        while rows := await asyncio.to_thread(select, after=after, limit=PAGE):
            yield rows
            after = rows[-1].uri

    # ---------------------------------------------------------------------------------- what is written

    async def save(self, cursor: str, *, whole: bool) -> int:
        """Write what changed and forget the journals; the number of documents. Nothing is written where nothing did.

        `whole` says that a document which the listing did not name need not be tried again.
        """
        old = self._found.index
        pristine = self._found.current and not self._scratch.changed and not self._left and not self.journal.written
        new = self.header.model_copy(update={"cursor": cursor, "parts": old.parts, "documents": old.documents})
        if not (pristine and new.same(old)):
            made = [part async for part in self._write_parts(keep_retries=bool(cursor), whole=whole)]
            count = sum(part.documents for part in made)
            new = new.model_copy(update={"parts": tuple(made), "documents": count})
        replaced = not (self._found.current and new.same(old))
        if replaced:
            await self._check_alone()
            self._failpoint("index")
            await manifest.write(self._blobs, self._settings, new)
        await self._forget(new, replaced=replaced)
        return new.documents

    async def _check_alone(self) -> None:
        """Raise `RunsOverlap` when the manifest is no longer the one that this run began with."""
        if (await manifest.read(self._blobs, self._settings)).index != self._found.index:
            raise RunsOverlap(
                f"another run of IngestionSource/{self._settings.name} ended while this one lasted; its manifest "
                "stands, and the next run makes good what differs. Let runs of one source not overlap"
            )

    async def _write_parts(self, *, keep_retries: bool, whole: bool) -> AsyncIterator[Part]:
        there = {part.sha256 for part in self._found.index.parts}
        rows = self._paged(self._scratch.rows)
        async for part, data in _cut(_final(page, keep_retries=keep_retries, whole=whole) async for page in rows):
            if part.sha256 not in there:
                self._failpoint("part")
                await parts.store(self._blobs, self._settings, part, data)
            yield part

    async def _forget(self, new: Index, *, replaced: bool) -> None:
        """Remove what the index no longer needs; the journals last, because by them the next run knows of a rest."""
        written = [*self._left, *self.journal.written]
        if not (replaced or written):
            return
        self._failpoint("forget-journal")
        kept = frozenset(part.sha256 for part in new.parts)
        old = [name async for name in parts.superseded(self._blobs, self._settings, kept)]
        await journal.forget(self._blobs, old)
        await journal.forget(self._blobs, written)


def entry_of(row: Row) -> Entry | None:
    """The entry of a row."""
    return Entry.model_validate_json(row.entry) if row.entry is not None else None


def listed_again(row: Row) -> Listed:
    """A document that failed, as a listing would name it: without an etag, so that it is read."""
    assert row.retry is not None
    value = json.loads(row.retry)
    return Listed(row.uri, value["path"], "", value.get("size"), bool(value.get("restricted")))


def _retry(listed: Listed) -> str:
    value = {"path": listed.path, "size": listed.size, "restricted": listed.restricted or None}
    found = {name: each for name, each in value.items() if each is not None}
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def _final(rows: Sequence[Row], *, keep_retries: bool, whole: bool) -> list[Row]:
    """The rows as the manifest is to hold them."""
    found = []
    for row in rows:
        if row.said and row.retry is None:
            found += [row] if row.entry is not None else []
            continue
        retry = row.retry if keep_retries and (row.listed or not whole) else None
        entry = row.entry if row.said else _stale(row)
        if entry is not None or retry is not None:
            found.append(Row(row.uri, entry, row.said, retry))
    return found


def _stale(row: Row) -> str | None:
    """The entry, marked as said under other settings unless nobody knows what was said."""
    entry = entry_of(row)
    if entry is None or entry.stale or not entry.sha256:
        return row.entry
    return entry.model_copy(update={"stale": True}).text()


async def _cut(pages: AsyncIterator[list[Row]]) -> AsyncIterator[tuple[Part, bytes]]:
    """The parts that these rows make, one in memory at a time."""
    cut = parts.Cut()
    async for page in pages:
        for row in page:
            if cut.add(row):
                yield cut.part()
                cut = parts.Cut()
        await asyncio.sleep(0)  # whoever shares the event loop has a turn
    if cut.lines:
        yield cut.part()


def _pages(items: Iterator[T]) -> Iterator[list[T]]:
    while page := list(islice(items, PAGE)):
        yield page
