"""Files that are not what they say: the run goes on, each failure is told by name, and the rest is answered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.journeys import corpus
from e2e.journeys.command import Up, lectern, up
from e2e.journeys.corpus import Laptop

TOO_LARGE = 40 * 1024 * 1024
UNREADABLE_NAME = b"bad-\xff\xfe.md"


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A settled `lectern up` over three good documents between all kinds of odd ones."""
    laptop = corpus.laptop(tmp_path_factory.mktemp("odd"))
    corpus.write_documents(laptop.documents, 3)
    _write_odd_files(laptop)
    with up(*laptop.arguments) as running:
        yield running.settled()


def _write_odd_files(laptop: Laptop) -> None:
    laptop.write("binary.md", bytes(range(256)) * 64)
    laptop.write("portable.txt", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n" * 20)
    laptop.write("empty.md", b"")
    laptop.write("latin.txt", "Der Leuchtturm von Süderhöft wurde 1855 gebaut und grün gestrichen.".encode("latin-1"))
    laptop.write("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(100))
    with (laptop.documents / "huge.txt").open("wb") as huge:
        huge.truncate(TOO_LARGE)
    (laptop.documents / "loop").symlink_to(laptop.documents, target_is_directory=True)
    (laptop.documents / "nowhere.md").symlink_to("gone.md")
    (laptop.documents / "outside.md").symlink_to("/etc/hostname")
    os.mkfifo(laptop.documents / "pipe.md")
    Path(os.fsdecode(os.fsencode(laptop.documents) + b"/" + UNREADABLE_NAME)).write_text("# Hidden\n\nA text.\n")


def test_the_good_documents_are_answered(odd: Up) -> None:
    for number in range(3):
        assert odd.ask(corpus.question(number))["citations"][0]["uri"] == corpus.path_of(number)


def test_what_the_source_cannot_hand_over_is_told_by_name_and_reason(odd: Up) -> None:
    run = odd.resource("IngestionSource")["status"]["lastRun"]
    condition = odd.condition("IngestionSource", "Synced")
    wide = lectern("status", "-o", "wide", "--url", odd.url).stdout

    assert (run["result"], condition["status"], condition["reason"]) == ("Succeeded", "False", "RunFailed")
    assert run["failed"] == 6, run
    assert "outside.md: OutsideSource, the link leads out of the source's directory" in run["message"]
    assert "6 of " in condition["message"]
    assert "outside.md: OutsideSource, the link leads out of the source's directory" in wide


def test_what_cannot_be_parsed_is_counted_and_told_by_name_and_reason(odd: Up) -> None:
    counts = odd.resource("KnowledgeBase")["status"]["documents"]
    message = odd.condition("KnowledgeBase", "Ready")["message"]
    wide = lectern("status", "-o", "wide", "--url", odd.url).stdout

    assert counts["failed"] == 3, message
    assert "3 documents could not be indexed: binary.md (" in message
    assert "empty.md (" in message
    assert "portable.txt (" in message
    assert "binary.md (" in wide


def test_the_failures_are_told_again_after_a_restart(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, 2)
    laptop.write("binary.md", bytes(range(256)) * 64)
    with up(*laptop.arguments) as first:
        before = first.settled().condition("KnowledgeBase", "Ready")["message"]
        assert first.stop() == 0
    with up(*laptop.arguments) as second:
        after = second.settled().condition("KnowledgeBase", "Ready")["message"]

    assert "KnowledgeBase/docs: 1 document could not be indexed: binary.md (" in first.output
    assert before == after
    assert "binary.md (" in after


def test_text_of_other_encodings_is_read_or_told_but_never_garbled(odd: Up) -> None:
    texts = [hit["text"] for hit in odd.retrieve("Leuchtturm Süderhöft 1855", top_k=100) if hit["uri"] == "latin.txt"]

    assert texts == ["Der Leuchtturm von Süderhöft wurde 1855 gebaut und grün gestrichen."]


def test_nothing_from_outside_the_source_is_ever_read(odd: Up) -> None:
    assert "outside.md" not in {hit["uri"] for hit in odd.retrieve(Path("/etc/hostname").read_text(), top_k=100)}
