"""One run of a connector: turns what a source holds now into messages about what changed since the last run.

A full run says everything again; a replay (`replay.py`) looks at dead letters and not at the source.
Started by `__main__` as a Job and by `lectern up` in its own process. Bytes go to the blob store, references
to the documents topic (`handover.py`), and the manifest is replaced last, so that a run which dies is repeated by
the next, which goes on where that one was.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable

from lectern_contract.errors import LecternError
from lectern_contract.reports import RunMode, RunReport
from lectern_contract.settings import ConnectorSettings
from lectern_runtime import topics
from lectern_runtime.ingest import connectors
from lectern_runtime.ingest.connector import Connector, Listing, Means, SourceEmpty, SourceUnavailable
from lectern_runtime.ingest.examine import Examiner
from lectern_runtime.ingest.failpoints import Failpoint, no_failpoint
from lectern_runtime.ingest.handover import HandOver, Progress
from lectern_runtime.ingest.known import KnownDocuments
from lectern_runtime.ingest.outcome import Stopped, Tally
from lectern_runtime.ingest.publish import Publisher
from lectern_runtime.ingest.replay import replay
from lectern_runtime.ingest.scratch import OpenScratch
from lectern_runtime.ingest.throttle import throttle
from lectern_runtime.ports import BlobStore, Log
from lectern_runtime.telemetry.ingest_metrics import ConnectorMetrics
from lectern_runtime.telemetry.run_spans import of_run

_RESULTS = ("published", "deleted", "unchanged", "failed")


async def run(
    settings: ConnectorSettings,
    *,
    log: Log,
    blobs: BlobStore,
    scratch: OpenScratch,
    mode: RunMode = RunMode.SYNC,
    clock: Callable[[], float] = time.time,
    on_progress: Progress | None = None,
    metrics: ConnectorMetrics | None = None,
    source: Connector | None = None,
    stop: asyncio.Event | None = None,
    failpoint: Failpoint = no_failpoint,
) -> RunReport:
    """Hand over what `mode` says and report. A run that could not see the whole source reports `Failed`.

    `clock` gives seconds since 1970 UTC. `stop` ends the run before its next document. A `source` that is given is not
    closed. None of Lectern's own errors is raised: they are in the report.
    """
    began, tally, identity = clock(), Tally(mode), uuid.uuid4().hex
    name = f"{settings.namespace}/{settings.name}"
    try:
        async with contextlib.AsyncExitStack() as stack:
            running = stack.enter_context(of_run(name, mode=mode, run=identity))
            await topics.ensure(log, settings.log, namespace=settings.namespace, knowledge_base=settings.knowledge_base)
            publisher = Publisher(settings, log, clock=clock, run=identity)
            topic_id, table = await log.topic_id(publisher.topic), stack.enter_context(contextlib.closing(scratch()))
            known = await KnownDocuments.load(blobs, settings, table, topic_id=topic_id, mode=mode, failpoint=failpoint)
            if mode is RunMode.REPLAY:
                found = await replay(settings, log=log, publisher=publisher, known=known, tally=tally)
                report = tally.replayed(name, began=began, ended=clock(), unreadable=found.unreadable, left=found.left)
            else:
                opened = source or _opened(settings, clock, stack)
                examiner = Examiner(settings, opened, blobs, publisher, metrics, failpoint)
                said = HandOver(known, examiner, tally, on_progress or _unheard, stop or asyncio.Event())
                tally.documents = await _hand_over(said, known, examiner)
                report = tally.succeeded(name, began=began, ended=clock(), unused_rules=said.rules.unused())
            running.note({f"lectern.{each}": getattr(report, each) for each in _RESULTS})
    except LecternError as error:
        report = tally.stopped(name, error, began=began, ended=clock())
    _count(metrics, settings.name, report)
    return report


async def _hand_over(said: HandOver, known: KnownDocuments, examiner: Examiner) -> int:
    """Say what the source calls for, write the manifest, and return how many documents it holds."""
    examiner.failpoint("list")
    try:
        listing = await examiner.source.list(known)
        _check(listing, known.cursor)
        await said.listing(listing)
        await (said.remove_absent() if listing.whole else said.waiting())
    except SourceEmpty:
        if await known.any():
            raise
        return await known.save("", whole=True)
    except (SourceUnavailable, Stopped):
        await known.journal.flush()
        raise
    # What could not be seen may have changed: the next run has to ask from the same place again.
    unseen = "" if listing.whole else known.cursor
    return await known.save(listing.cursor() if said.seen_all else unseen, whole=listing.whole)


def _check(listing: Listing, cursor: str) -> None:
    if not listing.whole and not cursor:
        raise SourceUnavailable(
            "the connector was asked for everything and told changes only; this is a defect of the connector: report "
            "it. Nothing was handed over"
        )


def _opened(settings: ConnectorSettings, clock: Callable[[], float], stack: contextlib.AsyncExitStack) -> Connector:
    opened = connectors.open_connector(settings, Means(clock, throttle(settings.requests_per_second)))
    stack.push_async_callback(opened.close)
    return opened


def _unheard(_tally: Tally) -> None:
    """Nobody asked for progress."""


def _count(metrics: ConnectorMetrics | None, source: str, report: RunReport) -> None:
    if metrics is None:
        return
    metrics.runs.labels(source=source, result=report.result).inc()
    for result in _RESULTS:
        metrics.documents.labels(source=source, result=result).inc(getattr(report, result))
