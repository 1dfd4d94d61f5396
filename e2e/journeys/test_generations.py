"""A change of what makes vectors: a new index generation is built beside the old one, which goes on answering."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import httpx

from e2e.journeys import catalogue, corpus
from e2e.journeys.command import Up, eventually, lectern, up
from e2e.journeys.corpus import Laptop
from lectern_contract import names

DOCUMENTS = 20
MANY = 70
"""More than two batches of a worker, so that there is a place in the middle."""
SOON = 60.0


def _chunks(laptop: Laptop, size: int) -> None:
    laptop.apply("KnowledgeBase", chunking={"strategy": "Markdown", "size": size, "overlap": 10})


def _generation(running: Up) -> int:
    found = running.resource("KnowledgeBase")["status"]["activeGeneration"]
    assert isinstance(found, int)
    return found


def _collections(laptop: Laptop) -> set[str]:
    return {path.name for path in (laptop.data / "store" / "collections").iterdir()}


def _named(*numbers: int) -> set[str]:
    return {names.collection("default", "docs", number) for number in numbers}


@dataclass
class Asking:
    """Asks the same question again and again in a thread, and keeps what came back."""

    running: Up
    statuses: list[int] = field(default_factory=list)
    generations: list[int] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Asking:
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def _ask(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not self._over.is_set():
                body = {"query": corpus.question(3), "top_k": 1}
                response = client.post(self.running.url + "/v1/retrieve", json=body)
                self.statuses.append(response.status_code)
                hits = response.json().get("hits", [])
                self.generations += [hit["generation"] for hit in hits if hit["uri"] == corpus.path_of(3)]


def test_another_chunk_size_is_built_beside_and_then_takes_over_and_back(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, DOCUMENTS)
    with up(*laptop.arguments) as running:
        running.settled()
        assert running.stop() == 0

    for number, size in ((2, 60), (3, 120)):
        _chunks(laptop, size)
        with up(*laptop.arguments) as running, Asking(running) as asking:
            before = _generation(running)
            moving = running.condition("KnowledgeBase", "Reconciling")
            eventually(lambda: _generation(running) == number, seconds=SOON, what=lambda: running.output)  # noqa: B023
            running.settled()
            table = lectern("status", "--url", running.url).stdout
            seen = len(asking.generations)
            eventually(lambda: len(asking.generations) > seen + 2, seconds=SOON, what=lambda: running.output)  # noqa: B023
        assert before == number - 1
        assert (moving["status"], f"generation {number} is being built" in moving["message"]) == ("True", True)
        assert set(asking.statuses) == {200}
        assert asking.generations == sorted(asking.generations)
        assert set(asking.generations) == {number - 1, number}
        assert len(asking.generations) == len(asking.statuses)
        assert f"sentence-transformers/all-MiniLM-L6-v2   {number} " in table
    assert _collections(laptop) == _named(2, 3)


def test_with_nothing_to_retain_only_the_new_generation_stays(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, 5)
    with up(*laptop.arguments) as running:
        running.settled()
    laptop.apply("KnowledgeBase", chunking={"size": 60, "overlap": 10}, generations={"retain": 0})

    with up(*laptop.arguments) as running, Asking(running) as asking:
        eventually(lambda: _generation(running) == 2, seconds=SOON, what=lambda: running.output)
        running.settled()

    assert set(asking.statuses) == {200}
    assert _collections(laptop) == _named(2)


def test_a_build_that_is_given_up_leaves_no_hole_in_the_next_one(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, MANY, paragraphs=0)
    with up(*laptop.arguments) as running:
        running.settled()
    _chunks(laptop, 60)
    with up(*laptop.arguments) as running:
        eventually(
            lambda: running.metric("rag_ingestion_events_total", status="indexed") > 0,
            seconds=SOON,
            what=lambda: running.output,
            every=0.02,
        )
        given_up = running.resource("KnowledgeBase")["status"]["activeGeneration"]
        running.kill()
    _chunks(laptop, 80)

    with up(*laptop.arguments) as running:
        running.settled(seconds=SOON)
        active = _generation(running)
        counts = running.resource("KnowledgeBase")["status"]["documents"]
        assert running.stop() == 0
    found = catalogue.read(laptop.data)

    assert (given_up, active) == (1, 3)
    assert counts == {"indexed": MANY, "failed": 0}
    assert set(found.documents) == {corpus.path_of(number) for number in range(MANY)}
    assert found.chunks == found.owned
    assert _collections(laptop) == _named(1, 3)


def test_what_is_deleted_while_another_generation_is_built_is_gone_at_once(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, MANY, paragraphs=3)
    with up(*laptop.arguments) as running:
        running.settled()
    _chunks(laptop, 60)
    (laptop.documents / corpus.path_of(3)).unlink()

    with up(*laptop.arguments) as running:
        eventually(
            lambda: corpus.path_of(3) not in {hit["uri"] for hit in running.retrieve(corpus.question(3), top_k=100)},
            seconds=SOON,
            what=lambda: running.output,
            every=0.02,
        )
        still = _generation(running)
        answer = running.ask(corpus.question(3))
        other = running.ask(corpus.question(4))

    assert still == 1, "the new generation was complete too early for this test to show anything"
    assert corpus.path_of(3) not in {citation["uri"] for citation in answer["citations"]}
    assert other["citations"][0]["uri"] == corpus.path_of(4)
