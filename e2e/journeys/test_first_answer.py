"""From nothing to an answer: `lectern up`, `ask`, `status`, and the second start."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from e2e.journeys import corpus
from e2e.journeys.command import Up, eventually, lectern, up
from e2e.journeys.corpus import Laptop
from lectern_contract.resources import KINDS
from lectern_runtime.embed import parse

MEMORY_MIB = 600
READY_CPU_SECONDS = 5.0
"""Of this process alone: seconds on the clock say more about what else the machine does."""


def _cpu_seconds(running: Up) -> float:
    fields = Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rows(table: str) -> dict[str, list[str]]:
    """The cells of a table of `lectern status` by name of the resource, and the heads under the name NAME."""
    lines = [re.split(r"\s{3,}", line.strip()) for line in table.splitlines() if line.strip()]
    return {
        ("NAME-" + lines[index + 1][0] if cells[0] == "NAME" else cells[0]): cells for index, cells in enumerate(lines)
    }


def test_up_is_ready_before_documents_are_in_and_says_so(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, 20)

    with up(*laptop.arguments) as running:
        ready = running.get("/readyz")
        cpu = _cpu_seconds(running)
        early = running.condition("IngestionSource", "Ready")
        running.settled()
        late = running.condition("IngestionSource", "Ready")
        counts = running.resource("KnowledgeBase")["status"]["documents"]
        memory = running.memory_mib()

    assert ready.status_code == 200, ready.text
    assert cpu <= READY_CPU_SECONDS
    assert early["status"] in ("Unknown", "False")
    assert late["status"] == "True"
    assert counts == {"indexed": 20, "failed": 0}
    assert memory <= MEMORY_MIB


def test_an_answer_cites_the_right_document_with_offsets_that_give_the_text(asked: tuple[Laptop, Up]) -> None:
    laptop, running = asked

    for number in (0, 7, 13):
        answer = running.ask(corpus.question(number))
        first = answer["citations"][0]
        text = parse.parse((laptop.documents / first["uri"]).read_bytes(), "text/markdown").text

        assert not answer["refused"]
        assert first["uri"] == corpus.path_of(number)
        assert text[first["start"] : first["end"]] == first["text"]
        assert str(1700 + number) in "".join(first["text"][s["start"] : s["end"]] for s in first["spans"])


def test_offsets_in_a_plain_text_file_count_its_own_characters(asked: tuple[Laptop, Up]) -> None:
    laptop, running = asked

    citation = running.ask(corpus.question(corpus.PLAIN))["citations"][0]

    text = (laptop.documents / corpus.PLAIN_PATH).read_text()
    assert citation["uri"] == corpus.PLAIN_PATH
    assert text[citation["start"] : citation["end"]] == citation["text"]


def test_what_is_not_in_the_documents_is_refused_without_citations(asked: tuple[Laptop, Up]) -> None:
    answer = asked[1].ask("How do I renew a passport in Portugal?")

    assert (answer["refused"], answer["citations"]) == (True, [])


def test_ask_prints_the_answer_with_its_document(asked: tuple[Laptop, Up]) -> None:
    done = lectern("ask", corpus.question(2), "--url", asked[1].url)

    assert done.returncode == 0, done.stderr
    assert "1702" in done.stdout
    assert corpus.path_of(2) in done.stdout


def test_status_has_the_columns_of_kubectl(asked: tuple[Laptop, Up]) -> None:
    done = lectern("status", "--url", asked[1].url)
    wide = lectern("status", "-o", "wide", "--url", asked[1].url)

    assert done.returncode == wide.returncode == 0, done.stderr + wide.stderr
    for kind, model in KINDS.items():
        name = f"{kind.lower()}.lectern.dev/docs"
        for table, priorities in ((done.stdout, (0,)), (wide.stdout, (0, 1))):
            wanted = ["NAME", *(column.name.upper() for column in model.columns if column.priority in priorities)]
            assert _rows(table)["NAME-" + name] == wanted
        assert _rows(done.stdout)[name][1] == "True"


def test_status_as_json_is_a_kubernetes_list(asked: tuple[Laptop, Up]) -> None:
    done = lectern("status", "-o", "json", "--url", asked[1].url)

    listed = json.loads(done.stdout)
    assert (listed["kind"], {item["kind"] for item in listed["items"]}) == ("List", set(KINDS))


def test_a_second_start_embeds_and_publishes_nothing(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, 10)
    with up(*laptop.arguments) as first:
        first.settled()
        embedded_first = first.metric("lectern_worker_embedded_tokens_total")
        assert first.stop() == 0

    with up(*laptop.arguments) as second:
        second.settled()
        eventually(
            lambda: second.metric("lectern_connector_runs_total", result="Succeeded") >= 2,
            seconds=30,
            what=lambda: second.output,
        )
        embedded = second.metric("lectern_worker_embedded_tokens_total")
        published = second.metric("lectern_connector_documents_total", result="published")
        worked_on = second.metric("rag_ingestion_events_total")
        answer = second.ask(corpus.question(4))

    assert embedded_first > 0
    assert (embedded, published, worked_on) == (0, 0, 0)
    assert answer["citations"][0]["uri"] == corpus.path_of(4)
