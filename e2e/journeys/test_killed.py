"""SIGKILL at random moments while documents come, change and go: in the end the index is what a fresh one is."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from pathlib import Path

from e2e.journeys import catalogue, corpus, warm
from e2e.journeys.command import eventually, up
from e2e.journeys.corpus import Laptop

KILLS = 16
SEED = 20260301
DOCUMENTS = 60
MEMORY_MIB = 600


def _change(laptop: Laptop, chance: random.Random, turn: int) -> None:
    """Change two documents, remove one and add one, so that each start finds work."""
    there = sorted(laptop.documents.rglob("*.md"))
    for path in chance.sample(there, 2):
        path.write_text(corpus.document(int(path.stem[4:7]), edition=turn, paragraphs=turn % 3))
    chance.choice(there).unlink()
    number = DOCUMENTS + turn
    laptop.write(corpus.path_of(number), corpus.document(number))


def _await_serving(output: Path, turn: int) -> None:
    eventually(
        lambda: output.exists() and "serving on" in output.read_text(),
        seconds=30,
        what=lambda: f"start {turn} never served:\n{output.read_text()}",
        every=0.02,
    )


def _expected(documents: Path) -> dict[str, str]:
    return {
        path.relative_to(documents).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in documents.rglob("*.md")
    }


def test_after_sixteen_kills_the_index_equals_that_of_a_fresh_ingest(laptop: Laptop, tmp_path: Path) -> None:
    corpus.write_documents(laptop.documents, DOCUMENTS)
    chance, output = random.Random(SEED), tmp_path / "output.log"
    said: list[str] = []

    with warm.starter() as start:
        for turn in range(1, KILLS + 1):
            output.unlink(missing_ok=True)
            child = start(("up", "--port", "0", *laptop.arguments), output)
            if turn % 4:  # every fourth is killed somewhere in its start
                _await_serving(output, turn)
            time.sleep(chance.uniform(0, 0.8))
            os.kill(child, signal.SIGKILL)
            _change(laptop, chance, turn)
            said.append(output.read_text() if output.exists() else "")
    with up(*laptop.arguments) as last:
        last.settled()
        memory = last.memory_mib()
        assert last.stop() == 0, last.output
    fresh = Laptop(laptop.root)
    with up(*fresh.arguments, "--data-dir", str(tmp_path / "fresh")) as once:
        once.settled()
        assert once.stop() == 0, once.output
    survived, wanted = catalogue.read(laptop.data), catalogue.read(tmp_path / "fresh")

    assert "Traceback" not in "".join(said)
    assert "".join(said).count("serving on") >= KILLS * 3 // 4
    assert {uri: sha256 for uri, (sha256, _) in survived.documents.items()} == _expected(laptop.documents)
    assert survived == wanted
    assert survived.chunks == survived.owned
    assert memory <= MEMORY_MIB
