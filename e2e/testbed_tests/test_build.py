import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.testbed import build, cache, gobuild, pieces
from e2e.testbed.errors import ComponentError
from e2e.testbed.gobuild import Workshop
from e2e.testbed.pieces import Piece

Environment = dict[str, str]


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Offer a cache of its own and a `go` that says it is 1.30 and fails at everything else."""
    program(tmp_path / "bin" / "go", '[ "$1" = env ] && { echo go1.30.1; exit; }; echo "$GO_SAYS"; exit 1')
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}


@pytest.fixture
def piece(tmp_path: Path) -> Piece:
    manifest = tmp_path / "manifest"
    manifest.mkdir()
    (manifest / "go.mod").write_text("module example\n\ngo 1.26.0\n")
    (manifest / "go.sum").write_text("")
    return Piece(
        name="example",
        manifest=manifest,
        recipe="1",
        outputs=("made",),
        purpose="an example",
        about="no time",
        free_disk_gigabytes=0,
        make=lambda workshop: (workshop.target / "made").touch(),
    )


def quiet(_: str) -> None:
    """Say nothing."""


def counted(make: Callable[[Workshop], None], calls: list[Path]) -> Callable[[Workshop], None]:
    def counting(workshop: Workshop) -> None:
        calls.append(workshop.target)
        make(workshop)

    return counting


def test_piece_is_built_once_and_then_cached(piece: Piece, environment: Environment) -> None:
    lines: list[str] = []
    first = build.ensure(piece, environment, lines.append)
    assert (first / "made").exists()
    assert "building an example" in lines[0]
    assert "does not exist yet" in lines[1]
    assert "about no time" in lines[2]
    lines.clear()
    assert build.ensure(piece, environment, lines.append) == first
    assert lines == [f"example: cached in {first}"]


@pytest.mark.parametrize("file", ["go.mod", "go.sum"])
def test_changed_manifest_is_built_anew(piece: Piece, environment: Environment, file: str) -> None:
    first = build.ensure(piece, environment, quiet)
    with (piece.manifest / file).open("a") as manifest:
        manifest.write("// changed\n")
    assert build.ensure(piece, environment, quiet) != first


def test_changed_recipe_is_built_anew(piece: Piece, environment: Environment) -> None:
    first = build.ensure(piece, environment, quiet)
    assert build.ensure(replace(piece, recipe="2"), environment, quiet) != first


def test_failed_build_leaves_nothing_that_looks_built(piece: Piece, environment: Environment) -> None:
    def half(workshop: Workshop) -> None:
        (workshop.target / "made").touch()
        raise ComponentError("the rest failed")

    with pytest.raises(ComponentError, match="the rest failed"):
        build.ensure(replace(piece, make=half), environment, quiet)
    place = piece.place(cache.root(environment))
    assert place.missing == ("made",)
    assert [path for path in place.directory.parent.iterdir() if path.is_dir()] == []


def test_recipe_that_makes_too_little_is_refused(piece: Piece, environment: Environment) -> None:
    with pytest.raises(ComponentError, match="recipe of example made no other"):
        build.ensure(replace(piece, outputs=("made", "other")), environment, quiet)


def test_product_with_a_file_removed_by_hand_is_built_again(piece: Piece, environment: Environment) -> None:
    (build.ensure(piece, environment, quiet) / "made").unlink()
    assert (build.ensure(piece, environment, quiet) / "made").exists()


def test_two_builders_build_once(piece: Piece, environment: Environment) -> None:
    calls: list[Path] = []
    entered, release = threading.Event(), threading.Event()

    def slow(workshop: Workshop) -> None:
        entered.set()
        assert release.wait(10)
        piece.make(workshop)

    shared = replace(piece, make=counted(slow, calls))
    lines: list[str] = []
    first = threading.Thread(target=build.ensure, args=(shared, environment, quiet))
    second = threading.Thread(target=build.ensure, args=(shared, environment, waits(lines, release)))
    first.start()
    assert entered.wait(10)
    second.start()
    for thread in (first, second):
        thread.join(10)
        assert not thread.is_alive()
    assert len(calls) == 1
    assert lines[0] == "example: another process is building it; waiting"
    assert lines[1].endswith("by the other build")


def waits(lines: list[str], release: threading.Event) -> Callable[[str], None]:
    """Let the first builder go on as soon as the second one says that it waits."""

    def say(line: str) -> None:
        lines.append(line)
        release.set()

    return say


def test_builder_that_hangs_is_named_after_a_time(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with (
        cache.lock(path, lambda: None, 1),
        pytest.raises(ComponentError, match=r"Another build has held .*x\.lock"),
        cache.lock(path, lambda: None, 0),
    ):
        pytest.fail("two builders at once")


def test_too_little_disk_is_told(piece: Piece, environment: Environment) -> None:
    with pytest.raises(ComponentError, match=r"needs about 1000000 GB of disk .* set XDG_CACHE_HOME"):
        build.ensure(replace(piece, free_disk_gigabytes=1_000_000), environment, quiet)


def test_unusable_cache_directory_is_told(piece: Piece, environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment["XDG_CACHE_HOME"] = str(tmp_path / "file")
    with pytest.raises(ComponentError, match=r"cannot be made .* set XDG_CACHE_HOME to a writable place"):
        build.ensure(piece, environment, quiet)


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("write /tmp/x: no space left on device", "the disk is full"),
        ("dial tcp: lookup example on 127.0.0.1:53: no such host", "the Go module proxy was not reached"),
        ("verifying module: checksum mismatch", "differs from the pinned go.sum"),
        ("compile: signal: killed", "for want of memory"),
        ("x.go:1: syntax error", "go ended with status 1"),
    ],
)
def test_failed_compilation_tells_cause_and_log(
    piece: Piece, environment: Environment, output: str, sentence: str
) -> None:
    environment["GO_SAYS"] = output
    compiling = replace(piece, make=lambda workshop: workshop.go_build("-s", "out", "example.com/cmd/thing"))
    with pytest.raises(ComponentError) as caught:
        build.ensure(compiling, environment, quiet)
    assert "Could not compile thing" in str(caught.value)
    assert sentence in str(caught.value)
    assert output in str(caught.value)
    assert piece.place(cache.root(environment)).directory.with_suffix(".log").exists()


def test_interrupted_compilation_ends_the_compiler(
    piece: Piece, environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin" / "go", '[ "$1" = env ] && { echo go1.30.1; exit; }; echo $$ >pid; exec sleep 60')
    source: list[Path] = []
    compilers: list[int] = []

    def interrupt(_: float) -> None:
        if (source[0] / "pid").exists() and (text := (source[0] / "pid").read_text().strip()):
            compilers.append(int(text))
            raise KeyboardInterrupt

    def compile_(workshop: Workshop) -> None:
        source.append(workshop.source)
        workshop.go_build("-s", "out", "example.com/cmd/thing")

    monkeypatch.setattr(gobuild, "time", _Clock(interrupt))
    with pytest.raises(KeyboardInterrupt):
        build.ensure(replace(piece, make=compile_), environment, quiet)
    assert piece.place(cache.root(environment)).missing == ("made",)
    with pytest.raises(ProcessLookupError):
        os.kill(compilers[0], 0)


class _Clock:
    """The two functions of `time` that a build uses; `sleep` is the test's."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self.sleep = sleep
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 0.001
        return self._now


