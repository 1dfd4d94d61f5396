"""Runs one step of tests, and those few that failed once more by themselves: `python -m tools.again STEP pytest…`.

Many tests wait for real brokers, API servers, stores and processes on a machine that may be busy. Up to `MOST_AGAIN`
failures are run again by themselves: what fails again fails the run, what passes is named as unsteady at the end, so
that it is looked at and not forgotten. More failures than that are no accident.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_AGAIN = 3
FAILED_STATUS = 1
"""The exit status of pytest that means: tests ran, and some of them failed."""


@dataclass(frozen=True)
class Run:
    """How one run of pytest ended, and what failed in it."""

    status: int
    failed: tuple[str, ...]


def failed_in(report: Path) -> tuple[str, ...]:
    """Return the tests in a JUnit report that failed or could not be set up, in order, each once."""
    cases = ElementTree.parse(report).getroot().iter("testcase")
    bad = (case for case in cases if case.find("failure") is not None or case.find("error") is not None)
    return tuple(dict.fromkeys(f"{case.get('classname')}::{case.get('name')}" for case in bad))


def run(arguments: Sequence[str], directory: Path) -> Run:
    """Run pytest with these arguments."""
    report = directory / "report.xml"
    report.unlink(missing_ok=True)
    options = ["-q", f"--junit-xml={report}", "-o", "junit_family=xunit1"]  # tests record properties
    command = [sys.executable, "-m", "pytest", *options, *arguments]
    status = subprocess.run(command, check=False).returncode
    return Run(status, failed_in(report) if report.exists() else ())


def main(step: str, arguments: Sequence[str]) -> int:
    """Run pytest with these arguments, and again what failed; return the exit status."""
    with tempfile.TemporaryDirectory() as directory:
        first = run(arguments, Path(directory))
        if first.status != FAILED_STATUS or not 0 < len(first.failed) <= MOST_AGAIN:
            return first.status
        print(f"\n{step}: {len(first.failed)} failed, once more by themselves", flush=True)
        # The last `-n` counts: nothing runs beside them.
        second = run([*arguments, "-n", "0", "--last-failed", "--last-failed-no-failures=none"], Path(directory))
        for name in first.failed:
            print(f"{step}: {'FAILED TWICE' if name in second.failed else 'unsteady'}: {name}", flush=True)
        return second.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
