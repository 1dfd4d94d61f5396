"""`lectern sources` over a running process and over what it left: figures, runs on demand, and what is not known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.journeys import corpus
from e2e.journeys.command import Up, eventually, lectern, up
from e2e.journeys.corpus import Laptop


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Laptop, Up]]:
    """A settled `lectern up` over six documents, one of which cannot be parsed; it looks at its source once an hour."""
    laptop = corpus.laptop(tmp_path_factory.mktemp("sources"), "--sync-seconds", "3600")
    corpus.write_documents(laptop.documents, 5)
    laptop.write("broken.pdf", b"%PDF-1.7 broken")
    with up(*laptop.arguments) as started:
        yield laptop, started.settled()


def told(*arguments: str) -> dict[str, Any]:
    """The only source, as JSON."""
    done = lectern("sources", "status", "-o", "json", *arguments)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["items"]
    assert isinstance(found, dict)
    return found


def test_the_status_of_a_source_has_runs_documents_letters_lag_and_freshness(running: tuple[Laptop, Up]) -> None:
    source = told("--url", running[1].url)
    run = source["lastRun"]
    assert (source["kind"], source["phase"], source["pending"]) == ("persistentVolume", "Synced", 0)
    assert (source["indexed"], source["deadLetters"]) == (5, 1)
    assert source["lastReason"]
    assert source["deadLettersSince"]
    assert (run["result"], run["listed"], run["failed"], run["deleted"]) == ("Succeeded", 6, 0, 0)
    assert source["freshness"]["documents"] >= 5
    assert source["nextRun"] > run["finishedAt"]
    assert source["unknown"] == {}
    table = lectern("sources", "status", "--url", running[1].url).stdout
    assert table.splitlines()[1].split()[:4] == ["docs", "persistentVolume", "Synced", "AllComponentsReady"]
    assert "?" not in table
    details = lectern("sources", "status", "docs", "--url", running[1].url).stdout
    assert "6 listed, 0 changed, 6 unchanged" in details or "6 listed, 6 changed, 0 unchanged" in details


def test_the_resource_itself_says_that_documents_were_given_up(running: tuple[Laptop, Up]) -> None:
    status = running[1].resource("IngestionSource")["status"]
    assert (status["documents"], status["deadLetter"]["count"]) == ({"indexed": 5, "failed": 1}, 1)
    condition = running[1].condition("IngestionSource", "DocumentsIndexed")
    assert (condition["status"], condition["reason"]) == ("False", "DeadLettersOpen")


def test_a_source_is_run_on_demand_and_a_full_run_says_everything_again(running: tuple[Laptop, Up]) -> None:
    laptop, process = running
    laptop.write("new.md", corpus.document(77))
    done = lectern("sources", "sync", "docs", "--wait", "--url", process.url)
    assert (done.returncode, done.stdout) == (
        0,
        "IngestionSource/docs: run succeeded: 7 listed, 1 changed, 0 failed, 0 gone\n",
    )
    assert told("--url", process.url)["indexed"] == 6, "what the run said is indexed when the command returns"
    full = lectern("sources", "sync", "docs", "--full", "--wait", "--url", process.url)
    assert full.stdout == "IngestionSource/docs: run succeeded: 7 listed, 7 changed, 0 failed, 0 gone\n"
    before = told("--url", process.url)["finishedRuns"]
    asked = lectern("sources", "sync", "docs", "--url", process.url)
    assert "asked for a run" in asked.stdout
    eventually(lambda: told("--url", process.url)["finishedRuns"] > before, seconds=60, what=lambda: "no further run")


@pytest.mark.parametrize(
    ("name", "headers", "body", "status", "words"),
    [
        ("wiki", {}, {"mode": "Sync"}, 404, "there is no IngestionSource wiki here; there are: docs"),
        ("docs", {"content-type": "text/plain"}, {"mode": "Sync"}, 415, "application/json"),
        ("docs", {}, {"mode": "Replay"}, 422, "lectern dlq replay"),
        ("docs", {}, {"mode": "Sync", "more": "x" * 2000}, 413, "1024 bytes"),
        ("docs", {}, {"what": 1}, 422, "mode"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_sentence(
    running: tuple[Laptop, Up], name: str, headers: dict[str, str], body: dict[str, Any], status: int, words: str
) -> None:
    url = f"{running[1].url}/sources/{name}/sync"
    content = json.dumps(body)
    answer = httpx.post(
        url, content=content, headers={"content-type": "application/json", **headers}, timeout=30, trust_env=False
    )
    assert answer.status_code == status
    assert words in answer.json()["detail"]


def test_a_source_that_is_not_there_is_said_on_the_command_line(running: tuple[Laptop, Up]) -> None:
    done = lectern("sources", "status", "wiki", "--url", running[1].url)
    assert (done.returncode, done.stderr) == (2, "lectern: there is no IngestionSource wiki; there are: docs\n")


def test_over_a_stopped_process_the_directory_tells_what_it_keeps(tmp_path: Path) -> None:
    laptop = corpus.laptop(tmp_path)
    corpus.write_documents(laptop.documents, 3)
    laptop.write("broken.pdf", b"%PDF-1.7 broken")
    directory = ("-f", str(tmp_path / "resources"), "--data-dir", str(laptop.data))
    assert lectern("sources", "status", *directory).returncode == 2, "there is no such directory yet"
    with up(*laptop.arguments) as started:
        started.settled()
        held = lectern("sources", "status", *directory)
        assert (held.returncode, "in use" in held.stderr) == (2, True)
        assert started.stop() == 0
    source = told(*directory)
    assert (source["indexed"], source["deadLetters"], source["pending"]) == (3, 1, 0)
    assert source["unknown"] == {
        "freshness": "`lectern up` is not running",
        "lastRun": "reports of runs are not kept in a data directory",
        "nextRun": "`lectern up` is not running",
    }


def test_a_suspended_source_is_not_run(tmp_path: Path) -> None:
    laptop = corpus.laptop(tmp_path)
    laptop.apply("IngestionSource", suspend=True)
    with up(*laptop.arguments) as started:
        done = lectern("sources", "sync", "docs", "--url", started.url)
        source = told("--url", started.url)
    assert (done.returncode, "its spec.suspend is true" in done.stderr) == (2, True)
    assert (source["phase"], source["lastRun"], source["indexed"]) == ("Suspended", None, 0)
