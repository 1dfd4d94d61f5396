"""What `lectern doctor` finds on a machine that has everything, and on ones that do not."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from pathlib import Path

import pytest

from lectern_cli import doctor
from lectern_cli.doctor import Finding


def found(path: Path) -> dict[str, Finding]:
    return {each.thing: each for each in doctor.examine(path)}


def test_a_machine_that_has_everything_misses_nothing(tmp_path: Path) -> None:
    findings = found(tmp_path / "data")

    assert [each.thing for each in findings.values() if each.state == "missing"] == []
    assert findings[f"data directory {tmp_path / 'data'}"].seen == "will be made"
    assert findings["embedding model"].seen.startswith("sentence-transformers/all-MiniLM-L6-v2, sha256 ")
    assert not (tmp_path / "data").exists()


def test_a_package_that_is_missing_is_named_with_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)

    findings = found(tmp_path)

    assert (findings["package onnxruntime"].state, findings["package kopf"].state) == ("missing", "optional")
    assert findings["package onnxruntime"].next_step == "install requirements/local.txt"


def test_a_data_directory_below_a_file_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "data"

    finding = found(below)[f"data directory {below}"]

    assert (finding.state, finding.next_step) == ("missing", "choose another with --data-dir")


def test_a_data_directory_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)

    assert found(tmp_path)[f"data directory {tmp_path}"].state == "missing"


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))

    assert found(tmp_path)["disk"].state == "missing"


def test_what_only_a_cluster_needs_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    findings = found(tmp_path)

    assert {findings[name].state for name in ("kubectl", "go", "kubeconfig")} == {"optional"}
    assert all(findings[name].next_step for name in ("kubectl", "go", "kubeconfig"))
