"""A connector's log says which run of which source came to what, and no word of a document."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from lectern_contract import settings
from lectern_runtime.ingest import __main__ as connector
from lectern_runtime_tests.pipeline import connector_settings

CANARY = "thecanarysings"


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Leave the root logger as it was: the program sets it up for its process."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.handlers[:], logging.root.level = handlers, level


def test_a_run_is_told_in_json_with_counts_and_reasons(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, file = tmp_path / "source", tmp_path / "settings.json"
    source.mkdir()
    (source / "a.md").write_text(f"text of {CANARY}")
    (source / "large.md").write_text(CANARY * 100)
    (source / "b.bin").write_bytes(f"\x7fELF {CANARY}".encode())
    file.write_text(settings.canonical(connector_settings(source, max_document_bytes=500)))

    status = connector.main(["--settings", str(file), "--data-dir", str(tmp_path / "data")])

    told = capfd.readouterr().err
    last = json.loads(told.splitlines()[-1])
    assert status == 0
    assert CANARY not in told
    assert {
        name: last[name] for name in ("level", "source", "result", "published", "failed", "failures_by_reason")
    } == {
        "level": "INFO",
        "source": "ns/files",
        "result": "Succeeded",
        "published": 1,
        "failed": 2,
        "failures_by_reason": {"TooLarge": 1, "MediaTypeNotAccepted": 1},
    }
