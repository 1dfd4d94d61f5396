"""The shell behind the Makefile: what it says when something is missing, and where it stops."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tools import readme_commands, tree

STEPS = str(tree.ROOT / "tools" / "steps.sh")
SETUP = str(tree.ROOT / "tools" / "setup.sh")


def run(command: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_steps_name_each_step_and_end_with_a_summary(tmp_path: Path) -> None:
    make = program(tmp_path / "make", "echo made $2")
    ran = run(["sh", STEPS, str(make), "test", "lint", "unit"], tmp_path)
    assert ran.returncode == 0
    said = re.sub(r"\d+ ?s\b", "N s", ran.stdout).split("\n")
    assert said == [
        "", "== lint", "made lint", "-- lint: ok, N s",
        "", "== unit", "made unit", "-- unit: ok, N s",
        "", "test: passed, 2 steps in N s (lint N s, unit N s)", "",
    ]  # fmt: skip


def test_steps_stop_at_the_first_that_fails(tmp_path: Path) -> None:
    make = program(tmp_path / "make", '[ "$2" != types ]')
    ran = run(["sh", STEPS, str(make), "test", "lint", "types", "unit"], tmp_path)
    assert ran.returncode == 1
    assert "== unit" not in ran.stdout
    assert re.search(r'test: FAILED at "types" after \d+ s \(again: make types\)\n$', ran.stdout)


def test_setup_without_a_new_enough_python_says_what_is_there(tmp_path: Path) -> None:
    for name in ["python3", "python3.11", "python3.12", "python3.13", "python3.14"]:
        program(tmp_path / name, '[ "$1" = --version ] && echo Python 3.9.2; exit 1')
    ran = run(["sh", SETUP, "packages", str(tmp_path / "venv"), "lock"], tmp_path, PATH=f"{tmp_path}:/usr/bin:/bin")
    assert ran.returncode == 2
    assert "no Python 3.11 or newer was found" in ran.stdout
    assert "python3 is Python 3.9.2" in ran.stdout
    assert "next:" in ran.stdout


def test_setup_without_venv_names_the_package_to_install(tmp_path: Path) -> None:
    python = program(tmp_path / "python3", 'case "$2" in *ensurepip*) exit 1;; esac')
    ran = run(["sh", SETUP, "packages", str(tmp_path / "venv"), "lock"], tmp_path, PYTHON=str(python))
    assert ran.returncode == 2
    assert "apt-get install python3-venv" in ran.stdout


def test_setup_refuses_a_python_that_is_not_there(tmp_path: Path) -> None:
    ran = run(["sh", SETUP, "packages", str(tmp_path / "venv"), "lock"], tmp_path, PYTHON=str(tmp_path / "none"))
    assert ran.returncode == 2
    assert "set PYTHON to a Python 3.11 or newer" in ran.stdout


@pytest.mark.parametrize("script", sorted((tree.ROOT / "tools").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_posix_sh(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n")
    assert run(["sh", "-n", str(script)], tree.ROOT).returncode == 0


def test_make_without_a_target_lists_every_documented_one() -> None:
    makefile = (tree.ROOT / "Makefile").read_text()
    ran = run(["make", "--no-print-directory", "MAKEFLAGS="], tree.ROOT)
    listed = set(re.findall(r"^  make ([a-z-]+) ", ran.stdout, flags=re.MULTILINE))
    declared = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", makefile, flags=re.MULTILINE)
    assert declared is not None
    assert listed == set(declared[1].replace("\\\n", " ").split()) == readme_commands.make_targets(makefile)


def test_ci_runs_make_test_and_nothing_else() -> None:
    text = (tree.ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in text
    assert os.access(tree.ROOT / ".ci" / "run", os.X_OK)
    commands = [line for line in text.splitlines() if line and not line.startswith(("#", "set ", "cd ", "echo "))]
    assert commands == ["exec make test"]
