"""What a person gets wrong: one sentence with the thing and the next step, exit status 2, and nothing lost.

The whole table of wrong resources is in `lectern_cli_tests/test_main.py`, without a process for each.
"""

from __future__ import annotations

import socket

from e2e.journeys import corpus
from e2e.journeys.command import lectern, up
from e2e.journeys.corpus import Laptop

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def _refused(laptop: Laptop | None, *arguments: str, words: tuple[str, ...]) -> None:
    """Run the command and demand status 2 and one sentence with all `words`."""
    done = lectern(*(("up", "--port", "0", *laptop.arguments, *arguments) if laptop is not None else arguments))
    said = [line for line in done.stderr.splitlines() if not line.startswith("starting;")]
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert len(said) == 1, done.stderr
    assert said[0].startswith("lectern: ")
    assert [word for word in words if word not in said[0]] == [], said[0]


def test_a_file_that_is_no_yaml_is_named_with_its_line(laptop: Laptop) -> None:
    (laptop.root / "resources" / "bad.yaml").write_text("kind: [unclosed")

    _refused(laptop, words=("bad.yaml", "not valid YAML", "line 1"))
    assert not laptop.data.exists()


def test_a_model_that_is_not_in_the_process_is_refused_before_the_data_directory_is_made(laptop: Laptop) -> None:
    laptop.apply("KnowledgeBase", embedding={"model": MODEL, "dimensions": 768})

    _refused(laptop, words=("768 dimensions", "384 dimensions", "spec.embedding.server"))
    assert not laptop.data.exists()


def test_a_claim_without_a_mount_is_named_with_the_option(laptop: Laptop) -> None:
    files = ("-f", str(laptop.root / "resources"))

    _refused(None, "up", *files, words=("IngestionSource/docs", "'files'", "--mount files=DIR"))


def test_data_directories_that_cannot_be_used_are_named(laptop: Laptop) -> None:
    plain = laptop.root / "plain"
    plain.write_text("not a directory")
    cases = {
        str(plain): "plain is not a directory",
        str(plain / "below"): "below is not a directory",
        str(laptop.root): "is not empty",
    }

    for path, words in cases.items():
        _refused(laptop, "--data-dir", path, words=(words, "--data-dir"))
    assert plain.read_text() == "not a directory"


def test_a_port_in_use_is_said_before_anything_is_opened(laptop: Laptop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        _refused(laptop, "--port", port, words=(f"port {port}", "in use", "--port"))

    assert not laptop.data.exists()


def test_a_directory_of_a_newer_version_is_left_as_it_is(laptop: Laptop) -> None:
    laptop.data.mkdir()
    marker = laptop.data / "lectern.json"
    marker.write_text('{"format": 99, "created_by": "lectern 9.9"}')

    _refused(laptop, words=("format 99", "lectern 9.9", "--data-dir"))
    assert marker.read_text() == '{"format": 99, "created_by": "lectern 9.9"}'
    assert {path.name for path in laptop.data.iterdir()} <= {"lectern.json", "lock"}


def test_refusals_cost_a_running_process_and_its_directory_nothing(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, 3)
    with up(*laptop.arguments) as running:
        running.settled()
        _refused(laptop, words=("in use", str(running.process.pid), "--data-dir"))
        answer = running.ask(corpus.question(1))
        assert running.stop() == 0
    laptop.apply("KnowledgeBase", embedding={"model": MODEL, "dimensions": 768})
    _refused(laptop, words=("768",))
    laptop.apply("KnowledgeBase")
    with up(*laptop.arguments) as again:
        again.settled()
        embedded = again.metric("lectern_worker_embedded_tokens_total")
        later = again.ask(corpus.question(1))

    assert embedded == 0
    assert answer["answer"] == later["answer"] != ""


def test_ask_and_status_say_how_to_start_when_nothing_runs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

    for arguments in (("ask", "Why?"), ("status",)):
        _refused(None, *arguments, "--url", url, words=(url, "lectern up"))
