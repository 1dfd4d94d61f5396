"""The command as a whole, in this process: exit statuses, and one sentence for everything that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lectern_cli.main import app
from lectern_cli_tests import laptop as laptops
from lectern_cli_tests.laptop import Laptop

Spoil = Callable[[Laptop], None]


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return laptops.make(tmp_path)


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the command."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def refused(arguments: list[str], words: tuple[str, ...]) -> None:
    """Status 2, nothing on standard output, and one sentence that has all `words`."""
    status, out, err = run(*arguments)
    said = [line for line in err.splitlines() if not line.startswith("starting;")]
    assert (status, out, len(said)) == (2, "", 1), err
    assert said[0].startswith("lectern: ")
    assert [word for word in words if word not in said[0]] == [], said[0]


def spec(kind: str, **fields: Any) -> Spoil:
    return lambda laptop: laptop.apply(kind, **fields)


def embedding(**fields: Any) -> Spoil:
    return spec("KnowledgeBase", embedding={"model": laptops.MODEL, "dimensions": 384, **fields})


def text(name: str, content: str) -> Spoil:
    return lambda laptop: laptop.write(name, content)


def kind_renamed(laptop: Laptop) -> None:
    laptop.write("KnowledgeBase-docs.json", json.dumps({**laptops.body("KnowledgeBase"), "kind": "KnowledgBase"}))


RESOURCES: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "not YAML": (text("bad.yaml", "kind: [unclosed"), ("bad.yaml", "not valid YAML", "line 1")),
    "unknown kind": (kind_renamed, ("KnowledgeBase-docs.json", "unknown kind 'KnowledgBase'")),
    "unknown field": (spec("IngestionSource", inclde=["**"]), ("IngestionSource-docs.json", "spec.inclde")),
    "wrong type": (embedding(dimensions="384"), ("KnowledgeBase-docs.json", "spec.embedding.dimensions")),
    "two of one name": (
        text("twin.json", json.dumps(laptops.body("RagEndpoint"))),
        ("twin.json", "RagEndpoint/docs is already defined in", "rename"),
    ),
    "source of nothing": (
        spec("IngestionSource", knowledgeBaseRef="other"),
        ("IngestionSource/docs", "'other'", "there is: docs", "create it"),
    ),
    "endpoint of nothing": (
        spec("RagEndpoint", knowledgeBaseRefs=["other"]),
        ("RagEndpoint/docs", "'other'", "there is: docs", "create it"),
    ),
    "two endpoints": (
        lambda laptop: laptop.apply("RagEndpoint", "second"),
        ("one RagEndpoint", "found 2 (docs, second)", "--endpoint"),
    ),
    "another model": (embedding(model="acme/big"), ("acme/big", laptops.MODEL, "spec.embedding.server")),
    "wrong dimensions": (embedding(dimensions=768), ("768 dimensions", "384 dimensions")),
    "too long input": (embedding(maxInputTokens=512), ("512 tokens", "256 tokens")),
    "an embedding server": (
        embedding(server={"external": {"url": "http://tei:8080"}}),
        ("KnowledgeBase/docs", "spec.embedding.server", "leave it out"),
    ),
    "a vector store": (
        spec("KnowledgeBase", vectorStore={"url": "http://qdrant:6333"}),
        ("KnowledgeBase/docs", "spec.vectorStore", "leave it out"),
    ),
    "a masking pattern that is none": (
        spec("KnowledgeBase", dataPolicy={"masking": [{"name": "TICKET", "kind": "Pattern", "pattern": "("}]}),
        ("spec.dataPolicy.masking", "the pattern of TICKET", "RE2"),
    ),
    "a broker": (
        spec("KnowledgeBase", messaging={"bootstrapServers": "kafka:9092"}),
        ("KnowledgeBase/docs", "spec.messaging", "leave it out"),
    ),
    "a volume for blobs": (
        spec("KnowledgeBase", blobStore={"persistentVolume": {"claimName": "blobs"}}),
        ("KnowledgeBase/docs", "spec.blobStore", "leave it out"),
    ),
    "a source with a Secret": (
        spec(
            "IngestionSource",
            persistentVolume=None,
            git={"url": "https://git.example/x", "credentialsSecretRef": {"name": "git"}},
        ),
        ("IngestionSource/docs", "spec.git.credentialsSecretRef", "one process has no Secrets"),
    ),
}


@pytest.mark.parametrize(("spoil", "words"), RESOURCES.values(), ids=RESOURCES.keys())
def test_resources_that_cannot_work_are_refused(laptop: Laptop, spoil: Spoil, words: tuple[str, ...]) -> None:
    spoil(laptop)

    refused(["up", *laptop.arguments, "--port", "0"], words)

    assert not laptop.data.exists()


OPTIONS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "no mount": (["-f", "resources"], ("IngestionSource/docs", "--mount files=DIR")),
    "a mount to nothing": (
        ["-f", "resources", "--mount", "files=/no/such"],
        ("/no/such is not a directory", "--mount files=DIR"),
    ),
    "a mount of nothing": (
        ["-f", "resources", "--mount", "files=documents", "--mount", "other=."],
        ("--mount other", "claims in use: files"),
    ),
    "half a mount": (["-f", "resources", "--mount", "files"], ("CLAIM=DIR",)),
    "an unknown endpoint": (
        ["-f", "resources", "--mount", "files=documents", "--endpoint", "other"],
        ("--endpoint other", "there is: docs"),
    ),
    "no resources": (["-f", "none"], ("none: no such file or directory",)),
    "an unknown host": (
        ["-f", "resources", "--mount", "files=documents", "--host", "no.such.host.invalid"],
        ("--host no.such.host.invalid", "127.0.0.1"),
    ),
    "the host of somebody else": (
        ["-f", "resources", "--mount", "files=documents", "--host", "192.0.2.1", "--port", "0"],
        ("192.0.2.1", "--host of this machine"),
    ),
}


@pytest.mark.parametrize(("arguments", "words"), OPTIONS.values(), ids=OPTIONS.keys())
def test_options_that_cannot_work_are_refused(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(laptop.root)

    refused(["up", "--data-dir", str(laptop.data), *arguments], words)

    assert not laptop.data.exists()


def test_a_base_without_sources_is_not_wrong(laptop: Laptop) -> None:
    (laptop.root / "resources" / "IngestionSource-docs.json").unlink()
    laptop.write("questions.txt", "- {question: 'Why is the sky blue?', refused: true}")
    questions = str(laptop.root / "resources" / "questions.txt")

    status, out, _ = run(
        "demo", "-f", str(laptop.root / "resources"), "--data-dir", str(laptop.data), "--questions", questions
    )

    assert status == 0, out
    assert "demo: 1/1 answered from the expected document" in out


def test_a_demo_with_a_wrong_answer_ends_with_status_1(laptop: Laptop) -> None:
    laptop.write("questions.txt", "- {question: 'Why is the sky blue?', document: sky.md}")
    (laptop.root / "documents" / "tides.md").write_text("# Tides\n\nThe moon pulls the water.\n")

    status, out, _ = run("demo", *laptop.arguments, "--questions", str(laptop.root / "resources" / "questions.txt"))

    assert status == 1
    assert "demo: 0/1 answered from the expected document" in out


@pytest.mark.parametrize("arguments", [["up"], ["up", "-f", ".", "--port", "x"], ["status", "-o", "yaml"], ["none"]])
def test_a_command_line_that_is_none_ends_with_status_2(arguments: list[str]) -> None:
    status, _, err = run(*arguments)

    assert status == 2
    assert "Error" in err


def test_crds_are_printed_for_kubectl() -> None:
    status, out, _ = run("crds")

    assert status == 0
    assert out.count("kind: CustomResourceDefinition") == 3
    assert not out.rstrip().endswith("---")
