"""What the process of `lectern up` knows of its sources: its own runs, log, store and metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import generate_latest

from lectern_cli import counting, exposition, sources
from lectern_cli.counting import Count
from lectern_cli.sources import Extra, Freshness, Running, Source
from lectern_cli.statuses import SourceState
from lectern_contract import names
from lectern_contract.resources.status import DeadLetters, DocumentCounts
from lectern_runtime.errors import CollectionUnknown

SHARE = 9.0

if TYPE_CHECKING:
    from lectern_cli.embedded import Embedded, Filling
    from lectern_cli.syncing import Syncing


async def counted(embedded: Embedded, *, now: str) -> None:
    """Count the documents of every source whose knowledge base has changed since the last count.

    While documents come in, counting takes at most a tenth of the time; at rest every count is exact.
    """
    for filling in embedded.fillings:
        mark, last = (filling.generation.answering, filling.done), filling.counted
        if last.mark == mark or (not embedded.quiet.is_set() and time.monotonic() < last.not_before):
            continue
        began = time.monotonic()
        try:
            await _count(embedded, filling, now)
        except CollectionUnknown:
            continue  # another generation answers by now, and the next look counts that one
        ended = time.monotonic()
        filling.counted = Count(mark, ended + SHARE * (ended - began))


async def tell(embedded: Embedded, *, now: str) -> list[Source]:
    """Every source of this process; `now` is RFC 3339 in UTC."""
    await counted(embedded, now=now)
    metrics = generate_latest(embedded.registry).decode()
    documents = [each for each in embedded.told() if each["kind"] == "IngestionSource"]
    return [_of(embedded, document, metrics) for document in documents]


def _of(embedded: Embedded, document: dict[str, object], metrics: str) -> Source:
    source = sources.of(document, Extra())
    syncing = embedded.syncing.get(source.name)
    state = embedded.observed.knowledge_bases[source.knowledge_base]
    fresh: Freshness | str = exposition.freshness([metrics], source.name)
    extra = Extra(
        next_run=syncing.next_run if syncing is not None else None,
        pending=state.waiting if state.waiting is not None else "the log has not been read yet",
        freshness=fresh,
        unknown=_no_next_run(syncing),
    )
    told = sources.of(document, extra)
    if syncing is None:
        return told
    tally = syncing.tally
    running = None
    if tally is not None:
        done = tally.published + tally.unchanged + tally.failed
        running = Running(listed=tally.listed, done=done, failed=tally.failed)
    return sources.with_running(told, finished_runs=syncing.finished, running=running)


def _no_next_run(syncing: Syncing | None) -> dict[str, str]:
    if syncing is None or syncing.next_run is not None:
        return {}
    return {"nextRun": syncing.idle or "a run is under way"}


async def _count(embedded: Embedded, filling: Filling, now: str) -> None:
    kb, store = filling.kb, embedded.adapters.store
    collection = names.collection(kb.namespace, kb.name, filling.generation.answering)
    writers = [each for each in embedded.writers() if each.knowledge_base == kb.name]
    found = await counting.count(store, collection, counting.partitions(writers))
    everywhere = await store.count_documents(collection)
    for writer in writers:
        state = embedded.observed.sources.setdefault(writer.name, SourceState())
        mine = None if found is None else found.get(writer.name, counting.Counted())
        pushed = writer.runtime == "receiver"
        elsewhere = found is not None and sum(each.total for each in found.values()) != sum(everywhere.values())
        if mine is None or (pushed and elsewhere):  # callers may choose partitions that the settings do not name
            state.documents = state.dead_letters = None
            continue
        before = state.dead_letters.since if state.dead_letters is not None else None
        state.documents = DocumentCounts(indexed=mine.indexed, failed=mine.failed)
        since = (before or now) if mine.failed else None
        state.dead_letters = DeadLetters(count=mine.failed, since=since, last_reason=mine.last_reason)
