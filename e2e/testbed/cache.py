"""Turns a pinned manifest into the one directory outside the repository where its product lies.

`build` fills such a directory atomically and under a lock; whoever starts a component asks here where it is.
The name of the directory carries a hash of the manifest and of the recipe, so a change of either builds anew.
"""

import fcntl
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.testbed.errors import ComponentError

LOCK_POLL_SECONDS = 0.5
GO_FILES = ("go.mod", "go.sum")


@dataclass(frozen=True)
class Place:
    """Where the product of one manifest lies, whether or not it is there yet."""

    name: str
    directory: Path
    outputs: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Name the outputs that are not there."""
        return tuple(output for output in self.outputs if not (self.directory / output).exists())


def root(environment: Mapping[str, str]) -> Path:
    """Return the testbed's cache directory, following `XDG_CACHE_HOME`."""
    base = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".cache")
    return Path(base) / "lectern" / "testbed"


def place(
    name: str, manifest: Path, recipe: str, outputs: tuple[str, ...], cache: Path, files: tuple[str, ...] = GO_FILES
) -> Place:
    """Return the place for what `recipe` makes of `files` in the directory `manifest`."""
    digest = hashlib.sha256(recipe.encode())
    for file in files:
        digest.update(b"\0" + file.encode() + b"\0" + (manifest / file).read_bytes())
    return Place(name=name, directory=cache / f"{name}-{digest.hexdigest()[:16]}", outputs=outputs)


@contextmanager
def lock(path: Path, on_wait: Callable[[], None], timeout: float) -> Iterator[None]:
    """Hold the lock file `path`, waiting at most `timeout` seconds for another builder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        _acquire(handle.fileno(), path, on_wait, timeout)
        yield  # closing the file releases the lock, also when this process is killed


def _acquire(descriptor: int, path: Path, on_wait: Callable[[], None], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ComponentError(
                    f"Another build has held {path} for {timeout:.0f} s; look for a process "
                    f"`e2e.testbed.build` that hangs, end it and build again."
                ) from None
            if not told:
                on_wait()
                told = True
            time.sleep(LOCK_POLL_SECONDS)


@contextmanager
def filled_atomically(directory: Path) -> Iterator[Path]:
    """Yield an empty directory beside `directory` and rename it there if the body succeeds.

    A reader sees the finished directory or none; a failed body leaves nothing behind.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if directory.exists():  # incomplete, else nobody would build: outputs were removed by hand
            shutil.rmtree(directory)
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
