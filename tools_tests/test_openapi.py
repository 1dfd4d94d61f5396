"""The committed OpenAPI document: written once, and found stale when it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import openapi


def test_a_stale_or_missing_document_is_said_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / openapi.FILE.parent).mkdir(parents=True)
    arguments = ["--root", str(tmp_path)]

    assert openapi.main([*arguments, "--check"]) == 1
    assert "run make generate" in capsys.readouterr().err
    assert openapi.main(arguments) == 0
    assert openapi.main([*arguments, "--check"]) == 0

    (tmp_path / openapi.FILE).write_text("{}")
    assert openapi.main([*arguments, "--check"]) == 1
