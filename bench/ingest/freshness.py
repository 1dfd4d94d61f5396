"""B6: how soon a change is searchable, and how soon what was deleted or moved away is not, at half of the capacity.

Documents come in an open loop through a real Kafka to a worker process and a double of Qdrant; the model is a STUB.
Some of them hold a word that nothing else holds: a reader asks for it again and again, through the query runtime's own
retrieval and scope, until the answer is the one that it has to be. Times are from the call of the log to that answer.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from bench import resources
from bench.ingest import documents, running, site
from bench.ingest.documents import Stored
from bench.ingest.site import Servers, Site
from bench.ingest.stub_embedder import StubEmbedder
from bench.report import Aim, Goal
from lectern_contract import query_wiring
from lectern_contract.errors import DependencyError, LecternError
from lectern_contract.messages import DocumentMessage
from lectern_contract.scope import Partition, Principal, Scope
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.extractive import ExtractiveGenerator
from lectern_runtime.query.principals import reader_scopes
from lectern_runtime.query.retrieve import Retriever
from lectern_runtime.query.services import Services
from lectern_runtime.query.timing import Stopwatch

SEARCHABLE = Aim("B6", "change to searchable at half capacity, p95", "<=", 5.0, "s")
GONE = Aim("B6", "deleted or moved away to not retrievable at half capacity, p99", "<=", 5.0, "s")
AIMS = (SEARCHABLE, GONE)
ELSEWHERE = Partition(resources.PARTITION.tenant, "internal")
TICK_SECONDS = 0.1
PROBES_A_SECOND = 2.0
POLL_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
TOP_K = 10
Probe = Callable[[int], Sequence[DocumentMessage]]


class NeverSeen(Exception):
    """A change did not show in a minute."""


@dataclass(slots=True)
class Freshness:
    """Seconds of each probe, the load beside them, and the questions that were asked."""

    rate: float
    searchable: list[float] = field(default_factory=list)
    gone: list[float] = field(default_factory=list)
    said: int = 0
    questions: int = 0
    unanswered: int = 0

    def goals(self) -> list[Goal]:
        """Return both goals of B6."""
        beside = f"{self.rate:.0f} documents a second beside, {self.questions} questions, "
        beside += f"{self.unanswered} without an answer; stub model"
        return [
            SEARCHABLE.measured(
                percentile(self.searchable, 95), n=len(self.searchable), reason=_spread(self.searchable)
            ),
            GONE.measured(percentile(self.gone, 99), n=len(self.gone), reason=f"{_spread(self.gone)}; {beside}"),
        ]


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest value that `percent` of a hundred values do not exceed; not a number without any."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _spread(values: Sequence[float]) -> str:
    return f"p50 {statistics.median(values):.2f} s, most {max(values):.2f} s" if values else "nothing was seen"


@dataclass(slots=True)
class Reader:
    """Asks for the word of a probe as the query runtime would for a reader of the public partition."""

    retriever: Retriever
    scopes: Mapping[str, Scope]
    found: Freshness

    async def until(self, number: int, *, there: bool) -> None:
        """Ask until the probe's document is found, or until it is not; raises NeverSeen after a minute.

        A question that the store does not answer says neither, and is asked again.
        """
        deadline = time.perf_counter() + PATIENCE_SECONDS
        while await self._sees(number) is not there:
            if time.perf_counter() > deadline:
                raise NeverSeen(f"{_uri(number)} was {'not found' if there else 'still found'} after a minute")
            await asyncio.sleep(POLL_SECONDS)

    async def _sees(self, number: int) -> bool | None:
        """Whether the document is found; None when nobody answers."""
        self.found.questions += 1
        try:
            return await self._asked(number)
        except DependencyError:
            self.found.unanswered += 1
            return None

    async def _asked(self, number: int) -> bool:
        collections = await self.retriever.resolve(self.scopes)
        retrieved = await self.retriever.retrieve(
            _word(number), self.scopes, collections, top_k=TOP_K, watch=Stopwatch(time.perf_counter)
        )
        return any(each.hit.payload.uri == _uri(number) for each in retrieved.fused)


@asynccontextmanager
async def reader(place: Site, found: Freshness) -> AsyncIterator[Reader]:
    """Open the query side of the knowledge base."""
    kb = resources.knowledge_base()
    settings = query_wiring.query_settings(resources.endpoint(), {kb.name: kb})
    store, stub = await compose.open_store(place.settings.store, None), StubEmbedder.open()
    services = Services(
        stores={kb.name: store},
        embedders={kb.name: stub},
        generator=ExtractiveGenerator(None),
        cache=None,
        log=None,
        registry=CollectorRegistry(),
        config_hash="bench",
    )
    levels = frozenset({resources.PARTITION.access_level})
    scopes = reader_scopes(Principal("bench", resources.PARTITION.tenant, levels), settings, {})
    try:
        yield Reader(Retriever(settings, services), scopes, found)
    finally:
        await stub.close()
        await store.close()


def measure(servers: Servers, texts: Sequence[bytes], *, rate: float, seconds: float) -> Freshness:
    """Return what probes saw in two phases of `seconds`: new documents, and then deletions and moves."""
    return asyncio.run(_measure(servers, texts, Freshness(rate), seconds))


async def _measure(servers: Servers, texts: Sequence[bytes], found: Freshness, seconds: float) -> Freshness:
    async with site.cluster(servers, resources.NAME) as place:
        stored = await documents.store(place.blobs, texts)
        count = int(seconds * PROBES_A_SECOND)
        probes = await documents.store(place.blobs, [_text(texts[0], number) for number in range(count)])
        place.directory.mkdir(parents=True, exist_ok=True)
        with running.worker(place.settings, place.directory):
            async with reader(place, found) as asking:
                new = _Phase(place, asking, stored, found.searchable, there=True)
                await new.run(lambda number: [place.teller.put(_uri(number), probes[number])], count)
                gone = _Phase(place, asking, stored, found.gone, there=False)
                await gone.run(lambda number: _away(place, number, probes[number]), count)
    return found


def _away(place: Site, number: int, stored: Stored) -> list[DocumentMessage]:
    """What takes a document from its readers: every other one is deleted, the others move to another partition."""
    deleted = place.teller.deleted(_uri(number))
    return [deleted] if number % 2 else [deleted, place.teller.put(_uri(number), stored, ELSEWHERE)]


@dataclass(slots=True)
class _Phase:
    """One phase: the load, and probes between it whose times go to `times`."""

    place: Site
    reader: Reader
    stored: Sequence[Stored]
    times: list[float]
    there: bool

    async def run(self, probe: Probe, count: int) -> None:
        """Say `count` probes, evenly spread, with the load beside them, and wait until each is answered."""
        load = asyncio.create_task(self._load())
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(count):
                    group.create_task(self._probe(probe, number, number / PROBES_A_SECOND))
        except* (NeverSeen, LecternError) as errors:
            raise errors.exceptions[0] from None
        finally:
            load.cancel()
            await asyncio.wait({load})
        if not load.cancelled() and (error := load.exception()) is not None:
            raise error

    async def _probe(self, probe: Probe, number: int, delay: float) -> None:
        await asyncio.sleep(delay)
        began = time.perf_counter()
        await self.place.teller.say(probe(number), now=time.time())
        await self.reader.until(number, there=self.there)
        self.times.append(time.perf_counter() - began)

    async def _load(self) -> None:
        """Say documents at the rate, whether the worker keeps up or not."""
        found, began, said = self.reader.found, time.perf_counter(), 0
        while True:
            due = int((time.perf_counter() - began) * found.rate)
            numbers = range(found.said, found.said + due - said)
            puts = [self.place.teller.put(documents.uri(n), self.stored[n % len(self.stored)]) for n in numbers]
            await self.place.teller.say(puts, now=time.time())
            found.said, said = found.said + len(puts), due
            await asyncio.sleep(TICK_SECONDS)


def _uri(number: int) -> str:
    return f"probes/{number:05}.md"


def _word(number: int) -> str:
    """A word of letters only, so that it is one term: the number in the letters of its digits."""
    return "probe" + "".join("bcdfghjklm"[int(digit)] for digit in f"{number:05}") + "q"


def _text(text: bytes, number: int) -> bytes:
    return _word(number).encode() + b" is what this is about.\n\n" + text[:700]
