import subprocess
from pathlib import Path

import pytest

from tools import tree


def test_files_are_tracked_or_new_but_never_ignored(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True, timeout=30)
    for name in [".gitignore", "kept.py", "new.md", "left.pyc"]:
        (tmp_path / name).write_text("*.pyc\n")
    assert [path.name for path in tree.files(tmp_path)] == [".gitignore", "kept.py", "new.md"]
    assert [path.name for path in tree.files(tmp_path, suffixes=frozenset({".md"}))] == ["new.md"]


def test_outside_a_repository_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(tree.NotARepository, match="run this in a clone"):
        tree.files(tmp_path)