def test_assets_given_by_the_user_are_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in pieces.ASSETS:
        (tmp_path / name).touch()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert build.main(["--print-missing"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"controlplane, scheduler: given by KUBEBUILDER_ASSETS in {tmp_path}"
    assert [line.split(":")[0] for line in lines[1:]] == [
        piece.name for piece in pieces.PIECES if piece not in (pieces.CONTROL_PLANE, pieces.SCHEDULER)
    ]


def test_error_is_one_sentence_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert build.main([]) == 2
    assert capsys.readouterr().err.startswith(f"error: KUBEBUILDER_ASSETS={tmp_path} lacks etcd, kube-apiserver")


@pytest.mark.parametrize("piece", pieces.PIECES, ids=lambda piece: piece.name)
def test_manifest_is_pinned_and_names_no_registry(piece: Piece) -> None:
    text = "".join((piece.manifest / file).read_text() for file in piece.files)
    assert "://" not in text
    assert not [line for line in text.splitlines() if "latest" in line]


def test_the_scheduler_is_of_the_modules_of_the_control_plane() -> None:
    def sums(piece: Piece) -> set[str]:
        return set((piece.manifest / "go.sum").read_text().splitlines())

    def replaced(piece: Piece) -> list[str]:
        return [line for line in (piece.manifest / "go.mod").read_text().splitlines() if " => " in line]

    assert sums(pieces.SCHEDULER) <= sums(pieces.CONTROL_PLANE)
    assert replaced(pieces.SCHEDULER) == replaced(pieces.CONTROL_PLANE)


def test_pieces_are_in_order_and_named_once() -> None:
    names = [piece.name for piece in pieces.PIECES]
    assert names == sorted(set(names))
