"""The pages of a documentation in two of its versions, and the changes that lead from one to the other.

Pages are written below a directory as they are; a change is applied to the files as a person would.
"""

from __future__ import annotations

import csv
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.data import DataMissing

BEFORE, AFTER = "2.11", "2.13"
LONG_AGO = 1_600_000_000
"""Modification time of every page, in seconds since 1970 UTC: a page that is younger than two seconds is read again."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the history: status A, D, M or R, the path, and for R where it was before."""

    status: str
    path: str
    old_path: str


def unpack(root: Path, version: str, target: Path, *, most: int | None = None) -> list[str]:
    """Write the pages of a version below `target` and return their paths in order; `most` takes the first ones.

    The archive's own folder, which is the version, is left out of the paths.
    """
    archive = root / "docs-history" / f"{version}.tar.xz"
    if not archive.is_file():
        raise DataMissing(f"{archive} is not there: the test data is incomplete; fetch it again")
    written: list[str] = []
    with tarfile.open(archive, "r:xz") as content:
        for member in sorted((each for each in content if each.isfile()), key=lambda each: each.name):
            name = harmless(member.name.removeprefix(f"{version}/"))
            if most is not None and len(written) >= most:
                break
            stream = content.extractfile(member)
            assert stream is not None
            write(target / name, stream.read())
            written.append(name)
    return written


def changes(root: Path) -> list[Change]:
    """Return the changes from `BEFORE` to `AFTER`."""
    path = root / "docs-history" / "changes.tsv"
    if not path.is_file():
        raise DataMissing(f"{path} is not there: the test data is incomplete; fetch it again")
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Change(row["status"], harmless(row["path"]), harmless(row["old_path"] or "x")) for row in rows]


def apply(found: list[Change], target: Path, after: Path) -> None:
    """Change the pages below `target`, taking what is new or modified from `after`."""
    for each in found:
        if each.status in "DR":
            (target / (each.old_path if each.status == "R" else each.path)).unlink()
        if each.status in "AMR":
            write(target / each.path, (after / each.path).read_bytes())


def same_files(one: Path, other: Path) -> bool:
    """Return whether two directories hold the same files."""
    return _files(one) == _files(other)


def write(path: Path, data: bytes) -> None:
    """Write one page with its time long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (LONG_AGO, LONG_AGO))


def harmless(name: str) -> str:
    """Return the name of an archive or a table as a path below its root; raises `DataMissing` for any other."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataMissing(f"the pages name a file outside of their root: {name!r}; fetch the test data again")
    return str(path)


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
