"""What a person gets wrong: one sentence with the thing and the next step, exit status 2, and nothing lost."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from e2e.journeys import corpus
from e2e.journeys.command import lectern, up
from e2e.journeys.corpus import Laptop


def _edit(laptop: Laptop, kind: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = laptop.root / "resources" / f"{kind}-docs.json"
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))


def _spec(kind: str, **fields: Any) -> Callable[[Laptop], None]:
    return lambda laptop: laptop.apply(kind, **fields)


def _file(name: str, text: str) -> Callable[[Laptop], None]:
    def write(laptop: Laptop) -> None:
        (laptop.root / "resources" / name).write_text(text)

    return write


def _embedding(**fields: Any) -> Callable[[Laptop], None]:
    usual = {"model": "sentence-transformers/all-MiniLM-L6-v2", "dimensions": 384}
    return _spec("KnowledgeBase", embedding={**usual, **fields})


MANIFESTS: dict[str, tuple[Callable[[Laptop], None], tuple[str, ...]]] = {
    "not YAML": (_file("bad.yaml", "kind: [unclosed"), ("bad.yaml", "not valid YAML", "line 1")),
    "unknown kind": (
        lambda laptop: _edit(laptop, "KnowledgeBase", lambda body: body.update(kind="KnowledgBase")),
        ("KnowledgeBase-docs.json", "unknown kind 'KnowledgBase'", "KnowledgeBase"),
    ),
    "unknown field": (_spec("IngestionSource", inclde=["**"]), ("IngestionSource-docs.json", "spec.inclde")),
    "wrong type": (_embedding(dimensions="384"), ("KnowledgeBase-docs.json", "spec.embedding.dimensions")),
    "two of one name": (
        _file(
            "twin.json",
            '{"apiVersion":"lectern.dev/v1alpha1","kind":"RagEndpoint","metadata":{"name":"docs"},'
            '"spec":{"knowledgeBaseRefs":["docs"]}}',
        ),
        ("twin.json", "RagEndpoint/docs is already defined in", "rename"),
    ),
    "source of nothing": (
        _spec("IngestionSource", knowledgeBaseRef="other"),
        ("IngestionSource/docs", "'other'", "there is: docs", "create it"),
    ),
    "endpoint of nothing": (
        _spec("RagEndpoint", knowledgeBaseRefs=["other"]),
        ("RagEndpoint/docs", "'other'", "there is: docs", "create it"),
    ),
    "another model": (_embedding(model="acme/big"), ("acme/big", "all-MiniLM-L6-v2", "spec.embedding.server")),
    "wrong dimensions": (_embedding(dimensions=768), ("768 dimensions", "384 dimensions")),
    "a vector store": (
        _spec("KnowledgeBase", vectorStore={"url": "http://qdrant:6333"}),
        ("KnowledgeBase/docs", "spec.vectorStore", "leave it out"),
    ),
    "a broker": (
        _spec("KnowledgeBase", messaging={"bootstrapServers": "kafka:9092"}),
        ("KnowledgeBase/docs", "spec.messaging", "leave it out"),
    ),
    "a volume for blobs": (
        _spec("KnowledgeBase", blobStore={"persistentVolume": {"claimName": "blobs"}}),
        ("KnowledgeBase/docs", "spec.blobStore", "leave it out"),
    ),
    "a source of another kind": (
        lambda laptop: _edit(
            laptop,
            "IngestionSource",
            lambda body: body["spec"].update(persistentVolume=None, http={"urls": ["https://example.org/"]}),
        ),
        ("IngestionSource/docs", "http"),
    ),
}


@pytest.mark.parametrize(("spoil", "words"), MANIFESTS.values(), ids=MANIFESTS.keys())
def test_resources_that_cannot_work_are_refused(
    laptop: Laptop, spoil: Callable[[Laptop], None], words: tuple[str, ...]
) -> None:
    spoil(laptop)

    done = lectern("up", "--port", "0", *laptop.arguments)

    _refused(done.returncode, done.stdout, done.stderr, words)
    assert not laptop.data.exists()


def _refused(status: int, out: str, err: str, words: tuple[str, ...]) -> None:
    last = err.strip().splitlines()[-1] if err.strip() else ""
    assert (status, out) == (2, ""), err
    assert last.startswith("lectern: "), err
    assert "Traceback" not in err
    assert [word for word in words if word not in last] == [], last


def test_options_that_cannot_work_are_refused(laptop: Laptop) -> None:
    files, data = ("-f", str(laptop.root / "resources")), ("--data-dir", str(laptop.data))
    mount = ("--mount", f"files={laptop.documents}")
    plain = laptop.root / "plain"
    plain.write_text("not a directory")
    cases: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        ((*files, *data), ("IngestionSource/docs", "--mount files=DIR")),
        ((*files, *data, "--mount", "files=/no/such"), ("/no/such is not a directory", "--mount files=DIR")),
        ((*files, *data, *mount, "--mount", "other=."), ("--mount other", "claims in use: files")),
        ((*files, *data, "--mount", "files"), ("CLAIM=DIR",)),
        ((*files, *data, *mount, "--endpoint", "other"), ("--endpoint other", "there is: docs")),
        ((*data, *mount, "-f", str(laptop.root / "none")), ("none: no such file or directory",)),
        ((*files, *mount, "--data-dir", str(plain)), ("plain is not a directory", "--data-dir")),
        ((*files, *mount, "--data-dir", str(plain / "below")), ("below", "--data-dir")),
        ((*files, *mount, "--data-dir", str(laptop.documents.parent)), ("is not empty", "--data-dir")),
        ((*files, *data, *mount, "--host", "no.such.host.invalid"), ("--host no.such.host.invalid",)),
    ]

    for arguments, words in cases:
        done = lectern("up", "--port", "0", *arguments)
        _refused(done.returncode, done.stdout, done.stderr, words)


def test_a_port_in_use_is_said_before_anything_is_opened(laptop: Laptop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = lectern("up", *laptop.arguments, "--port", port)

    _refused(done.returncode, done.stdout, done.stderr, (f"port {port}", "in use", "--port"))
    assert not laptop.data.exists()


def test_a_directory_of_a_newer_version_is_left_as_it_is(laptop: Laptop) -> None:
    laptop.data.mkdir()
    marker = laptop.data / "lectern.json"
    marker.write_text('{"format": 99, "created_by": "lectern 9.9"}')

    done = lectern("up", "--port", "0", *laptop.arguments)

    _refused(done.returncode, done.stdout, done.stderr, ("format 99", "lectern 9.9", "--data-dir"))
    assert marker.read_text() == '{"format": 99, "created_by": "lectern 9.9"}'
    assert {path.name for path in laptop.data.iterdir()} <= {"lectern.json", "lock"}


def test_refusals_cost_a_running_process_and_its_directory_nothing(laptop: Laptop) -> None:
    corpus.write_documents(laptop.documents, 3)
    with up(*laptop.arguments) as running:
        running.settled()
        second = lectern("up", "--port", "0", *laptop.arguments)
        answer = running.ask(corpus.question(1))
        assert running.stop() == 0
    _edit(laptop, "KnowledgeBase", lambda body: body["spec"]["embedding"].update(dimensions=768))
    wrong = lectern("up", "--port", "0", *laptop.arguments)
    laptop.apply("KnowledgeBase")
    with up(*laptop.arguments) as again:
        again.settled()
        embedded = again.metric("lectern_worker_embedded_tokens_total")
        later = again.ask(corpus.question(1))

    _refused(second.returncode, second.stdout, second.stderr, ("in use", str(running.process.pid), "--data-dir"))
    _refused(wrong.returncode, wrong.stdout, wrong.stderr, ("768",))
    assert embedded == 0
    assert answer["answer"] == later["answer"] != ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- question: x\n  document: [", ("not valid YAML", "line 2")),
        ("- question: x\n", ("question 0", "refused: true")),
        ("- question: x\n  document: a\n  answer: y\n", ("question 0.answer",)),
        ("kind: ConfigMap\ndata: {}\n", ("questions.yaml",)),
        ("- 3\n", ("question 0",)),
        ("[]\n", ("no question",)),
    ],
)
def test_questions_that_cannot_be_read_are_refused_before_anything_starts(
    laptop: Laptop, text: str, words: tuple[str, ...]
) -> None:
    questions = laptop.root / "questions.yaml"
    questions.write_text(text)

    done = lectern("demo", *laptop.arguments[:-2], "--questions", str(questions))

    _refused(done.returncode, done.stdout, done.stderr, (str(questions), *words))
    assert not laptop.data.exists()


def test_ask_and_status_say_how_to_start_when_nothing_runs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

    for arguments in (("ask", "Why?"), ("status",)):
        done = lectern(*arguments, "--url", url)
        _refused(done.returncode, done.stdout, done.stderr, (url, "lectern up"))
