"""The directory connector: what it lists, what it refuses, and what it reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lectern_contract.errors import DocumentError
from lectern_runtime.ingest.connector import Item, Known, Listed, SourceEmpty, SourceUnavailable, Unlisted
from lectern_runtime.ingest.connectors import persistent_volume
from lectern_runtime.ingest.connectors.persistent_volume import PersistentVolume

LATER = 4_000_000_000.0


class Nothing:
    """The first run of a source."""

    cursor = ""

    async def etag(self, uri: str) -> str:
        return ""


NOTHING: Known = Nothing()


def named(uri: str) -> Listed:
    return Listed(uri=uri, path=uri, etag="", size=None)


def volume(root: Path, *, now: float = LATER, max_bytes: int = 1000) -> PersistentVolume:
    return PersistentVolume(root, max_bytes=max_bytes, clock=lambda: now)


async def listing(root: Path, *, now: float = LATER) -> list[Item]:
    listed = await volume(root, now=now).list(NOTHING)
    return [item async for item in listed.items]


async def uris(root: Path) -> list[str]:
    return [item.uri for item in await listing(root)]


async def reason(root: Path, uri: str, **more: int) -> str:
    with pytest.raises(DocumentError) as caught:
        await volume(root, **more).fetch(named(uri))
    return caught.value.reason


async def test_files_come_in_the_order_of_their_paths_and_hidden_ones_not(tmp_path: Path) -> None:
    for name in ("b/x.md", "b.md", "a/y/z.md", "a.md", ".git/config", ".hidden.md", "b/.x", "lost+found/no.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = await uris(tmp_path)
    assert found == ["a.md", "a/y/z.md", "b.md", "b/x.md"]
    assert found == sorted(found)


async def test_no_file_is_lost_between_two_batches_of_the_walk(tmp_path: Path) -> None:
    names = [f"{number:04}.md" for number in range(1000)]
    for name in names:
        (tmp_path / name).touch()
    assert await uris(tmp_path) == names


async def test_an_etag_changes_with_the_bytes_and_with_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("one")
    (first,) = await listing(tmp_path)
    assert [first] == await listing(tmp_path)
    file.write_text("two")
    os.utime(file, (1, 1))
    (second,) = await listing(tmp_path)
    file.write_text("six")
    os.utime(file, (1, 1))  # size and modification time are what they were
    (third,) = await listing(tmp_path)
    assert isinstance(first, Listed)
    assert isinstance(second, Listed)
    assert isinstance(third, Listed)
    assert len({first.etag, second.etag, third.etag}) == 3


async def test_a_file_that_changed_a_moment_ago_has_no_etag(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("one")
    changed = (tmp_path / "a.md").stat().st_mtime
    for now in (changed + 1.0, changed - 100.0):
        (found,) = await listing(tmp_path, now=now)
        assert isinstance(found, Listed)
        assert found.etag == ""


async def test_links_are_read_inside_the_source_and_refused_outside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "..data").mkdir(parents=True)
    (root / "..data" / "real.md").write_text("inside")
    (tmp_path / "secret.md").write_text("outside")
    (root / "good.md").symlink_to("..data/real.md")
    (root / "out.md").symlink_to(tmp_path / "secret.md")
    (root / "up").symlink_to(tmp_path)
    (root / "loop").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "gone.md").symlink_to("nowhere")
    found = {item.uri: item.reason if isinstance(item, Unlisted) else "" for item in await listing(root)}
    assert found == {
        "good.md": "",
        "out.md": "OutsideSource",
        "up": "OutsideSource",
        "self": "BrokenLink",
        "gone.md": "BrokenLink",
    }
    assert (await volume(root).fetch(named("good.md"))).data == b"inside"
    assert await reason(root, "out.md") == "OutsideSource"
    assert await reason(root, "../secret.md") == "OutsideSource"
    assert await reason(root, "up/secret.md") == "OutsideSource"


async def test_odd_names_are_documents_and_undecodable_ones_are_told(tmp_path: Path) -> None:
    for name in ("two\nlines.md", "\u00e9.md", "e\u0301.md", " .md", "-rf.md", 'q"\\.md'):
        (tmp_path / name).write_text(name)
    os.close(os.open(os.fsencode(tmp_path) + b"/bad\xff.md", os.O_CREAT | os.O_WRONLY))
    os.mkdir(os.fsencode(tmp_path) + b"/dir\xff")  # noqa: PTH102 pathlib takes no bytes
    found = await listing(tmp_path)
    told = {item.uri: item.reason for item in found if isinstance(item, Unlisted)}
    assert told == {"bad\\udcff.md": "NameNotUnicode", "dir\\udcff": "NameNotUnicode"}
    for item in found:
        if isinstance(item, Listed):
            assert (await volume(tmp_path).fetch(item)).data == item.uri.encode()
    assert len(found) == 8


async def test_pipes_and_sockets_are_told_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    (found,) = await listing(tmp_path)
    assert found == Unlisted("pipe.md", "NotAFile", "it is a socket, a pipe or a device")
    assert await reason(tmp_path, "pipe.md") == "Unreadable"


async def test_a_missing_root_and_an_empty_one_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="not-there cannot be listed"):
        await listing(tmp_path / "not-there")
    (tmp_path / "file").touch()
    with pytest.raises(SourceUnavailable, match="Not a directory"):
        await listing(tmp_path / "file")
    empty = tmp_path / "empty"
    (empty / "lost+found").mkdir(parents=True)
    with pytest.raises(SourceEmpty, match="not mounted"):
        await listing(empty)
    (empty / ".keep").touch()
    assert await listing(empty) == []


async def test_a_folder_that_cannot_be_listed_is_told_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "good.md").touch()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("/bad"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    first, second = await listing(tmp_path)
    assert first == Unlisted("bad", "Unlistable", "Permission denied; check its owner and mode")
    assert second.uri == "good.md"


async def test_faults_of_one_file_are_told_by_reason(tmp_path: Path) -> None:
    (tmp_path / "big.md").write_bytes(b"x" * 11)
    assert await reason(tmp_path, "big.md", max_bytes=10) == "TooLarge"
    assert await reason(tmp_path, "gone.md") == "Vanished"


async def test_a_file_that_grows_while_it_is_read_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "log.md"
    file.write_bytes(b"x")
    fstat = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        facts = fstat(descriptor)
        with file.open("ab") as stream:
            stream.write(b"x")
        return facts

    monkeypatch.setattr(os, "fstat", growing)
    assert await reason(tmp_path, "log.md") == "ChangedWhileRead"


def test_a_folder_that_became_a_link_after_its_path_was_found_is_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "source" / "folder", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir(parents=True)
        (folder / "a.md").write_text("text")
    path = str(inside / "a.md")
    assert persistent_volume._read_if_still(path, 100) == b"text"

    (inside / "a.md").unlink()
    inside.rmdir()
    inside.symlink_to(outside)

    assert persistent_volume._read_if_still(path, 100) is None
