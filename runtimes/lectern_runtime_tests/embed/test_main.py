"""The worker as a program: what it does with a settings file that this release, or this machine, cannot serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from lectern_contract import query_wiring, settings, wiring
from lectern_runtime import programs
from lectern_runtime.embed import __main__ as program
from lectern_runtime_tests.contract.test_settings import REMOTE, endpoint, knowledge_base

LOCAL = {"embedding": {"model": "sentence-transformers/all-MiniLM-L6-v2", "dimensions": 384}}


def written(directory: Path, content: settings.AnySettings) -> str:
    file = directory / "settings.json"
    file.write_text(settings.canonical(content))
    return str(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (wiring.worker_settings(knowledge_base(**REMOTE), generation=1), "spec.embedding asks for m with 8 dimensions"),
        (query_wiring.query_settings(endpoint(), {"docs": knowledge_base()}), "this program is the worker runtime"),
        (wiring.worker_settings(knowledge_base(), generation=1), "has no data directory"),
    ],
)
def test_what_cannot_be_served_ends_with_status_2_and_a_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: settings.AnySettings, words: str
) -> None:
    status = program.main(["--settings", written(tmp_path, content), "--port", "0"])

    assert status == programs.EXIT_CONFIGURATION
    assert words in caplog.text


def test_a_settings_file_that_is_not_there_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert program.main(["--settings", str(tmp_path / "none.json")]) == programs.EXIT_CONFIGURATION
    assert "name the settings file with --settings" in caplog.text


def test_an_empty_topic_is_done_at_once(tmp_path: Path) -> None:
    content = wiring.worker_settings(knowledge_base(**LOCAL), generation=1)
    arguments = [
        "--settings",
        written(tmp_path, content),
        "--data-dir",
        str(tmp_path / "data"),
        "--port",
        "0",
        "--once",
    ]

    assert program.main(arguments) == programs.EXIT_STOPPED


def test_only_a_pod_has_a_name_in_the_group() -> None:
    assert program.member({"HOSTNAME": "docs-worker-1", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}) == "docs-worker-1"
    assert program.member({"HOSTNAME": "laptop"}) is None
