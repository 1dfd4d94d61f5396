"""The lock script, with a stand-in for uv: what it asks for, in which order, and what it writes."""

import os
import subprocess
from pathlib import Path

import pytest

from tools import tree

NAMES = ["bootstrap", "build", "dev", "operator", "ingest", "worker", "ocr", "query", "tracing", "local"]
UV = """#!/bin/sh
echo "$*" >> "$CALLS"
while [ "$1" != --output-file ]; do shift; done
echo "name==$VERSION --hash=sha256:0" > "$2"
"""


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    (tmp_path / "uv").write_text(UV)
    (tmp_path / "uv").chmod(0o755)
    (tmp_path / "locks").mkdir()
    return tmp_path / "locks"


def lock(locks: Path, *arguments: str, version: str = "1") -> subprocess.CompletedProcess[str]:
    here = locks.parent
    own = {"UV": f"{here}/uv", "CALLS": f"{here}/calls", "LOCKS": str(locks), "VERSION": version, "UPGRADE": ""}
    return subprocess.run(
        ["sh", "tools/lock.sh", *arguments],
        cwd=tree.ROOT,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_locks_are_resolved_with_hashes_and_without_addresses(locks: Path) -> None:
    """The development lock comes before the extras, because it constrains them."""
    assert lock(locks).returncode == 0
    calls = [call.split() for call in (locks.parent / "calls").read_text().splitlines()]
    assert [Path(call[call.index("--output-file") + 1]).stem for call in calls] == NAMES
    for call in calls:
        assert {"--universal", "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links"} <= set(call)
        assert "--upgrade" not in call
    assert ["--constraints" in call for call in calls] == [False] * 3 + [True] * 7


def test_a_lock_that_says_the_same_is_not_touched(locks: Path) -> None:
    """Else make would install everything again."""
    lock(locks)
    for path in locks.iterdir():
        os.utime(path, (0, 0))
    again = lock(locks)
    assert again.stdout == f"lock: {locks} is up to date\n"
    assert {path.stat().st_mtime for path in locks.iterdir()} == {0}


def test_check_shows_the_difference_and_writes_nothing(locks: Path) -> None:
    lock(locks)
    before = {path.name: path.read_text() for path in locks.iterdir()}
    checked = lock(locks, "--check", version="2")
    assert checked.returncode == 1
    assert "+name==2" in checked.stdout
    assert "run make lock" in checked.stderr
    assert {path.name: path.read_text() for path in locks.iterdir()} == before
    assert lock(locks, "--check").returncode == 0
