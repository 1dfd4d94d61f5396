"""The testbed's S3 server: it serves, survives what tests do to it, and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from e2e.adapter_tests import s3_world
from e2e.testbed import build, pieces
from e2e.testbed.errors import MissingComponent, StartFailed
from e2e.testbed.s3 import Keys, s3


@pytest.mark.integration
async def test_objects_survive_a_kill(tmp_path: Path) -> None:
    with s3() as server:
        bucket = await s3_world.bucket(server, tmp_path)
        await bucket.put("kept", b"x")
        server.kill()
        server.start()
        assert await bucket.keys() == ["kept"]


@pytest.mark.integration
def test_nothing_is_left_of_a_server_and_two_do_not_meet() -> None:
    with s3() as one, s3(tls=True) as other:
        assert one.url != other.url
        assert other.ca is not None
        homes = [one.directory, other.directory]
        assert one.owner.secret_access_key not in repr(one)
    assert not [home for home in homes if home is not None and home.exists()]


@pytest.mark.integration
def test_a_server_that_does_not_start_is_told_with_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("e2e.testbed.s3.MEMORY", tmp_path)
    monkeypatch.setattr("e2e.testbed.s3._program", lambda: "/bin/false")
    with pytest.raises(StartFailed, match="s3 ended with status 1 while starting"), s3():
        pass
    assert [path.name for path in tmp_path.glob("*/s3.log")] == ["s3.log"]  # kept, for whoever looks for the cause


def test_a_server_that_is_there_is_used_and_never_touched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("S3_URL", "http://s3.test:9000")
    with pytest.raises(MissingComponent, match="S3_URL is set and S3_ACCESS_KEY_ID is not"), s3():
        pass
    monkeypatch.setenv("S3_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "secret")
    with s3() as server:
        assert (server.url, server.owner) == ("http://s3.test:9000", Keys("id", "secret"))
        for use in (server.start, server.kill, server.pause, lambda: server.buckets, lambda: server.outsider):
            with pytest.raises(MissingComponent, match="unset it for this test"):
                use()
    assert pieces.S3 not in build._wanted(os.environ)
    assert "s3: given by S3_URL at http://s3.test:9000" in capsys.readouterr().out
