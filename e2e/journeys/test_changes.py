"""Documents that change, come, go and move while `lectern up` runs, and a source that vanishes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from e2e.journeys import catalogue, corpus
from e2e.journeys.command import Up, eventually, up
from e2e.journeys.corpus import Laptop

SOON = 30.0
STOP_SECONDS = 12.0
MANY = 100
"""More than three batches of a worker, so that there are places in the middle."""


def _uris(running: Up, query: str) -> set[str]:
    return {hit["uri"] for hit in running.retrieve(query, top_k=100)}


def _texts(running: Up, query: str) -> str:
    return "\n".join(hit["text"] for hit in running.retrieve(query, top_k=100))


def _soon(running: Up, holds: Callable[[], object]) -> None:
    eventually(holds, seconds=SOON, what=lambda: running.output)


def test_each_kind_of_change_is_reflected_after_the_next_sync(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, 10)
    path = {number: laptop.documents / corpus.path_of(number) for number in range(10)}

    with up(*laptop.arguments) as running:
        running.settled()

        path[1].write_text(corpus.document(1, edition=1))
        _soon(running, lambda: corpus.fact(1, edition=1) in _texts(running, corpus.question(1)))
        assert corpus.fact(1) not in _texts(running, corpus.question(1))
        assert "1801" in running.ask(corpus.question(1))["answer"]

        laptop.write("new.md", corpus.document(11))
        _soon(running, lambda: "new.md" in _uris(running, corpus.question(11)))

        moved = laptop.documents / "moved" / "two.md"
        moved.parent.mkdir()
        path[2].rename(moved)
        _soon(running, lambda: "moved/two.md" in _uris(running, corpus.question(2)))
        _soon(running, lambda: corpus.path_of(2) not in _uris(running, corpus.question(2)))

        path[3].unlink()
        path[4].rename(path[3])
        path[4].write_text(corpus.document(12))
        _soon(running, lambda: corpus.fact(12) in _texts(running, corpus.question(12)))
        _soon(running, lambda: corpus.fact(3) not in _texts(running, corpus.question(3)))
        assert running.ask(corpus.question(4))["citations"][0]["uri"] == corpus.path_of(3)

        running.settled()
        assert running.resource("KnowledgeBase")["status"]["documents"] == {"indexed": 11, "failed": 0}


def test_a_deleted_document_is_in_no_hit_no_answer_and_no_cache(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, 6)

    with up(*laptop.arguments) as running:
        running.settled()
        first, second = running.ask(corpus.question(5)), running.ask(corpus.question(5))
        (laptop.documents / corpus.path_of(5)).unlink()
        _soon(running, lambda: corpus.path_of(5) not in _uris(running, corpus.question(5)))
        after = running.ask(corpus.question(5))

    assert (first["cache"], second["cache"]) == ("miss", "exact")
    assert corpus.path_of(5) not in {citation["uri"] for citation in after["citations"]}
    assert corpus.fact(5) not in after["answer"]
    assert after["cache"] != "exact"


def test_a_source_that_vanishes_or_is_empty_all_at_once_deletes_nothing_and_says_so(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, 5)
    aside = laptop.root / "aside"
    messages = []

    with up(*laptop.arguments) as running:
        running.settled()
        for empty in (False, True):
            laptop.documents.rename(aside)
            if empty:
                laptop.documents.mkdir()
            _soon(running, lambda: running.resource("IngestionSource")["status"]["lastRun"]["result"] == "Failed")
            condition = running.condition("IngestionSource", "Ready")
            messages.append((condition["status"], condition["message"]))
            assert running.ask(corpus.question(1))["citations"][0]["uri"] == corpus.path_of(1)
            if empty:
                laptop.documents.rmdir()
            aside.rename(laptop.documents)
            _soon(running, lambda: running.condition("IngestionSource", "Ready")["status"] == "True")
        deleted = running.metric("lectern_connector_documents_total", result="deleted")
        counts = running.resource("KnowledgeBase")["status"]["documents"]

    assert [status for status, _ in messages] == ["False", "False"]
    assert f"{laptop.documents} cannot be listed: No such file or directory; mount the volume" in messages[0][1]
    assert f"{laptop.documents} is empty" in messages[1][1]
    assert (deleted, counts) == (0, {"indexed": 5, "failed": 0})


def test_a_signal_during_ingestion_ends_it_well_and_the_next_start_goes_on(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, MANY, paragraphs=3)
    rests, outputs = [MANY], []

    for number in (signal.SIGINT, signal.SIGTERM):
        with up(*laptop.arguments) as running:
            _soon(running, lambda: running.metric("rag_ingestion_events_total") > 0)
            asked = time.monotonic()
            status = running.stop(number)
            took = time.monotonic() - asked
        rests.append(MANY - len(catalogue.read(laptop.data).documents))
        outputs.append(running.output)
        assert (status, took <= STOP_SECONDS) == (0, True), running.output
    with up(*laptop.arguments) as last:
        last.settled()
        worked_on = last.metric("rag_ingestion_events_total")
        counts = last.resource("KnowledgeBase")["status"]["documents"]

    assert "Traceback" not in "".join(outputs)
    assert "".join(outputs).count("\nstopped\n") == 2
    assert rests == sorted(set(rests), reverse=True), "each start must go on where the one before stopped"
    assert worked_on <= rests[-1]
    assert counts == {"indexed": MANY, "failed": 0}


def test_a_suspended_base_takes_nothing_answers_on_and_keeps_nobody_waiting(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, 3)
    with up(*laptop.arguments) as running:
        running.settled()
    laptop.apply("KnowledgeBase", suspend=True)
    laptop.write(corpus.path_of(2), corpus.document(2, edition=1))

    with up(*laptop.arguments) as running:
        _soon(running, lambda: "documents indexed" in running.output)

        assert running.condition("IngestionSource", "Synced")["status"] != "True"
        assert corpus.fact(2) in running.retrieve(corpus.question(2))[0]["text"]
