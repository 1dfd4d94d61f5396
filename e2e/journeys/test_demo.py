"""`lectern demo` on the quickstart: the first thing that a newcomer sees."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from e2e.journeys.command import ROOT, lectern

QUICKSTART = ROOT / "config" / "samples" / "quickstart"


def test_the_quickstart_answers_every_question_from_the_expected_document(tmp_path: Path) -> None:
    questions = yaml.safe_load(yaml.safe_load((QUICKSTART / "questions.yaml").read_text())["data"]["questions.yaml"])
    guides = ROOT / "docs" / "guides"
    arguments = ("-f", str(QUICKSTART), "--mount", f"lectern-guides={guides}", "--data-dir", str(tmp_path / "data"))

    done = lectern("demo", *arguments, "--questions", str(QUICKSTART / "questions.yaml"), seconds=120)

    lines = done.stdout.rstrip().splitlines()
    wrong = [line for line in lines if "✗" in line or "expected " in line]
    assert lines[-1] == f"demo: {len(questions)}/{len(questions)} answered from the expected document", wrong
    assert done.returncode == 0
    assert done.stderr == ""
    assert len(questions) >= 20
    assert sum(question.get("refused", False) for question in questions) >= 4
    assert max(len(line) for line in lines if not line.startswith(("starting", "passed over"))) <= 80


def test_the_guides_are_the_documents_of_the_quickstart() -> None:
    pages = [name for _, _, names in os.walk(ROOT / "docs" / "guides") for name in names if name.endswith(".md")]

    assert len(pages) >= 25
