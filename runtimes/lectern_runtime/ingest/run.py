"""One run of a connector: turns what a source holds now into messages about what changed since the last run.

A full run says everything again; a replay (`replay.py`) looks at dead letters and not at the source.
Started by `__main__` as a Job and by `lectern up` in its own process. Bytes go to the blob store, references
to the documents topic, and the manifest is replaced last, so that a run which dies is repeated by the next.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

from lectern_contract.errors import LecternError
from lectern_contract.reports import RunMode, RunReport
from lectern_contract.settings import ConnectorSettings
from lectern_runtime import topics
from lectern_runtime.ingest import changes, connectors, manifest, media_types
from lectern_runtime.ingest.changes import Candidate, Step
from lectern_runtime.ingest.connector import Connector, Gone, Listed, Means, SourceEmpty, Unlisted
from lectern_runtime.ingest.examine import Examiner, Failpoint, Outcome, no_failpoint
from lectern_runtime.ingest.globs import Selection
from lectern_runtime.ingest.manifest import Entry, Manifest
from lectern_runtime.ingest.outcome import Tally
from lectern_runtime.ingest.partitions import PartitionRules
from lectern_runtime.ingest.publish import BATCH, Publisher
from lectern_runtime.ingest.replay import replay
from lectern_runtime.ingest.throttle import throttle
from lectern_runtime.ports import BlobStore, Log
from lectern_runtime.telemetry.ingest_metrics import ConnectorMetrics

WINDOW_DOCUMENTS = 64
WINDOW_BYTES = 16 * 1024 * 1024
"""Documents are gathered until a window holds this much and are then read side by side, so that memory is bounded."""
CONCURRENT_READS = 8
_OF_ONE_FILE = frozenset({"BrokenLink", "NotAFile", "OutsideSource"})
"""Why one path was not listed; no trouble where the path is none that is asked for."""

Progress = Callable[[Tally], None]


async def run(
    settings: ConnectorSettings,
    *,
    log: Log,
    blobs: BlobStore,
    mode: RunMode = RunMode.SYNC,
    clock: Callable[[], float] = time.time,
    on_progress: Progress | None = None,
    metrics: ConnectorMetrics | None = None,
    source: Connector | None = None,
    failpoint: Failpoint = no_failpoint,
) -> RunReport:
    """Hand over what `mode` says and report. A run that could not see the whole source reports `Failed`.

    `clock` gives seconds since 1970 UTC. None of Lectern's own errors is raised: they are in the report.
    """
    began, tally = clock(), Tally(mode)
    name = f"{settings.namespace}/{settings.name}"
    try:
        await topics.ensure(log, settings.log, namespace=settings.namespace, knowledge_base=settings.knowledge_base)
        publisher = Publisher(settings, log, clock=clock, run=uuid.uuid4().hex)
        old = await manifest.read(blobs, settings)
        if mode is RunMode.REPLAY:
            found = await replay(settings, log=log, publisher=publisher, known=old, tally=tally)
            report = tally.replayed(name, began=began, ended=clock(), unreadable=found.unreadable, left=found.left)
        else:
            means = Means(clock, throttle(settings.requests_per_second))
            opened = source or connectors.open_connector(settings, means)
            examiner = Examiner(settings, opened, blobs, publisher, metrics, failpoint)
            topic_id = await log.topic_id(publisher.topic)
            this = _Run(settings, tally, on_progress or _unheard, examiner=examiner, old=old, topic_id=topic_id)
            await this.hand_over()
            await this.remove_gone()
            await this.remember()
            report = tally.succeeded(name, began=began, ended=clock(), unused_rules=this.rules.unused())
    except LecternError as error:
        report = tally.stopped(name, error, began=began, ended=clock())
    _count(metrics, settings.name, report)
    return report


class _Run:
    """The state of one run: what the last one said (`old`), and what this one has said so far (`new`)."""

    def __init__(
        self,
        settings: ConnectorSettings,
        tally: Tally,
        on_progress: Progress,
        *,
        examiner: Examiner,
        old: Manifest,
        topic_id: str,
    ) -> None:
        self.settings = settings
        self.rules = PartitionRules(settings)
        self._tally = tally
        self._on_progress = on_progress
        self._examiner = examiner
        self._publisher = examiner.publisher
        self._old = old
        self._new = Manifest(
            knowledge_base=settings.knowledge_base, topic_id=topic_id, messages=manifest.message_digest(settings)
        )
        self._said = (old.topic_id, old.messages) == (self._new.topic_id, self._new.messages)
        self._open: dict[str, Entry] = {}
        self._withdrawn: set[str] = set()
        self._unlisted: set[str] = set()

    async def hand_over(self) -> None:
        """Publish every listed document that is new or changed, window by window."""
        selection = Selection(self.settings.include, self.settings.exclude)
        window: list[Candidate] = []
        size = 0
        self._examiner.failpoint("list")
        try:
            async for item in (await self._examiner.source.list(_Everything())).items:
                if isinstance(item, Unlisted):
                    self._unlisted.add(item.uri)
                    if item.reason not in _OF_ONE_FILE or selection.admits(item.uri):
                        self._tally.fail(item.uri, item.reason, item.detail)
                elif isinstance(item, Gone) or not selection.admits(item.path):
                    continue  # nobody asks for a listing of changes yet
                elif (candidate := self._consider(item)) is not None:
                    window.append(candidate)
                    size += item.size or 0
                if len(window) >= WINDOW_DOCUMENTS or size >= WINDOW_BYTES:
                    await self._flush(window)
                    window, size = [], 0
        except SourceEmpty:
            if self._old.documents:
                raise
        await self._flush(window)

    def _consider(self, listed: Listed) -> Candidate | None:
        """The document as a candidate, or None when its listing alone settles it."""
        self._tally.listed += 1
        known = self._old.documents.get(listed.uri)
        candidate = Candidate(
            listed=listed,
            partition=self.rules.of(listed.path),
            media_type=media_types.by_name(listed.path),
            known=known,
            said=self._said,
            anew=self._tally.mode is RunMode.FULL,
        )
        if known is None or changes.step(candidate) is not Step.NOTHING:
            return candidate
        self._new.documents[listed.uri] = known
        self._tally.unchanged += 1
        return None

    async def _flush(self, window: Sequence[Candidate]) -> None:
        """Read the window's documents side by side, publish deletions before puts, and note what was said.

        A document that is for other readers now leaves the old ones even when its bytes cannot be read.
        """
        outcomes = await self._examine_all(window)
        left = [(each.listed.uri, each.left) for each in window if each.left is not None]
        self._examiner.failpoint("publish")
        await self._intend({each.listed.uri: each.known for each in window if each.known and each.left is not None})
        await self._publisher.publish([self._publisher.deleted(uri, partition) for uri, partition in left])
        self._examiner.failpoint("publish-puts")
        await self._intend({each.candidate.listed.uri: each.entry for each in outcomes if each.entry and each.message})
        await self._publisher.publish([outcome.message for outcome in outcomes if outcome.message is not None])
        for outcome in outcomes:
            self._note(outcome)
        self._on_progress(self._tally)

    async def _examine_all(self, window: Sequence[Candidate]) -> list[Outcome]:
        gate = asyncio.Semaphore(CONCURRENT_READS)

        async def examine(candidate: Candidate) -> Outcome:
            async with gate:
                return await self._examiner.examine(candidate)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(examine(candidate)) for candidate in window]
        except* LecternError as errors:
            raise _first(errors) from None
        return [task.result() for task in tasks]

    def _note(self, outcome: Outcome) -> None:
        """Take an outcome into tally and manifest; a document that failed keeps its old entry, to be tried again."""
        uri, known, left = outcome.candidate.listed.uri, outcome.candidate.known, outcome.candidate.left
        if outcome.error is not None:
            self._tally.fail(uri, outcome.error.reason, str(outcome.error))
            if left is not None:
                self._withdrawn.add(uri)
            elif known is not None:
                self._new.documents[uri] = known
            return
        assert outcome.entry is not None
        self._new.documents[uri] = outcome.entry
        self._tally.published += outcome.message is not None
        self._tally.unchanged += outcome.message is None
        self._tally.moved += left is not None

    async def remove_gone(self) -> None:
        """Say of each document that the source no longer has that it is gone; with `Keep` only remember it."""
        absent = [
            (uri, entry)
            for uri, entry in self._old.documents.items()
            if uri not in self._new.documents and uri not in self._withdrawn
        ]
        kept = {uri: entry for uri, entry in absent if not self.settings.prune or _at_or_below(uri, self._unlisted)}
        self._new.documents.update(kept)
        gone = [(uri, entry) for uri, entry in absent if uri not in kept]
        await self._intend(dict(gone))
        for start in range(0, len(gone), BATCH):
            part = gone[start : start + BATCH]
            self._examiner.failpoint("publish-deletions")
            await self._publisher.publish([self._publisher.deleted(uri, entry.partition) for uri, entry in part])
            self._tally.deleted += len(part)
            self._on_progress(self._tally)

    async def _intend(self, entries: Mapping[str, Entry]) -> None:
        """Note, before it is said, what is about to be said of these documents: entries that no bytes match.

        By these the next run says it again, or takes it back, where this one dies before its manifest is written.
        """
        if entries:
            self._open |= {uri: entry.model_copy(update={"etag": "", "sha256": ""}) for uri, entry in entries.items()}
            documents = {**self._old.documents, **self._open, **self._new.documents}
            interim = self._old.model_copy(update={"documents": documents})
            await manifest.write(self._examiner.blobs, self.settings, interim)

    async def remember(self) -> None:
        """Write the manifest, unless it is what it was: a pass over an unchanged source writes nothing."""
        self._examiner.failpoint("manifest")
        if self._new != self._old or self._open:
            await manifest.write(self._examiner.blobs, self.settings, self._new)


class _Everything:
    """Asks for a whole listing."""

    cursor = ""

    async def etag(self, uri: str) -> str:
        """Nothing is known."""
        del uri
        return ""


def _at_or_below(uri: str, places: Iterable[str]) -> bool:
    return any(uri == place or uri.startswith(place + "/") for place in places)


def _first(errors: BaseExceptionGroup[LecternError]) -> LecternError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _unheard(_tally: Tally) -> None:
    """Nobody asked for progress."""


def _count(metrics: ConnectorMetrics | None, source: str, report: RunReport) -> None:
    if metrics is None:
        return
    metrics.runs.labels(source=source, result=report.result).inc()
    for result in ("published", "deleted", "unchanged", "failed"):
        metrics.documents.labels(source=source, result=result).inc(getattr(report, result))
