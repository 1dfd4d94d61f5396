"""Clients made of files: one at a time, made anew when a file changes, closed when nobody uses them any more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lectern_contract.errors import DependencyError
from lectern_runtime.adapters.renewed import Credentials, Renewed, shown


class World:
    """Which clients were made, by their key, and which are closed."""

    def __init__(self, key: Path | None, ca: Path | None = None, *, encrypted: bool = False) -> None:
        self.closed: list[str | None] = []
        self.renewed: Renewed[str | None] = Renewed(
            lambda credentials: credentials.key,
            self._close,
            dependency="vector-store",
            key_file=str(key) if key else None,
            ca_file=str(ca) if ca else None,
            encrypted=encrypted,
        )

    async def _close(self, client: str | None) -> None:
        self.closed.append(client)

    async def used(self) -> str | None:
        async with self.renewed.client() as client:
            return client


def replaced(path: Path, text: str) -> None:
    """Put another file in the path's place, as Kubernetes renews a Secret."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


async def test_a_client_is_kept_while_its_files_are_the_same(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(" first\n")
    world = World(key)
    assert [await world.used() for _ in range(3)] == ["first"] * 3
    await world.renewed.close()
    await world.renewed.close()
    assert world.closed == ["first"]


async def test_a_call_ends_with_the_client_that_it_began_with(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("first")
    world = World(key)
    async with world.renewed.client() as before, world.renewed.client():
        replaced(key, "second")
        assert (before, await world.used(), world.closed) == ("first", "second", [])
    assert world.closed == ["first"]
    await world.renewed.close()
    assert world.closed == ["first", "second"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"", "is empty"), (b" \n", "is empty"), (b"\xff", "not plain ASCII")],
)
async def test_a_key_file_that_holds_no_key_is_named_and_read_again(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_bytes(content)
    world = World(key)
    with pytest.raises(DependencyError, match=f"key: .*{words}") as caught:
        await world.used()
    assert caught.value.dependency == "vector-store"
    replaced(key, "right")
    assert await world.used() == "right"


@pytest.mark.parametrize(
    "content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
async def test_an_authority_that_is_none_is_never_replaced_by_the_systems(tmp_path: Path, content: str) -> None:
    ca = tmp_path / "ca"
    ca.write_text(content)
    with pytest.raises(DependencyError, match="ca: it"):
        await World(None, ca, encrypted=True).used()


async def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("first")
    world, before = World(key), key.stat()
    assert await world.used() == "first"
    key.write_text("other")
    os.utime(key, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await world.used() == "first"


def test_credentials_do_not_show_themselves() -> None:
    import ssl

    assert "hunter2" not in repr(Credentials("hunter2", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)))
    url = "https://user:hunter2@host:6333/path"  # secret-scan: allow, it must not be told
    assert shown(url) == "https://host:6333/path"
