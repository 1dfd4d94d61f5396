"""The files of all-MiniLM-L6-v2 are the tested ones, and the committed graph fits them; anything else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lectern_contract.errors import ConfigurationError
from lectern_runtime.adapters import minilm_files
from lectern_runtime.adapters.onnx import OnnxMiniLm
from lectern_runtime.errors import ModelNotInstalled
from tools import build_minilm_graph


def test_an_empty_folder_is_reported_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(ModelNotInstalled, match=r"model\.safetensors: No such file.*requirements/local\.txt") as raised:
        OnnxMiniLm.open(tmp_path)
    assert isinstance(raised.value, ConfigurationError)


def test_an_absent_package_is_reported_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm_files, "PACKAGE", "no-such-package-of-weights")
    with pytest.raises(ModelNotInstalled, match=r"no package no-such-package-of-weights; install Lectern"):
        OnnxMiniLm.open()


@pytest.mark.parametrize("damaged", sorted(minilm_files.SHA256))
def test_a_changed_file_is_refused(tmp_path: Path, damaged: str) -> None:
    files = minilm_files.find()
    for path in (files.weights, files.tokenizer):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / damaged).unlink()
    (tmp_path / damaged).write_bytes(b"something else")
    with pytest.raises(ModelNotInstalled, match=f"{damaged} has sha256 .* not {minilm_files.SHA256[damaged]}"):
        OnnxMiniLm.open(tmp_path)


def test_the_committed_graph_is_what_the_builder_writes(capsys: pytest.CaptureFixture[str]) -> None:
    assert build_minilm_graph.main(["--check"]) == 0
    assert capsys.readouterr().out == "minilm.onnx is current\n"


def test_the_builder_notices_and_replaces_another_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = minilm_files.graph_path().read_bytes()
    other = tmp_path / "minilm.onnx"
    other.write_bytes(b"another graph")
    monkeypatch.setattr(minilm_files, "graph_path", lambda: other)

    assert build_minilm_graph.main(["--check"]) == 1
    assert build_minilm_graph.main([]) == 0
    assert other.read_bytes() == committed
