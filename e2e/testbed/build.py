"""Builds what the testbed needs from pinned manifests: `python -m e2e.testbed.build [--print-missing]`.

Each piece goes from its manifest into a directory of the cache named by the manifest's hash, so a second run says
`cached` and does nothing. `make test` calls this before the integration tests. Exit status 2 means that something
is missing on this machine, and the message names it.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from e2e.testbed import cache, gobuild, java, pieces
from e2e.testbed.errors import ComponentError

WAIT_FOR_OTHER_BUILD_SECONDS = 3600.0
GIGABYTE = 1_000_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is missing and return the exit status (0 done, 1 something missing with --print-missing, 2 error)."""
    parser = argparse.ArgumentParser(prog=pieces.BUILD_COMMAND, description="Build the testbed's components once.")
    parser.add_argument("--print-missing", action="store_true", help="say what would be built and why; build nothing")
    options = parser.parse_args(arguments)
    try:
        if options.print_missing:
            return _print_missing(os.environ)
        for piece in _wanted(os.environ):
            ensure(piece, os.environ, _say)
            if piece is pieces.KAFKA:  # not part of the piece: the runtime may go while the jars stay
                java.ensure(os.environ, _say)
    except ComponentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: what was compiled is kept for the next build", file=sys.stderr)
        return 130
    return 0


def ensure(piece: pieces.Piece, environment: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """Return the directory of `piece`, building it first where it is not in the cache."""
    root = cache.root(environment)
    place = piece.place(root)
    if not place.missing:
        say(f"{piece.name}: cached in {place.directory}")
        return place.directory
    _make_root(root)

    def waiting() -> None:
        say(f"{piece.name}: another process is building it; waiting")

    with cache.lock(place.directory.with_suffix(".lock"), waiting, WAIT_FOR_OTHER_BUILD_SECONDS):
        if piece.place(root).missing:
            _build(piece, place, environment, say)
        else:
            say(f"{piece.name}: cached in {place.directory} by the other build")
    return place.directory


def _build(piece: pieces.Piece, place: cache.Place, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    say(f"{piece.name}: building {piece.purpose}.")
    say(f"  why: {place.directory} does not exist yet (first use, or the manifest changed)")
    say(f"  time: about {piece.about}; kept outside the repository")
    _check_disk(piece, place.directory.parent)
    start = time.monotonic()
    tool = _tool(piece, place.directory.parent, environment, say)
    with cache.filled_atomically(place.directory) as target, tempfile.TemporaryDirectory() as source:
        for file in piece.files:  # a copy: the tool may touch the files, the committed ones never change
            shutil.copyfile(piece.manifest / file, Path(source) / file)
        log = place.directory.with_suffix(".log")
        log.write_bytes(b"")
        piece.make(gobuild.Workshop(tool, Path(source), target, log, environment, say))
        absent = [output for output in piece.outputs if not (target / output).exists()]
        if absent:
            raise ComponentError(f"The recipe of {piece.name} made no {', '.join(absent)}; see {log}.")
    say(f"{piece.name}: built in {gobuild.elapsed(time.monotonic() - start)} into {place.directory}")


def _tool(piece: pieces.Piece, cache_root: Path, environment: Mapping[str, str], say: Callable[[str], None]) -> Path:
    from e2e.testbed import go_toolchain, maven, redis_packages  # late: `cached` must not pay for their imports

    if piece.files == maven.FILES:
        return maven.find(environment)
    if piece.files == redis_packages.FILES:
        return redis_packages.find(environment)
    return go_toolchain.find(piece.manifest, cache_root, environment, say)


def _wanted(environment: Mapping[str, str]) -> list[pieces.Piece]:
    wanted = list(pieces.PIECES)
    if environment.get("KUBEBUILDER_ASSETS"):
        _say(f"controlplane, scheduler: given by KUBEBUILDER_ASSETS in {pieces.binaries(environment)}")
        wanted.remove(pieces.CONTROL_PLANE)
        wanted.remove(pieces.SCHEDULER)
    if environment.get("KAFKA_BOOTSTRAP"):
        _say(f"kafka: given by KAFKA_BOOTSTRAP at {environment['KAFKA_BOOTSTRAP']}")
        wanted.remove(pieces.KAFKA)
    if environment.get("REDIS_URL"):
        _say("redis: given by REDIS_URL")  # the address may carry a password
        wanted.remove(pieces.REDIS)
    if environment.get("S3_URL"):
        _say(f"s3: given by S3_URL at {environment['S3_URL']}")
        wanted.remove(pieces.S3)
    return wanted


def _print_missing(environment: Mapping[str, str]) -> int:
    root = cache.root(environment)
    missing = [piece for piece in _wanted(environment) if piece.place(root).missing]
    for piece in missing:
        _say(f"{piece.name}: {piece.purpose}; about {piece.about}")
    return 1 if missing else 0


def _make_root(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ComponentError(
            f"The cache directory {root} cannot be made ({error.strerror}); set XDG_CACHE_HOME to a writable place."
        ) from error


def _check_disk(piece: pieces.Piece, root: Path) -> None:
    free = shutil.disk_usage(root).free
    if free < piece.free_disk_gigabytes * GIGABYTE:
        raise ComponentError(
            f"Building {piece.name} needs about {piece.free_disk_gigabytes} GB of disk and {root} has "
            f"{free / GIGABYTE:.1f} GB free; free some or set XDG_CACHE_HOME to another disk."
        )


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
