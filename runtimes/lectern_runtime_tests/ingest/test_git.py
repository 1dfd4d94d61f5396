"""The git connector against git's own server: what it lists, fetches and leaves alone, and what it says of trouble."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lectern_contract.errors import ConfigurationError, DocumentError
from lectern_runtime.ingest.connector import Connector, Listed, Means, SourceEmpty, SourceUnavailable, Unlisted
from lectern_runtime.ingest.connectors import git
from lectern_runtime_tests.contracts.connector_contract import Asked, KnownBefore, Seen, seen
from lectern_runtime_tests.ingest.git_world import GitWorld, git_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GitWorld]:
    with git_world(tmp_path) as made:
        yield made


async def look(world: GitWorld, known: KnownBefore | None = None, **changes: object) -> tuple[Seen, dict[str, bytes]]:
    """What a connector lists and, of the documents that changed, reads."""
    connector = world.open(Means(world.clock, Asked()), **changes)
    try:
        found = await seen(connector, known)
        before = known.etags if known is not None else {}
        new = [item for item in found.listed.values() if before.get(item.uri) != item.etag]
        return found, {item.path: (await connector.fetch(item)).data for item in new}
    finally:
        await connector.close()


def fetched_objects(world: GitWorld) -> int:
    """How many fetches the server has answered."""
    return sum(path.endswith("/git-upload-pack") for path in world.server.authorized)


# ----------------------------------------------------------------------------------- what is listed


async def test_files_of_one_folder_are_listed_below_it_with_links_and_submodules_told(world: GitWorld) -> None:
    world.repository.write(
        {"docs/a.md": b"a", "docs/in/run.sh": b"#!/bin/sh\n", "docs/.hidden": b"h", "docs/.d/x.md": b"x", "b.md": b"b"}
    )
    (world.repository.root / "docs/link.md").symlink_to("/etc/passwd")
    (world.repository.root / "docs/in/run.sh").chmod(0o755)
    head = world.repository.write({})
    world.repository.git("update-index", "--add", "--cacheinfo", f"160000,{head},docs/module")
    world.repository.git("commit", "--quiet", "--message=module")
    found, read = await look(world.with_source(path="docs"))
    assert read == {"a.md": b"a", "in/run.sh": b"#!/bin/sh\n"}
    assert [item for item in found.items if isinstance(item, Unlisted)] == [
        Unlisted("link.md", "NotAFile", "it is a link, which is not followed; exclude it"),
        Unlisted("module", "NotAFile", "it is a submodule, which is not followed; exclude it"),
    ]


async def test_a_name_that_is_no_unicode_is_told_and_the_rest_is_read(world: GitWorld) -> None:
    world.repository.write({"a.md": b"a"})
    world.repository.write({os.fsdecode(b"\xff.md"): b"x"})
    found, read = await look(world)
    assert read == {"a.md": b"a"}
    assert Unlisted("\\xff.md", "NameNotUnicode", "rename it to UTF-8") in found.items


@pytest.mark.parametrize("ref", ["side", "v1", "v2", "refs/heads/side", "commit"])
async def test_a_ref_is_a_branch_a_tag_or_a_commit(world: GitWorld, ref: str) -> None:
    world.repository.git("switch", "--quiet", "--create", "side")
    commit = world.repository.write({"a.md": b"side"})
    world.repository.git("tag", "v1")
    world.repository.git("tag", "--annotate", "--message=two", "v2")
    world.repository.git("switch", "--quiet", "main")
    world.repository.write({"a.md": b"main"})
    _, read = await look(world.with_source(ref=commit if ref == "commit" else ref))
    assert read == {"a.md": b"side"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ref": "absent"}, r"no branch or tag 'absent'; correct spec\.git\.ref"),
        ({"ref": "1" * 40}, r"does not give the commit 1{40}; correct spec\.git\.ref"),
        ({"path": "absent"}, r"the folder 'absent' is not there in this commit; correct spec\.git\.path"),
        ({"path": "a.md"}, r"the folder 'a\.md' is a file and no folder"),
        ({"url": "https://localhost:1/x.git"}, r"the remote cannot be reached or broke off .*; see that it runs"),
    ],
)
async def test_what_is_not_there_is_told_with_the_next_step(
    world: GitWorld, changes: dict[str, str], message: str
) -> None:
    world.repository.write({"a.md": b"a"})
    with pytest.raises(SourceUnavailable, match=message) as caught:
        await look(world.with_source(**changes))
    assert not isinstance(caught.value, SourceEmpty)


@pytest.mark.parametrize("ref", ["--upload-pack=x", "a:refs/heads/b", "a..b", "a b", "^a", "a*", "x.lock", "a\nb"])
async def test_a_ref_that_is_no_name_is_never_handed_to_git(world: GitWorld, ref: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is no name of a branch, tag or commit"):
        await look(world.with_source(ref=ref))
    assert world.server.asked == []


async def test_a_repository_without_a_commit_is_unavailable_and_one_without_files_is_empty(world: GitWorld) -> None:
    bare = world.repository.root.parent / "new"
    bare.mkdir()
    world.repository.git("init", "--quiet", str(bare))
    with pytest.raises(SourceUnavailable, match=r"no default branch with a commit"):
        await look(world.with_source(url=world.server.url("new")))
    with pytest.raises(SourceEmpty, match=r"commit any file there"):
        await look(world)


async def test_an_absent_repository_is_told(world: GitWorld) -> None:
    with pytest.raises(SourceUnavailable, match=r"no repository that this user may read; correct spec\.git\.url"):
        await look(world.with_source(url=world.server.url("absent")))


# ----------------------------------------------------------------------------------- what is fetched


async def test_an_unmoved_ref_costs_one_exchange_and_a_moved_one_brings_the_changed_file_only(world: GitWorld) -> None:
    world.repository.write({"a.md": b"a" * 1000, "b.md": b"b" * 1000, "c/d.md": b"d"})
    first, read = await look(world)
    assert sorted(read) == ["a.md", "b.md", "c/d.md"]
    before = world.server.exchanges
    again, read = await look(world, first.known)
    assert (again.items, again.listing.whole, read, world.server.exchanges - before) == ([], False, {}, 1)
    world.repository.write({"b.md": b"B", "c/d.md": None, "c/e.md": b"d"}, "rename and change")
    packs = fetched_objects(world)
    second, read = await look(world, KnownBefore(first.known.cursor, {**first.known.etags}))
    assert second.listing.whole
    assert read == {"b.md": b"B", "c/e.md": b"d"}
    assert sorted(second.listed) == ["a.md", "b.md", "c/e.md"]
    assert fetched_objects(world) - packs <= 4, "refs, folders and one group of files, one of them is here already"


async def test_a_commit_that_only_removes_brings_no_file(world: GitWorld) -> None:
    world.repository.write({"a.md": b"a", "b.md": b"b"})
    first, _ = await look(world)
    world.repository.write({"b.md": None})
    before = world.server.exchanges
    second, read = await look(world, first.known)
    assert (list(second.listed), read, world.server.exchanges - before) == (["a.md"], {}, 2)


async def test_only_what_the_globs_and_media_types_ask_for_is_fetched_before_it_is_asked_for(world: GitWorld) -> None:
    world.repository.write({"a.md": b"a", "no.md": b"n", "picture.png": b"p"})
    connector = git.GitConnector(world.settings(exclude=("no.md",)), Means(world.clock, Asked()))
    try:
        listed = (await seen(connector)).listed
        before = world.server.exchanges
        assert (await connector.fetch(listed["a.md"])).data == b"a"
        assert world.server.exchanges == before
        assert (await connector.fetch(listed["picture.png"])).data == b"p"
        assert world.server.exchanges == before + 1
    finally:
        await connector.close()


async def test_many_files_come_in_few_exchanges_and_old_groups_leave_the_disk(
    world: GitWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "GROUP", 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    world.repository.write({f"{number:02}.md": f"{number}".encode() for number in range(50)})
    connector = world.open(Means(world.clock, Asked()))
    try:
        items = [item async for item in (await connector.list(KnownBefore())).items if isinstance(item, Listed)]
        assert world.server.exchanges == 2 + 5
        assert groups(tmp_path) == 3
        read = [(await connector.fetch(items[number])).data for number in (49, 0, 48, 40)]
        assert read == [b"49", b"0", b"48", b"40"]
        assert groups(tmp_path) == 3
    finally:
        await connector.close()
    assert left(tmp_path) == 0


async def test_a_file_over_the_bound_fails_alone_and_is_not_brought_here_whole(
    world: GitWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lectern_runtime.ingest.repository.blobs.GROUP_BYTES", 1 << 20)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    world.repository.write({"a.md": b"a", "big.md": os.urandom(20 << 20), "c.md": b"c"})
    connector = world.open(Means(world.clock, Asked()))
    try:
        listed = (await seen(connector)).listed
        with pytest.raises(DocumentError) as caught:
            await connector.fetch(listed["big.md"])
        assert caught.value.reason == "TooLarge"
        assert (await connector.fetch(listed["a.md"])).data + (await connector.fetch(listed["c.md"])).data == b"ac"
        assert left(tmp_path) < 4 << 20
    finally:
        await connector.close()


async def test_a_pointer_of_git_lfs_is_told(world: GitWorld) -> None:
    world.repository.write({"a.md": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"})
    with pytest.raises(DocumentError, match=r"its bytes lie in Git LFS") as caught:
        await look(world)
    assert caught.value.reason == "InLfs"


async def test_a_forced_push_is_read_as_it_is_now(world: GitWorld) -> None:
    base = world.repository.git("rev-parse", "HEAD")
    world.repository.write({"a.md": b"a", "b.md": b"b"})
    first, _ = await look(world)
    world.repository.git("reset", "--quiet", "--hard", base)
    world.repository.write({"b.md": b"b", "c.md": b"c"})
    second, read = await look(world, first.known)
    assert sorted(second.listed) == ["b.md", "c.md"]
    assert read == {"c.md": b"c"}


async def test_a_document_that_failed_before_is_found_by_its_path(world: GitWorld) -> None:
    world.repository.write({"docs/a.md": b"a"})
    narrowed = world.with_source(path="docs")
    connector = narrowed.open(Means(world.clock, Asked()))
    try:
        assert (await connector.fetch(Listed("a.md", "a.md", "", None))).data == b"a"
        with pytest.raises(DocumentError, match="removed after it was listed"):
            await connector.fetch(Listed("gone.md", "gone.md", "", None))
    finally:
        await connector.close()


async def test_a_server_without_partial_clones_is_read_whole(world: GitWorld) -> None:
    world.repository.git("config", "uploadpack.allowFilter", "false")
    world.repository.write({"a.md": b"a", "large.md": b"x" * (world.max_bytes + 1)})
    connector = world.open(Means(world.clock, Asked()))
    try:
        listed = (await seen(connector)).listed
        assert (await connector.fetch(listed["a.md"])).data == b"a"
        with pytest.raises(DocumentError, match="more than 100000 bytes"):
            await connector.fetch(listed["large.md"])
        assert world.server.exchanges == 2
    finally:
        await connector.close()


# ------------------------------------------------------------------------------------------- trouble


async def test_a_passing_fault_is_asked_again(world: GitWorld) -> None:
    world.repository.write({"a.md": b"a"})
    world.server.failures[:] = [503, 429]
    _, read = await look(world)
    assert read == {"a.md": b"a"}


async def test_a_remote_that_does_not_answer_is_given_up_in_time(world: GitWorld) -> None:
    world.server.hang = threading.Event()
    with pytest.raises(SourceUnavailable, match=r"did not end its answer in 1 s; see its load"):
        await look(world, seconds=1.0)


async def test_a_listing_that_is_cancelled_leaves_no_program_and_no_file(
    world: GitWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    world.server.hang = threading.Event()
    connector: Connector = world.open(Means(world.clock, Asked()))
    listing = asyncio.create_task(seen(connector))
    await asyncio.to_thread(world.server.hanging.wait, 20)
    assert programs(tmp_path)
    listing.cancel()
    await asyncio.wait({listing}, timeout=10)
    assert listing.done(), "nothing waits for a program that nobody needs"
    await connector.close()
    assert programs(tmp_path) == []
    assert left(tmp_path) == 0


def groups(folder: Path) -> int:
    """How many groups of files lie below `folder`."""
    return len(list(folder.glob("lectern-git-*/commit-*/blobs/*")))


def left(folder: Path) -> int:
    """How many bytes a connector keeps below `folder`; 0 only where it keeps not even a directory."""
    return sum(1 + path.stat().st_size * path.is_file() for path in folder.rglob("lectern-git-*/**/*"))


def programs(folder: Path) -> list[str]:
    """The running programs whose home lies below `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"HOME={folder}/lectern-git-".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode())
        except OSError:
            continue  # it ended, or is another user's
    return found
