"""A data directory serves one process at a time, is never misread, and loses nothing when it is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lectern_contract.errors import DataDirectoryError
from lectern_runtime.adapters.data_directory import DataDirectory

HOLDER = """
import sys
from pathlib import Path
from lectern_runtime.adapters.data_directory import DataDirectory
with DataDirectory.open(Path(sys.argv[1]), created_by="0.1.0"):
    print("open", flush=True)
    sys.stdin.read()
"""


def content(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file() and path.name != "lock"}


def test_a_new_directory_is_made_and_marked(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    with DataDirectory.open(root, created_by="0.1.0") as data:
        assert (data.root, data.created_by) == (root, "0.1.0")
        assert {data.log_path, data.blobs_path, data.store_path} == {
            root / "log.sqlite3",
            root / "blobs",
            root / "store",
        }
    assert json.loads((root / "lectern.json").read_text()) == {"format": 1, "created_by": "0.1.0"}


def test_a_directory_is_opened_again_and_keeps_its_marker(tmp_path: Path) -> None:
    DataDirectory.open(tmp_path, created_by="0.1.0").close()
    before = content(tmp_path)
    with DataDirectory.open(tmp_path, created_by="0.2.0") as data:
        assert data.created_by == "0.1.0"
        data.close()
    assert content(tmp_path) == before


def test_a_second_process_is_refused_with_the_first_ones_id(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(DataDirectoryError, match=rf"in use by process {holder.pid}; .* --data-dir"):
            DataDirectory.open(tmp_path, created_by="0.1.0")
        holder.kill()
    DataDirectory.open(tmp_path, created_by="0.1.0").close()


def test_a_second_opening_in_one_process_is_refused_too(tmp_path: Path) -> None:
    with (
        DataDirectory.open(tmp_path, created_by="0.1.0"),
        pytest.raises(DataDirectoryError, match=f"in use by process {os.getpid()}"),
    ):
        DataDirectory.open(tmp_path, created_by="0.1.0")


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('{"format": 2, "created_by": "9.9.0"}', r"format 2 of Lectern 9\.9\.0.*use that version"),
        ('{"format": 1, "crea', "is damaged; restore"),
        ("", "is damaged; restore"),
        ("[]", "is damaged; restore"),
        ('{"created_by": "0.1.0"}', "is damaged; restore"),
        ('{"format": "1", "created_by": "0.1.0"}', "no valid format"),
        ('{"format": 0, "created_by": "0.1.0"}', "no valid format"),
    ],
)
def test_a_marker_that_cannot_be_trusted_is_refused_and_kept(tmp_path: Path, marker: str, message: str) -> None:
    (tmp_path / "lectern.json").write_text(marker)
    (tmp_path / "log.sqlite3").write_bytes(b"records")
    before = content(tmp_path)
    for _ in range(2):  # the lock is given free each time
        with pytest.raises(DataDirectoryError, match=message):
            DataDirectory.open(tmp_path, created_by="0.1.0")
    assert content(tmp_path) == before


def test_a_directory_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataDirectoryError, match="not Lectern's"):
        DataDirectory.open(tmp_path, created_by="0.1.0")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_first_start_that_crashed_can_be_repeated(tmp_path: Path) -> None:
    for name in ("lock", ".lectern.json.new"):
        (tmp_path / name).write_text("")
    (tmp_path / "lost+found").mkdir()
    DataDirectory.open(tmp_path, created_by="0.1.0").close()
    assert json.loads((tmp_path / "lectern.json").read_text())["format"] == 1


def test_a_file_is_not_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataDirectoryError, match="not a directory; choose another --data-dir"):
            DataDirectory.open(path, created_by="0.1.0")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_place_without_permission_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DataDirectoryError, match="Permission denied; choose another --data-dir"):
        DataDirectory.open(tmp_path / "new", created_by="0.1.0")


def test_a_full_disk_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(DataDirectoryError, match="No space left on device"):
            DataDirectory.open(tmp_path, created_by="0.1.0")
    DataDirectory.open(tmp_path, created_by="0.1.0").close()
