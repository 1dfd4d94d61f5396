"""The files of this repository, as git sees them: tracked, or new and not ignored.

The checks in this directory walk these instead of the disk, so that environments, caches and a user's own data are
never looked at.
"""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class NotARepository(Exception):
    """The checks need git's list of files and did not get it."""


def files(root: Path = ROOT, *, suffixes: frozenset[str] | None = None) -> list[Path]:
    """List the repository's files under `root`, sorted, absolute; with `suffixes` only those that end so."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise NotARepository(f"git cannot list the files of {root}: {error}; run this in a clone of lectern") from error
    paths = {root / name for name in listing.decode().split("\0") if name}
    return sorted(path for path in paths if path.is_file() and (suffixes is None or path.suffix in suffixes))
