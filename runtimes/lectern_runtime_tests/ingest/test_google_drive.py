"""The googleDrive connector against a double of recorded shape: the contract, changes, rights, exports, faults."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lectern_contract.errors import DocumentError
from lectern_runtime.ingest.cloud import folders
from lectern_runtime.ingest.connector import Item, Listed, Means, SourceUnavailable
from lectern_runtime.ingest.connectors.google_drive import GoogleDrive
from lectern_runtime_tests.contracts.connector_contract import Asked, ConnectorContract, KnownBefore, Seen, seen
from lectern_runtime_tests.ingest import drive_server
from lectern_runtime_tests.ingest.drive_server import DOCUMENT, DOCX, ROOT, SHORTCUT
from lectern_runtime_tests.ingest.drive_world import DriveWorld


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[DriveWorld]:
    async with drive_server.serving() as server:
        key_file = tmp_path / "key.json"
        key_file.write_text(server.key_file())
        yield DriveWorld(server=server, key_file=key_file)


@pytest.fixture
async def drive(world: DriveWorld) -> AsyncIterator[GoogleDrive]:
    connector = world.open(Means(world.clock, Asked()))
    yield connector
    await connector.close()


class TestGoogleDrive(ConnectorContract):
    @pytest.fixture
    def source(self, world: DriveWorld) -> DriveWorld:
        return world


def uri(file_id: str) -> str:
    return f"https://drive.google.com/file/d/{file_id}"


def told(found: Seen) -> dict[str, str]:
    """Path by uri, and nothing for what is gone."""
    return {item.uri: item.path if isinstance(item, Listed) else "" for item in found.items if known(item)}


def known(item: Item) -> bool:
    """Whether an item is of a file with bytes: of what is gone every address is named that it could have."""
    return not item.uri.startswith("https://docs.google.com/")


# --------------------------------------------------------------------------------------------- changes


async def test_a_renamed_folder_is_listed_anew_and_everything_else_is_not(
    world: DriveWorld, drive: GoogleDrive
) -> None:
    for path in ("a.md", "old/b.md", "old/in/c.md", "other/d.md"):
        await world.put(path, path.encode())
    first = await seen(drive)
    world.server.edit(world.folders["old"], name="new")
    second = await seen(drive, first.known)
    assert not second.listing.whole
    assert told(second) == {uri(world.files["old/b.md"]): "new/b.md", uri(world.files["old/in/c.md"]): "new/in/c.md"}
    assert (await seen(drive, KnownBefore(second.listing.cursor()))).items == []


async def test_a_folder_that_was_only_touched_brings_nothing(world: DriveWorld, drive: GoogleDrive) -> None:
    await world.put("a/b.md", b"b")
    first = await seen(drive)
    world.server.edit(world.folders["a"])
    world.server.edit(ROOT)
    assert (await seen(drive, first.known)).items == []


async def test_a_file_moved_within_out_of_and_into_the_folder_is_told(world: DriveWorld, drive: GoogleDrive) -> None:
    for path in ("a/one.md", "a/two.md", "b/three.md"):
        await world.put(path, path.encode())
    elsewhere = world.server.folder("elsewhere", "my-drive")
    outside = world.server.file("four.md", b"4", elsewhere)
    first = await seen(drive)
    assert uri(outside) not in told(first)
    world.server.edit(world.files["a/one.md"], parents=[world.folders["b"]])
    world.server.edit(world.files["a/two.md"], parents=[elsewhere])
    world.server.edit(outside, parents=[world.folders["b"]])
    second = await seen(drive, first.known)
    assert not second.listing.whole
    assert told(second) == {
        uri(world.files["a/one.md"]): "b/one.md",
        uri(world.files["a/two.md"]): "",
        uri(outside): "b/four.md",
    }


async def test_a_folder_moved_into_the_folder_brings_all_that_lies_in_it(world: DriveWorld, drive: GoogleDrive) -> None:
    await world.put("a.md", b"a")
    elsewhere = world.server.folder("elsewhere", "my-drive")
    inside = world.server.folder("inside", elsewhere)
    deep = world.server.file("deep.md", b"d", inside)
    first = await seen(drive)
    world.server.edit(elsewhere, parents=[ROOT])
    assert told(await seen(drive, first.known)) == {uri(deep): "elsewhere/inside/deep.md"}


@pytest.mark.parametrize("how", ["removed", "trashed", "moved away"])
async def test_a_folder_that_is_gone_makes_the_run_list_everything(
    world: DriveWorld, drive: GoogleDrive, how: str
) -> None:
    await world.put("a/b.md", b"b")
    await world.put("c.md", b"c")
    first = await seen(drive)
    if how == "removed":
        world.server.remove(world.folders["a"])
    elif how == "trashed":
        world.server.edit(world.folders["a"], trashed=True)
    else:
        world.server.edit(world.folders["a"], parents=["my-drive"])
    second = await seen(drive, first.known)
    assert second.listing.whole
    assert list(second.listed) == ["c.md"]


async def test_a_trashed_file_is_gone(world: DriveWorld, drive: GoogleDrive) -> None:
    await world.put("a.md", b"a")
    await world.put("b.md", b"b")
    first = await seen(drive)
    world.server.edit(world.files["a.md"], trashed=True)
    second = await seen(drive, first.known)
    assert (told(second), second.listing.whole) == ({uri(world.files["a.md"]): ""}, False)


async def test_a_cursor_that_the_vendor_forgot_makes_the_run_list_everything(
    world: DriveWorld, drive: GoogleDrive
) -> None:
    await world.put("a.md", b"a")
    first = await seen(drive)
    await world.put("b.md", b"b")
    world.server.oldest = len(world.server.log)
    for cursor in (first.listing.cursor(), "no cursor of ours", '{"token": "99999", "folders": ""}'):
        found = await seen(drive, KnownBefore(cursor))
        assert (found.listing.whole, sorted(found.listed)) == (True, ["a.md", "b.md"])


async def test_where_folders_are_too_many_to_remember_a_changed_one_makes_the_run_list_everything(
    world: DriveWorld, drive: GoogleDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "MAX_FOLDERS", 1)
    await world.put("a/b.md", b"b")
    first = await seen(drive)
    await world.put("a/b.md", b"B")
    second = await seen(drive, first.known)
    assert second.listing.whole, "even who may read the root is no longer known"


async def test_a_change_during_the_first_listing_is_told_by_the_second(world: DriveWorld, drive: GoogleDrive) -> None:
    await world.put("a.md", b"a")
    listing = await drive.list(KnownBefore())
    await world.put("late.md", b"l")
    items = [item async for item in listing.items]
    second = await seen(drive, KnownBefore(listing.cursor()))
    assert "late.md" in {item.path for item in (*items, *second.items) if isinstance(item, Listed)}
    assert uri(world.files["late.md"]) in told(second)


# ---------------------------------------------------------------------------------------------- rights


async def test_a_file_is_restricted_where_it_or_a_folder_above_does_not_inherit_or_lacks_a_reader(
    world: DriveWorld, drive: GoogleDrive
) -> None:
    server = world.server
    closed = server.folder("closed", inheritedPermissionsDisabled=True)
    server.file("in.md", b"1", server.folder("below", closed))
    server.file("open.md", b"2", permissionIds=["all", "more"])
    server.file("narrow.md", b"3", permissionIds=["some"])
    server.file("untold.md", b"4", permissionIds=[])
    first = await seen(drive)
    assert {path: item.restricted for path, item in first.listed.items()} == {
        "closed/below/in.md": True,
        "open.md": False,
        "narrow.md": True,
        "untold.md": False,
    }
    server.edit(closed, inheritedPermissionsDisabled=False)
    second = await seen(drive, first.known)
    assert {path: item.restricted for path, item in second.listed.items()} == {"closed/below/in.md": False}
    server.edit(ROOT, permissionIds=["all", "board"])
    third = await seen(drive, KnownBefore(second.listing.cursor()))
    assert third.listing.whole
    assert third.listed["open.md"].restricted


async def test_a_slash_in_a_name_is_no_folder(world: DriveWorld, drive: GoogleDrive) -> None:
    world.server.file("hr/pay.md", b"x")
    assert list((await seen(drive)).listed) == ["hr\u2215pay.md"]


# ---------------------------------------------------------------------------------------------- bytes


async def test_a_document_of_google_is_exported_under_its_own_address(world: DriveWorld, drive: GoogleDrive) -> None:
    made = world.server.file("Plan v1.2", b"docx bytes", media_type=DOCUMENT)
    found = (await seen(drive)).listed["Plan v1.2.docx"]
    assert found == Listed(
        f"https://docs.google.com/document/d/{made}", "Plan v1.2.docx", found.etag, None, media_type=DOCX
    )
    read = await drive.fetch(Listed(found.uri, found.path, "", None))
    assert (read.data, read.media_type, read.title) == (b"docx bytes", DOCX, "Plan v1.2")
    world.server.edit(made, b"other bytes")
    assert (await seen(drive)).listed["Plan v1.2.docx"].etag != found.etag


@pytest.mark.parametrize(
    ("media_type", "size", "reason"),
    [
        (SHORTCUT, 1, "NotReadable"),
        ("application/vnd.google-apps.form", 1, "NotReadable"),
        (DOCUMENT, 11 << 20, "TooLarge"),
    ],
)
async def test_what_cannot_be_read_fails_alone_with_a_sentence(
    world: DriveWorld, drive: GoogleDrive, media_type: str, size: int, reason: str
) -> None:
    world.server.file("x", b"x" * size, media_type=media_type)
    (item,) = (await seen(drive)).listed.values()
    with pytest.raises(DocumentError, match="; ") as caught:
        await drive.fetch(item)
    assert caught.value.reason == reason


# --------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("status", "reason", "headers", "least"),
    [
        (429, "rateLimitExceeded", {"Retry-After": "7"}, 7.0),
        (403, "userRateLimitExceeded", {}, 0.0),
        (503, "backendError", {}, 0.0),
    ],
)
async def test_a_passing_refusal_is_asked_again_no_sooner_than_it_says(
    world: DriveWorld, drive: GoogleDrive, status: int, reason: str, headers: dict[str, str], least: float
) -> None:
    await world.put("a.md", b"a")
    await seen(drive)
    world.server.failures = [(status, reason, headers)] * 2
    assert list((await seen(drive)).listed) == ["a.md"]
    assert len(world.slept) == 2
    assert min(world.slept) >= least


async def test_a_token_that_is_no_longer_taken_is_obtained_anew_once(world: DriveWorld, drive: GoogleDrive) -> None:
    await world.put("a.md", b"a")
    await seen(drive)
    world.server.tokens.clear()
    assert list((await seen(drive)).listed) == ["a.md"]
    assert world.server.asked.count("/token") == 2
    world.server.failures = [(401, "authError", {})] * 2
    with pytest.raises(SourceUnavailable, match=r"HTTP 401, authError"):
        await seen(drive)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"client_email": "other@test"}, r"gives other@test no token \(HTTP 400, invalid_grant\); see that its key"),
        ({"private_key": "no key"}, r"private_key in the Secret of spec\.googleDrive\.credentialsSecretRef is no RSA"),
        ({"private_key": ""}, r"is no service account's key \(no usable private_key\); correct"),
        ({"token_uri": "file:///etc/passwd"}, r"token_uri .* is no https address; correct it"),
    ],
)
async def test_a_key_that_cannot_be_used_is_told_without_it(
    world: DriveWorld, drive: GoogleDrive, changes: dict[str, str], message: str
) -> None:
    world.key_file.write_text(json.dumps({**json.loads(world.server.key_file()), **changes}))
    with pytest.raises(SourceUnavailable, match=message) as caught:
        await seen(drive)
    assert "PRIVATE KEY" not in str(caught.value)
    assert world.server.tokens == set()


async def test_a_folder_that_is_not_shared_or_is_trashed_is_unavailable(world: DriveWorld, drive: GoogleDrive) -> None:
    await world.put("a.md", b"a")
    first = await seen(drive)
    world.server.files[ROOT]["trashed"] = True
    with pytest.raises(SourceUnavailable, match=r"spec\.googleDrive\.folderId names lies in the trash"):
        await seen(drive, first.known)
    del world.server.files[ROOT]
    with pytest.raises(SourceUnavailable, match=r"HTTP 404, notFound\); share it with the service account"):
        await seen(drive, first.known)


async def test_a_list_that_is_not_complete_is_no_listing(world: DriveWorld, drive: GoogleDrive) -> None:
    await world.put("a.md", b"a")
    world.server.incomplete = True
    with pytest.raises(SourceUnavailable, match="no complete list"):
        await seen(drive)
