"""B4: one document in a hundred is poison, and the others must not notice; a STUB stands for the model.

Poison is a broken PDF, an archive that unpacks to 64 MB, a text that the model answers with 429, and one that it
answers with a vector that is no number. Through a real Kafka and a double of Qdrant, with a worker of its own process.
Each round indexes as many healthy documents clean and with poison between them. Afterwards the dead letters are counted
and replayed, when the model is well again.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.ingest import documents, running, site, throughput
from bench.ingest.documents import Stored
from bench.ingest.running import RunningWorker
from bench.ingest.site import Servers, Site
from bench.ingest.stub_embedder import NOT_FINITE, OVERLOADED
from bench.ingest.throughput import Rate
from bench.report import Aim, Goal
from lectern_contract import messages, names
from lectern_contract.messages import DeadLetter, Put
from lectern_contract.names import Topic
from lectern_runtime.adapters import compose
from lectern_runtime.maintain.dead_letters import DeadLetters, Filter
from lectern_runtime_tests.embed.bombs import BOMBS

ONE_IN = 100
STAGES = {"pdf": "parse", "bomb": "parse", "overloaded": "embed", "nan": "embed"}
"""The kinds of poison, and in which stage each has to be given up."""
CURED = ("overloaded", "nan")
"""Kinds that a model that is well again indexes."""
PATIENCE_SECONDS = 180.0
POLL_SECONDS = 10.0
SPEED = Aim("B4", "healthy documents a second beside poison, share of clean", ">=", 0.95)
ONCE = Aim("B4", "poison that is in the dead letters once, with stage, reason and origin", ">=", 1.0)
REPLAYED = Aim("B4", "replayed letters that end as they must", ">=", 1.0)
AIMS = (SPEED, ONCE, REPLAYED)


@dataclass(slots=True)
class Poisoned:
    """What the rounds took, and what is wrong with letters and replays, by document."""

    clean: list[Rate] = field(default_factory=list)
    beside: list[Rate] = field(default_factory=list)
    poison: int = 0
    wrong: list[str] = field(default_factory=list)
    replayed: int = 0
    not_cured: list[str] = field(default_factory=list)
    seconds_to_last_letter: list[float] = field(default_factory=list)

    def goals(self, seed: int) -> list[Goal]:
        """Return the goals of B4."""
        pairs = list(zip(self.clean, self.beside, strict=True))
        ratio = statistics.median(beside.a_second / clean.a_second for clean, beside in pairs)
        cpu = statistics.median(beside.a_cpu_second / clean.a_cpu_second for clean, beside in pairs)
        clean, late = statistics.median(one.a_second for one, _ in pairs), max(self.seconds_to_last_letter)
        return [
            SPEED.measured(
                ratio,
                n=sum(beside.documents for _, beside in pairs),
                seed=seed,
                reason=f"{clean:.0f} a second clean; by CPU time {cpu:.3f}; last letter {late:.1f} s after the last "
                "healthy document; stub model",
            ),
            ONCE.measured(
                (self.poison - len(self.wrong)) / self.poison, n=self.poison, reason="; ".join(self.wrong[:4])
            ),
            REPLAYED.measured(
                (self.replayed - len(self.not_cured)) / max(1, self.replayed),
                n=self.replayed,
                reason="; ".join(self.not_cured[:4]),
            ),
        ]


def measure(servers: Servers, texts: Sequence[bytes], *, healthy: int, rounds: int) -> Poisoned:
    """Return what `rounds` rounds of `healthy` documents gave."""
    found = Poisoned()
    for number in range(rounds):
        found.clean.append(throughput.cluster(servers, f"clean-{number}", texts, healthy))
        asyncio.run(_round(servers, f"poison-{number}", texts, healthy, found))
    return found


async def _round(servers: Servers, name: str, texts: Sequence[bytes], healthy: int, found: Poisoned) -> None:
    async with site.cluster(servers, name) as place:
        place.directory.mkdir(parents=True, exist_ok=True)
        well_when = place.directory / "well"
        puts = await _mixed(place, texts, healthy)
        await place.teller.say(puts, now=time.time())
        poison = {put.document.uri: put for put in puts if put.document.uri.startswith("poison/")}
        found.poison += len(poison)
        worker = running.worker(place.settings, place.directory, well_when=well_when)
        with worker as process:
            found.beside.append(await asyncio.to_thread(throughput.rate_of, process, healthy))
            healthy_done = time.perf_counter()
            await asyncio.to_thread(_failed, process, len(poison))
            found.seconds_to_last_letter.append(time.perf_counter() - healthy_done)
            found.wrong += faults(await letters(place), poison)
            await _replay(place, process, poison, well_when, found)


def _failed(process: RunningWorker, count: int, *, before: int = 0) -> None:
    """Wait until `count` documents more than `before` have failed."""
    process.until(lambda look: look.documents.get("failed", 0) >= before + count, seconds=PATIENCE_SECONDS)


async def _mixed(place: Site, texts: Sequence[bytes], healthy: int) -> list[Put]:
    """Healthy documents in order, with one of poison after each `ONE_IN`."""
    stored = await documents.store(place.blobs, texts)
    poison = await _poison(place, texts[0])
    kinds = _round_robin(tuple(STAGES))
    said: list[Put] = []
    for number in range(healthy):
        said.append(place.teller.put(documents.uri(number), stored[number % len(stored)]))
        if number % ONE_IN == ONE_IN // 2:
            kind = next(kinds)
            said.append(place.teller.put(f"poison/{kind}-{number}", poison[kind]))
    return said


async def _poison(place: Site, text: bytes) -> dict[str, Stored]:
    """The bytes of each kind of poison in the blob store."""
    bomb = BOMBS["archives"]["one file of 64 MB"]
    made = {
        "pdf": (b"%PDF-1.7\n" + text, "application/pdf"),
        "bomb": (bomb.make(), bomb.media_type),
        "overloaded": (OVERLOADED.encode() + b"\n\n" + text, documents.MEDIA_TYPE),
        "nan": (NOT_FINITE.encode() + b"\n\n" + text, documents.MEDIA_TYPE),
    }
    return {
        kind: (await documents.store(place.blobs, [data], media_type))[0] for kind, (data, media_type) in made.items()
    }


def _round_robin(kinds: Sequence[str]) -> Iterator[str]:
    while True:
        yield from kinds


async def letters(place: Site) -> list[DeadLetter]:
    """Return every dead letter of a knowledge base, in order."""
    settings = place.settings
    topic = names.topic(settings.namespace, settings.knowledge_base, Topic.DEAD_LETTERS)
    reader = await place.log.read_from_start(topic)
    found: list[DeadLetter] = []
    try:
        while await reader.lag() > 0:
            for record in await reader.poll(max_records=500, timeout_seconds=POLL_SECONDS):
                body = messages.decode(record.value).data
                assert isinstance(body, DeadLetter)
                found.append(body)
    finally:
        await reader.close()
    return found


def faults(found: Sequence[DeadLetter], poison: Mapping[str, Put]) -> list[str]:
    """Return what is wrong with the letters: each document of poison must have one that says all, and no other any."""
    by_document: dict[str, list[DeadLetter]] = {}
    for letter in found:
        by_document.setdefault(letter.message.document.uri, []).append(letter)
    wrong = [f"{uri} is healthy and has a letter" for uri in by_document if uri not in poison]
    places = Counter((letter.origin_partition, letter.origin_offset) for letter in found)
    for uri, put in poison.items():
        of_it = by_document.get(uri, [])
        if len(of_it) != 1:
            wrong.append(f"{uri} has {len(of_it)} letters")
        elif fault := _fault(of_it[0], put, uri):
            wrong.append(fault)
        elif places[(of_it[0].origin_partition, of_it[0].origin_offset)] != 1:
            wrong.append(f"{uri} shares its origin with another")
    return wrong


def _fault(letter: DeadLetter, put: Put, uri: str) -> str:
    stage = STAGES[uri.removeprefix("poison/").partition("-")[0]]
    if letter.message != put:
        return f"{uri}: the letter carries another message"
    if letter.stage != stage:
        return f"{uri}: given up in stage {letter.stage}, not {stage} ({letter.reason})"
    return "" if letter.reason and letter.detail else f"{uri}: a letter without a reason"


async def _replay(
    place: Site, process: RunningWorker, poison: Mapping[str, Put], well_when: Path, found: Poisoned
) -> None:
    """Let the model be well, say the letters again, and see which end as they must."""
    store = await compose.open_store(place.settings.store, None)
    try:
        dead = DeadLetters(place.settings, log=place.log, store=store)
        look = await dead.look(Filter())
        await asyncio.to_thread(well_when.touch)
        before = (await asyncio.to_thread(process.look)).ended
        found.replayed += await dead.replay(look.letters)
        expected = before + len(poison)
        await asyncio.to_thread(lambda: process.until(lambda now: now.ended >= expected, seconds=PATIENCE_SECONDS))
        still = {letter.body.message.document.uri for letter in (await dead.look(Filter())).letters}
    finally:
        await store.close()
    for uri in poison:
        cured = uri.removeprefix("poison/").partition("-")[0] in CURED
        if cured == (uri in still):
            found.not_cured.append(f"{uri} is {'still dead' if cured else 'not dead any more'} after its replay")
