"""The testbed's Redis: it serves, survives what tests do to it, and leaves nothing behind; its packages are checked."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from e2e.testbed import build, pieces, redis_packages
from e2e.testbed.errors import ComponentError, MissingComponent, StartFailed
from e2e.testbed.gobuild import Workshop
from e2e.testbed.redis import Version, redis_server


@pytest.mark.integration
def test_what_an_append_only_server_took_survives_a_kill() -> None:
    with redis_server(append_only="always") as server:
        with server.owner() as owner:
            owner.set("kept", "x")
        server.kill()
        server.start()
        with server.owner() as owner:
            assert owner.get("kept") == b"x"


@pytest.mark.integration
def test_one_release_has_vector_sets_and_the_other_has_none() -> None:
    releases, known = [], []
    versions: tuple[Version, ...] = ("7", "8")
    for version in versions:
        with redis_server(version) as server, server.owner() as owner:
            releases.append(str(owner.info("server")["redis_version"]).partition(".")[0])
            known.append(bool([each for each in owner.command_list() if bytes(each).lower() == b"vsim"]))
    assert (releases, known) == (["7", "8"], [False, True])


@pytest.mark.integration
def test_nothing_is_left_of_a_server_and_two_do_not_meet() -> None:
    with redis_server(password=True) as one, redis_server(tls=True) as other:
        assert one.url != other.url
        assert other.url.startswith("rediss://")
        homes = [one.directory, other.directory]
        assert one.password is not None
        assert one.password not in repr(one)
    assert not [home for home in homes if home is not None and home.exists()]


@pytest.mark.integration
def test_a_server_that_does_not_start_is_told_with_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("e2e.testbed.redis.MEMORY", tmp_path)
    with pytest.raises(StartFailed, match="no-such-setting"), redis_server(lines=["no-such-setting 1"]):
        pass
    assert [path.name for path in tmp_path.glob("*/redis.log")] == [
        "redis.log"
    ]  # kept, for whoever looks for the cause


def test_a_server_that_is_there_is_used_and_never_touched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://{'me'}:{'s%23cret'}@redis.test:6379/1")
    with redis_server() as server:
        assert (server.url, server.username, server.password) == ("redis://redis.test:6379/1", "me", "s#cret")
        for use in (server.start, server.kill, server.pause, server.stop):
            with pytest.raises(MissingComponent, match="unset it"):
                use()
    assert pieces.REDIS not in build._wanted(os.environ)
    assert "s%23cret" not in capsys.readouterr().out


def test_a_machine_without_apt_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match=r"there is no apt-config, apt-get, dpkg-deb, gpgv.*set REDIS_URL"):
        redis_packages.find({"PATH": str(tmp_path)})


@pytest.mark.parametrize(
    ("version", "content", "refused"), [("1.0", b"other", True), ("1.0", b"pinned", False), ("1.1", b"other", False)]
)
def test_a_pinned_version_has_its_digest_and_a_successor_is_told(
    tmp_path: Path, version: str, content: bytes, refused: bool
) -> None:
    said: list[str] = []
    workshop = Workshop(Path("apt-get"), tmp_path, tmp_path, tmp_path / "log", {}, said.append)
    file = tmp_path / f"libx_1%3a{version}_amd64.deb"
    file.write_bytes(content)
    pin = redis_packages.Pin("trixie", "amd64", "libx", "1:1.0", _digest(b"pinned"))
    if refused:
        with pytest.raises(ComponentError, match=r"libx 1:1\.0 has not the digest"):
            redis_packages._checked(workshop, file, pin)
        return
    line = redis_packages._checked(workshop, file, pin)
    assert line == f"trixie amd64 libx 1:{version} {_digest(content)}"
    moved = "  trixie has replaced libx 1:1.0 by 1:1.1 (signed by Debian): taken"
    assert said == ([moved] if version == "1.1" else [])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
