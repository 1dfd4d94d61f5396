"""Resolves a pinned pom.xml to a directory of jars, checked against the digests that lie beside it.

A recipe in `pieces` calls `copy_jars`. Maven resolves, the digests decide: a jar more, less or other is an error.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from e2e.testbed.errors import ComponentError
from e2e.testbed.gobuild import Workshop

FILES = ("pom.xml", "jars.sha256")
NEXT_STEP = (
    "install Maven from your distribution (`mvn` in PATH), or set KAFKA_BOOTSTRAP to a broker that you have "
    "(then nothing of it is built)"
)


def find(environment: Mapping[str, str]) -> Path:
    """Return `mvn`; raise ComponentError where there is none."""
    program = shutil.which("mvn", path=environment.get("PATH"))
    if program is None:
        raise ComponentError(f"There is no `mvn` in PATH, which resolves the broker's jars: {NEXT_STEP}.")
    return Path(program)


def copy_jars(workshop: Workshop, directory: Path) -> None:
    """Copy the jars that the pom.xml needs at run time into `directory`, which must not exist."""
    command = [
        "--batch-mode",
        "--no-transfer-progress",
        "--strict-checksums",
        f"--file={workshop.source / 'pom.xml'}",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={directory}",
    ]
    workshop.run(command, "resolve the jars", workshop.environment, _cause, lambda _: "")
    _verify(directory, (workshop.source / "jars.sha256").read_text())


def _verify(directory: Path, listed: str) -> None:
    wanted = {name: digest for digest, name in (line.split() for line in listed.splitlines())}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in directory.iterdir()}
    other = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if other:
        raise ComponentError(
            f"{len(other)} jars differ from jars.sha256, first {other[0]}: restore pom.xml and jars.sha256 from "
            "version control; after a change of versions write the file anew with sha256sum."
        )


def _cause(output: str, status: int) -> str:
    lowered = output.lower()
    if "no space left on device" in lowered:
        return "the disk is full; the jars need 50 MB."
    if "could not transfer" in lowered or "could not find artifact" in lowered or "unknown host" in lowered:
        return "the Maven repository was not reached or lacks a version; check the network and Maven's settings."
    return f"mvn ended with status {status}; the lines below tell the cause."
