"""Twenty people ask at once while documents change."""

from __future__ import annotations

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from e2e.journeys import corpus
from e2e.journeys.command import Up, up
from e2e.journeys.corpus import Laptop

CLIENTS, QUESTIONS, DOCUMENTS, CHANGING = 20, 25, 30, 5
FAIR_SHARE = 3
"""A question among `CLIENTS` may take this many times what it takes when all take turns."""


def test_twenty_readers_get_no_error_and_their_fair_share_while_documents_change(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, DOCUMENTS)
    with up(*laptop.arguments) as running:
        running.settled()
        alone = statistics.median(_seconds(running, number) for number in range(10))
        over = threading.Event()
        editor = threading.Thread(target=_edit, args=(laptop, over))
        editor.start()
        with ThreadPoolExecutor(CLIENTS) as readers:
            results = [each for part in readers.map(lambda n: _ask(running, n), range(CLIENTS)) for each in part]
        over.set()
        editor.join(30)
        memory = running.memory_mib()

    statuses = {status for status, _, _ in results}
    taken = sorted(seconds for _, seconds, _ in results)
    right = [
        uri == corpus.path_of(number) for (_, _, uri), number in zip(results, _numbers(), strict=True) if number >= 5
    ]
    assert statuses == {200}
    assert len(results) == CLIENTS * QUESTIONS
    assert all(right)
    assert taken[int(len(taken) * 0.95)] <= FAIR_SHARE * CLIENTS * max(alone, 0.02), (alone, taken[-1])
    assert memory <= 600


def _numbers() -> list[int]:
    return [(client * 7 + turn) % DOCUMENTS for client in range(CLIENTS) for turn in range(QUESTIONS)]


def _ask(running: Up, client: int) -> list[tuple[int, float, str | None]]:
    """Status, seconds and first document of each of one client's questions."""
    results: list[tuple[int, float, str | None]] = []
    with httpx.Client(trust_env=False, timeout=60) as http:
        for turn in range(QUESTIONS):
            number = (client * 7 + turn) % DOCUMENTS
            began = time.monotonic()
            response = http.post(running.url + "/v1/query", json={"question": corpus.question(number)})
            citations = response.json().get("citations") or [{}]
            results.append((response.status_code, time.monotonic() - began, citations[0].get("uri")))
    return results


def _seconds(running: Up, number: int) -> float:
    began = time.monotonic()
    running.ask(f"{corpus.question(number)} Say the year.")
    return time.monotonic() - began


def _edit(laptop: Laptop, over: threading.Event) -> None:
    """Rewrite the first five documents and add new ones until all is asked."""
    turn = 0
    while not over.wait(0.3):
        turn += 1
        number = turn % CHANGING
        laptop.write(corpus.path_of(number), corpus.document(number, edition=turn))
        laptop.write(corpus.path_of(DOCUMENTS + turn), corpus.document(DOCUMENTS + turn))
