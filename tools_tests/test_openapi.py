"""The committed OpenAPI documents: written once, and found stale when one is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import openapi


@pytest.mark.parametrize("place", openapi.FILES, ids=str)
def test_a_stale_or_missing_document_is_said_and_written(
    tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / place.parent).mkdir(parents=True)
    arguments = ["--root", str(tmp_path)]

    assert openapi.main([*arguments, "--check"]) == 1
    assert f"{place} is stale: run make generate" in capsys.readouterr().err
    assert openapi.main(arguments) == 0
    assert openapi.main([*arguments, "--check"]) == 0

    (tmp_path / place).write_text("{}")
    assert openapi.main([*arguments, "--check"]) == 1
