"""The sharePoint connector against a double of recorded shape: the contract, changes, rights, downloads, faults."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lectern_contract.errors import DocumentError
from lectern_runtime.ingest.connector import Listed, Means, SourceUnavailable
from lectern_runtime.ingest.connectors.share_point import SharePoint
from lectern_runtime_tests.contracts.connector_contract import Asked, ConnectorContract, KnownBefore, Seen, seen
from lectern_runtime_tests.ingest import graph_server
from lectern_runtime_tests.ingest.graph_server import LIBRARY, ROOT, SECRET
from lectern_runtime_tests.ingest.graph_world import SITE, GraphWorld


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GraphWorld]:
    async with graph_server.serving() as server:
        world = GraphWorld(server=server, secret=tmp_path / "secret")
        world.write_secret()
        yield world


@pytest.fixture
async def library(world: GraphWorld) -> AsyncIterator[SharePoint]:
    connector = world.open(Means(world.clock, Asked()))
    yield connector
    await connector.close()


class TestSharePoint(ConnectorContract):
    @pytest.fixture
    def source(self, world: GraphWorld) -> GraphWorld:
        return world


def uri(item: str) -> str:
    return f"{SITE}/_api/v2.0/drives/{LIBRARY}/items/{item}/content"


def told(found: Seen) -> dict[str, str]:
    """Path by uri, and nothing for what is gone."""
    return {item.uri: item.path if isinstance(item, Listed) else "" for item in found.items}


# --------------------------------------------------------------------------------------------- changes


async def test_folders_that_were_only_touched_bring_nothing_but_the_changed_file(
    world: GraphWorld, library: SharePoint
) -> None:
    for path in ("a/b/c.md", "a/d.md", "e.md"):
        await world.put(path, path.encode())
    first = await seen(library)
    await world.put("a/b/c.md", b"C")
    second = await seen(library, first.known)
    assert (told(second), second.listing.whole) == ({uri(world.files["a/b/c.md"]): "a/b/c.md"}, False)
    assert "/v1.0/drives/b!library/root/delta" in {path for path, _ in world.server.seen}
    assert all("hierarchicalsharing" in headers["Prefer"] for path, headers in world.server.seen if "delta" in path)


async def test_a_new_folder_with_all_that_lies_in_it_is_told_as_a_change(
    world: GraphWorld, library: SharePoint
) -> None:
    await world.put("a.md", b"a")
    first = await seen(library)
    await world.put("new/in/b.md", b"b")
    await world.put("new/c.md", b"c")
    second = await seen(library, first.known)
    assert not second.listing.whole
    assert sorted(second.listed) == ["new/c.md", "new/in/b.md"]


@pytest.mark.parametrize("how", ["renamed", "moved", "removed", "restored", "restricted"])
async def test_what_changes_do_not_tell_in_full_makes_the_run_list_everything(
    world: GraphWorld, library: SharePoint, how: str
) -> None:
    for path in ("a/b.md", "c/d.md", "e.md"):
        await world.put(path, path.encode())
    first = await seen(library)
    expected = {"a/b.md", "c/d.md", "e.md"}
    folder = world.folders["a"]
    if how == "renamed":
        world.server.edit(folder, name="A")
        expected = {"A/b.md", "c/d.md", "e.md"}
    elif how == "moved":
        world.server.edit(folder, parentReference={"id": world.folders["c"]})
        expected = {"c/a/b.md", "c/d.md", "e.md"}
    elif how == "removed":
        world.server.remove(folder)
        expected = {"c/d.md", "e.md"}
    elif how == "restored":
        back = world.server.folder("back")
        since = len(world.server.log)
        world.server.file("f.md", b"f", back)
        world.server.log[since:] = []  # the vendor names the folder and not what came back in it
        expected |= {"back/f.md"}
    else:
        world.server.own_readers(folder, "board")
    second = await seen(library, first.known)
    assert second.listing.whole
    assert set(second.listed) == expected
    assert second.listed.get("a/b.md", first.listed["a/b.md"]).restricted == (how == "restricted")
    third = await seen(library, KnownBefore(second.listing.cursor()))
    assert (third.items, third.listing.whole) == ([], False)


async def test_a_file_that_is_renamed_or_moved_keeps_its_uri(world: GraphWorld, library: SharePoint) -> None:
    await world.put("a/b.md", b"b")
    await world.put("c/d.md", b"d")
    first = await seen(library)
    world.server.edit(world.files["a/b.md"], name="B.md", parentReference={"id": world.folders["c"]})
    second = await seen(library, first.known)
    assert told(second) == {uri(world.files["a/b.md"]): "c/B.md"}


async def test_of_what_a_list_says_twice_the_last_counts(world: GraphWorld, library: SharePoint) -> None:
    await world.put("a/b.md", b"b")
    await world.put("c.md", b"c")
    file, folder, gone = world.files["a/b.md"], world.folders["a"], world.files["c.md"]
    world.server.outdated = [{**world.server.items[each], "name": "old"} for each in (file, folder, gone)]
    await world.remove("c.md")
    world.server.outdated.append({"id": gone, "deleted": {}})
    first = await seen(library)
    assert told(first) == {uri(file): "a/b.md"}
    world.server.outdated = []
    await world.put("a/b.md", b"B")
    assert told(await seen(library, first.known)) == {uri(file): "a/b.md"}


async def test_a_link_that_the_vendor_forgot_makes_the_run_list_everything(
    world: GraphWorld, library: SharePoint
) -> None:
    await world.put("a.md", b"a")
    first = await seen(library)
    await world.put("b.md", b"b")
    world.server.oldest = len(world.server.log)
    for cursor in (first.listing.cursor(), "no cursor of ours", first.listing.cursor().replace(LIBRARY, "b!gone")):
        found = await seen(library, KnownBefore(cursor))
        assert (found.listing.whole, sorted(found.listed)) == (True, ["a.md", "b.md"])


async def test_a_link_elsewhere_gets_no_token(world: GraphWorld, library: SharePoint) -> None:
    await world.put("a.md", b"a")
    first = await seen(library)
    cursor = first.listing.cursor().replace(f":{world.server.port}", ":1")
    with pytest.raises(SourceUnavailable, match="names an address outside the API, to which no token goes"):
        await seen(library, KnownBefore(cursor))


# ---------------------------------------------------------------------------------------------- rights


async def test_an_item_is_restricted_where_it_or_a_folder_above_lacks_a_reader_of_the_library(
    world: GraphWorld, library: SharePoint
) -> None:
    for path in ("board/in/a.md", "wide.md", "narrow.md", "plain.md"):
        await world.put(path, path.encode())
    world.server.own_readers(world.folders["board"], "board")
    world.server.own_readers(world.files["wide.md"], "4", "guests")
    world.server.own_readers(world.files["narrow.md"], "5")
    first = await seen(library)
    expected = {"board/in/a.md": True, "narrow.md": True, "plain.md": False, "wide.md": False}
    assert {path: item.restricted for path, item in first.listed.items()} == expected
    assert sum(path.endswith("/permissions") for path in world.server.asked) == 4, "the root's, and one for each"
    world.server.own_readers(world.files["narrow.md"], "4", "5")
    second = await seen(library, first.known)
    assert {path: item.restricted for path, item in second.listed.items()} == {"narrow.md": False}
    world.server.permissions["root"].append({"grantedToV2": {"group": {"id": "all-staff"}}})
    third = await seen(library, KnownBefore(second.listing.cursor()))
    assert third.listing.whole
    assert third.listed["wide.md"].restricted


async def test_where_readers_cannot_be_told_an_item_with_its_own_is_restricted(
    world: GraphWorld, library: SharePoint
) -> None:
    await world.put("wide.md", b"w")
    world.server.own_readers(world.files["wide.md"], "4", "guests")
    world.server.permissions["root"] = []
    assert (await seen(library)).listed["wide.md"].restricted


# ------------------------------------------------------------------------------------------- downloads


async def test_bytes_come_from_where_graph_says_and_the_token_does_not_go_there(
    world: GraphWorld, library: SharePoint
) -> None:
    await world.put("a.md", b"a")
    item = (await seen(library)).listed["a.md"]
    assert (await library.fetch(Listed(item.uri, item.path, "", None))).data == b"a"
    path, headers = world.server.seen[-1]
    assert path.startswith("/download/")
    assert "Authorization" not in headers
    assert "Prefer" not in headers


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:1/x", "http://169.254.169.254/latest", "file:///etc/passwd", "ftp://127.0.0.1/x", "x"]
)
async def test_bytes_are_not_read_from_inside_the_network(world: GraphWorld, place: str) -> None:
    await world.put("a.md", b"a")
    world.server.download = place
    connector = world.open(Means(world.clock, Asked()), networks=())
    try:
        item = (await seen(connector)).listed["a.md"]
        with pytest.raises(SourceUnavailable, match="; "):
            await connector.fetch(item)
    finally:
        await connector.close()
    assert not any(path.startswith("/download") for path in world.server.asked)


async def test_what_has_no_bytes_fails_alone_with_a_sentence(world: GraphWorld, library: SharePoint) -> None:
    made = world.server.file("notes", b"", parent=ROOT)
    world.server.items[made].pop("file")
    del world.server.data[made]
    with pytest.raises(DocumentError, match=r"does not give it \(HTTP 400, notSupported\); exclude it"):
        await library.fetch((await seen(library)).listed["notes"])


# --------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(("status", "headers", "least"), [(429, {"Retry-After": "9"}, 9.0), (503, {}, 0.0)])
async def test_a_passing_refusal_is_asked_again_no_sooner_than_it_says(
    world: GraphWorld, library: SharePoint, status: int, headers: dict[str, str], least: float
) -> None:
    await world.put("a.md", b"a")
    await seen(library)
    world.server.failures = [(status, "tooManyRequests", headers)] * 2
    assert list((await seen(library)).listed) == ["a.md"]
    assert len(world.slept) == 2
    assert min(world.slept) >= least


async def test_a_secret_that_is_not_taken_is_told_without_it_and_read_anew(
    world: GraphWorld, library: SharePoint
) -> None:
    await world.put("a.md", b"a")
    world.write_secret(clientSecret="old~secret")
    with pytest.raises(SourceUnavailable, match=r"no token \(HTTP 401, invalid_client\); see that its") as caught:
        await seen(library)
    assert "old~secret" not in str(caught.value)
    assert SECRET not in str(caught.value)
    world.write_secret(clientSecret="")
    with pytest.raises(SourceUnavailable, match=r"clientSecret in the Secret of .* is empty; correct it"):
        await seen(library)
    world.write_secret()
    assert list((await seen(library)).listed) == ["a.md"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"library": "Absent"}, r"no library 'Absent' \(it has Docs, Other\); correct spec\.sharePoint\.library"),
        ({"site_url": "https://contoso.test/sites/no"}, r"siteUrl cannot be read \(HTTP 404, itemNotFound\)"),
    ],
)
async def test_a_site_or_library_that_is_not_there_is_told(
    world: GraphWorld, changes: dict[str, Any], message: str
) -> None:
    connector = world.open(Means(world.clock, Asked()), **changes)
    try:
        with pytest.raises(SourceUnavailable, match=message):
            await seen(connector)
    finally:
        await connector.close()


async def test_nothing_is_left_on_disk(world: GraphWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    await world.put("a.md", b"a")
    connector = world.open(Means(world.clock, Asked()))
    first = await seen(connector)
    await seen(connector, first.known)
    assert left(tmp_path) == 1
    await connector.close()
    assert left(tmp_path) == 0


def left(folder: Path) -> int:
    """How many directories connectors keep below `folder`."""
    return len(list(folder.glob("lectern-changes-*")))
