"""The demo's questions: what is read, what counts as right, and how it is shown."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lectern_cli import demo
from lectern_cli.demo import Outcome, Question
from lectern_contract.errors import ConfigurationError


def answer(*uris: str, refused: bool = False, text: str = "It is so. [1]") -> dict[str, Any]:
    citations = [{"uri": uri, "section": "", "page": None, "start": 0, "end": 9} for uri in uris]
    return {
        "answer": text,
        "citations": citations,
        "refused": refused,
        "confidence": 0.5,
        "cache": "miss",
        "timings": {"resolve": 0.2, "embed": 7.6, "total": 12.4},
    }


def shown(width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_questions_are_read_from_a_config_map_and_from_a_plain_list(tmp_path: Path) -> None:
    plain, wrapped = tmp_path / "plain.yaml", tmp_path / "wrapped.yaml"
    plain.write_text("- question: a\n  document: a.md\n- question: b\n  refused: true\n")
    wrapped.write_text("kind: ConfigMap\ndata:\n  questions.yaml: |\n    - question: a\n      document: a.md\n")

    assert demo.read_questions(plain) == [
        Question(question="a", document="a.md"),
        Question(question="b", refused=True),
    ]
    assert demo.read_questions(wrapped) == [Question(question="a", document="a.md")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"- question: x\n  document: [", "not valid YAML: line 2"),
        (b"- question: x\n", "question 0: Value error, say either the document"),
        (b"- question: x\n  document: a\n  refused: true\n", "question 0: Value error, say either the document"),
        (b"- question: x\n  document: a\n  answer: y\n", "question 0.answer: Extra inputs"),
        (b"- question: ''\n  document: a\n", "question 0.question: "),
        (b"kind: ConfigMap\ndata: {}\n", "without the key questions.yaml"),
        (b"kind: ConfigMap\ndata: []\n", "without the key questions.yaml"),
        (b"kind: ConfigMap\ndata: {questions.yaml: [1]}\n", "without the key questions.yaml"),
        (b"- 3\n", "question 0: "),
        (b"a: b\n", "question list: "),
        (b"", "question list: "),
        (b"[]\n", "no question in it"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_what_is_no_list_of_questions_is_said_with_file_and_place(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "questions.yaml"
    path.write_bytes(content)

    with pytest.raises(ConfigurationError) as caught:
        demo.read_questions(path)

    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file or directory; name a file with"):
        demo.read_questions(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("question", "given", "right"),
    [
        (Question(question="q", document="a.md"), answer("a.md", "b.md"), True),
        (Question(question="q", document="a.md"), answer("b.md", "a.md"), False),
        (Question(question="q", document="a.md"), answer(refused=True), False),
        (Question(question="q", refused=True), answer(refused=True), True),
        (Question(question="q", refused=True), answer("a.md"), False),
    ],
)
def test_an_answer_is_right_by_its_first_document_or_its_refusal(
    question: Question, given: dict[str, Any], right: bool
) -> None:
    assert Outcome(question, given, 1.0).right is right


def test_the_last_line_counts_the_right_ones() -> None:
    question = Question(question="q", document="a.md")
    outcomes = [Outcome(question, answer("a.md"), 1), Outcome(question, answer("b.md"), 1)]

    assert demo.verdict(outcomes) == "demo: 1/2 answered from the expected document"


def test_the_summary_says_what_was_expected_only_where_it_did_not_come() -> None:
    console = shown()
    outcomes = [
        Outcome(Question(question="first?", document="a.md"), answer("a.md"), 7.4),
        Outcome(Question(question="second?", refused=True), answer("b.md"), 8.0),
    ]

    console.print(demo.summary(outcomes))

    lines = text_of(console).splitlines()
    assert any("first?" in line and "a.md" in line and "✓" in line for line in lines)
    assert any("second?" in line and "b.md" in line and "✗" in line for line in lines)
    assert [line for line in lines if "expected" in line] == [line for line in lines if "expected (refused)" in line]
    assert max(map(len, lines)) <= 80


def test_answers_are_shown_as_they_are_without_markup_or_control_characters() -> None:
    console = shown(width=200)

    demo.print_answer(
        console, "[red]Is\x1b[31m it?", answer("[b]a.md", text="see [link]\x07 [1]"), number=3, right=False
    )

    text = text_of(console)
    assert "3. [red]Is [31m it?" in text
    assert "see [link]  [1]" in text
    assert "[1] [b]a.md, characters 0-9" in text
    assert "WRONG  confidence 0.50, cache miss, 12 ms (embed 8)" in text
    assert "\x1b" not in text
    assert "\x07" not in text
