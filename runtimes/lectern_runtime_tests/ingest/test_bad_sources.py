"""What a source must not do and does: lists without end, folders in a circle, names of any kind, a clock that jumps.

Each ends as the fault of one document or of the source, with a sentence; nothing is deleted for it. `test_fault_table`
says where every other kind of bad input is tested.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from lectern_contract.reports import RunMode
from lectern_runtime.ingest.connector import Gone, Means, SourceUnavailable, Unlisted
from lectern_runtime.ingest.connectors import persistent_volume, wikipedia
from lectern_runtime_tests.contracts.connector_contract import Asked, Breaking, later, seen
from lectern_runtime_tests.ingest import drive_server, graph_server
from lectern_runtime_tests.ingest.drive_world import DriveWorld
from lectern_runtime_tests.ingest.git_world import GitWorld, git_world
from lectern_runtime_tests.ingest.graph_world import GraphWorld
from lectern_runtime_tests.ingest.test_persistent_volume_contract import Directory
from lectern_runtime_tests.ingest.test_wikipedia import connector, listing
from lectern_runtime_tests.ingest.told import ToldSource
from lectern_runtime_tests.ingest.web_server import Said, serving
from lectern_runtime_tests.pipeline import Pipeline, connector_settings, pipeline


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(tmp_path / "pipe") as found:
        yield found


@pytest.fixture
async def drive(tmp_path: Path) -> AsyncIterator[DriveWorld]:
    async with drive_server.serving() as server:
        (tmp_path / "key.json").write_text(server.key_file())
        yield DriveWorld(server=server, key_file=tmp_path / "key.json")


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[GraphWorld]:
    async with graph_server.serving() as server:
        world = GraphWorld(server=server, secret=tmp_path / "secret")
        world.write_secret()
        yield world


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[GitWorld]:
    with git_world(tmp_path) as world:
        yield world


def patient(world: DriveWorld | GraphWorld | GitWorld) -> Means:
    return Means(world.clock, Asked())


# ------------------------------------------------------------------------------- lists without an end


async def test_a_list_of_drive_that_leads_to_itself_ends(drive: DriveWorld) -> None:
    for number in range(5):
        await drive.put(f"{number}.md", b"x")
    opened = drive.open(patient(drive))
    known = (await seen(opened)).known
    drive.server.turning = True
    with pytest.raises(SourceUnavailable, match=r"list of a folder does not end; the next run asks again"):
        await seen(opened)
    await drive.put("0.md", b"y")
    with pytest.raises(SourceUnavailable, match=r"list of a folder does not end"):
        await seen(opened, known)  # the changes do not end either, so that everything is asked for
    await opened.close()


async def test_a_list_of_sharepoint_that_leads_to_itself_ends(library: GraphWorld) -> None:
    for number in range(5):
        await library.put(f"{number}.md", b"x")
    opened = library.open(patient(library))
    library.server.turning = True
    with pytest.raises(SourceUnavailable, match=r"list of the library does not end; the next run asks again"):
        await seen(opened)
    await opened.close()


@pytest.mark.parametrize("places", [("1", "1"), ("1", "2")], ids=["the same page", "in a circle"])
async def test_a_category_that_does_not_end_is_no_listing(
    monkeypatch: pytest.MonkeyPatch, places: tuple[str, str]
) -> None:
    monkeypatch.setattr(wikipedia, "MAX_PAGES", 10)
    asked = 0

    async def answer(request: web.Request) -> Said:
        nonlocal asked
        asked += 1
        found: dict[str, object] = {"query": {"categorymembers": []}}
        if request.query.get("list") == "categorymembers":
            found["continue"] = {"cmcontinue": places[asked % 2]}
        return Said(json.dumps(found))

    async with serving({}) as server, connector(server.url("/w/api.php"), categories=("C",)) as opened:
        server.answering = answer
        with pytest.raises(SourceUnavailable, match=r"list of a category does not end; see spec\.wikipedia\.apiUrl"):
            await listing(opened)
    assert asked <= 12


# --------------------------------------------------------------------------------- folders in a circle


async def test_a_folder_of_drive_that_lies_in_itself_is_walked_once(drive: DriveWorld) -> None:
    await drive.put("a/b/c.md", b"c")
    drive.server.files[drive_server.ROOT]["parents"] = [drive.folders["a/b"]]
    opened = drive.open(patient(drive))
    assert list((await seen(opened)).listed) == ["a/b/c.md"]
    await opened.close()


async def test_a_file_below_folders_that_lie_in_each_other_lies_nowhere(drive: DriveWorld) -> None:
    await drive.put("a.md", b"a")
    opened = drive.open(patient(drive))
    first = await seen(opened)
    one = drive.server.folder("one", "nowhere")
    drive.server.files[one]["parents"] = [drive.server.folder("two", one)]
    lost = drive.server.file("lost.md", b"x", one)
    second = await seen(opened, first.known)
    assert second.listed == {}
    assert Gone(f"https://drive.google.com/file/d/{lost}") in second.items
    await opened.close()


# ---------------------------------------------------------------------------------------------- names

NAMES = {
    "two\nlines.md": "",
    "tab\tand\rreturn.md": "",
    "\u202egnp.md": "",
    "4 KB " + "\u20ac" * 1365 + ".md": "",
    "a/../../b.md": "",
    "nul\0.md": "",
    "64 KB " + "x" * 65536 + ".md": "NameInvalid",
}
"""Names with the reason why a document of that name is not handed over; empty where it is."""


async def test_names_of_any_text_harm_no_other_document(pipe: Pipeline) -> None:
    told = ToldSource()
    for name in ("a.md", *NAMES, "z.md"):
        told.write(name, "text")
    report = await pipe.run(connector_settings(pipe.source), source=told)
    refused = {name: reason for name, reason in NAMES.items() if reason}
    assert (report.result, report.failed) == ("Succeeded", len(refused))
    assert report.published == 2 + len(NAMES) - len(refused)
    assert report.failures_by_reason == {reason: list(refused.values()).count(reason) for reason in refused.values()}
    again = await pipe.run(connector_settings(pipe.source), source=told)
    assert (again.published, again.deleted, again.failed) == (0, 0, len(refused))


async def test_a_path_of_four_kilobytes_is_read_from_a_repository(repository: GitWorld) -> None:
    path = "/".join(["folder" * 20] * 33) + "/two\nlines.md"
    blob = repository.repository.write({"short.md": b"s"})
    blob = repository.repository.git("rev-parse", "HEAD:short.md")
    repository.repository.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    repository.repository.git("commit", "--quiet", "--message=long")
    opened = repository.open(patient(repository))
    found = (await seen(opened)).listed
    assert sorted(found) == sorted([path, "short.md"])
    assert (await opened.fetch(found[path])).data == b"s"
    await opened.close()


@pytest.mark.parametrize("name", ["two\nlines.md", "4 KB " + "\u20ac" * 1365 + ".md", "..", "nul\0.md"])
async def test_a_name_of_any_text_is_read_from_a_cloud(drive: DriveWorld, library: GraphWorld, name: str) -> None:
    for world in (drive, library):
        world.server.file(name, b"text", world.folders[""])
        opened = world.open(patient(world))
        found = (await seen(opened)).listed
        assert list(found) == [name]
        assert (await opened.fetch(found[name])).data == b"text"
        await opened.close()


# ------------------------------------------------------------------ what goes away, and what time it is


async def test_a_volume_that_goes_away_while_it_is_walked_keeps_what_was_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persistent_volume, "_BATCH", 1)
    (tmp_path / "source").mkdir()
    source = Directory(tmp_path / "source")
    for path in ("a.md", "b.md", "c/d.md", "e/f.md"):
        await source.put(path, b"x")
    found = await seen(Breaking(source.open(Means(source.clock, Asked())), source))
    assert list(found.listed) == ["a.md"]
    assert [(item.uri, item.reason) for item in found.items if isinstance(item, Unlisted)] == [
        ("b.md", "Unlistable"),
        ("c", "Unlistable"),
        ("e", "Unlistable"),
    ]


async def test_a_file_of_the_future_is_read_every_time(tmp_path: Path) -> None:
    """After the clock was set back nobody can tell by a time stamp whether such a file was changed again."""
    (tmp_path / "a.md").write_text("x")
    opened = persistent_volume.PersistentVolume(tmp_path, max_bytes=10, clock=lambda: later() - 3e8)
    found = (await seen(opened)).listed
    assert found["a.md"].etag == ""
    assert (await opened.fetch(found["a.md"])).data == b"x"


@pytest.mark.parametrize("step", [-3e8, 3e8])
async def test_a_run_during_which_the_clock_jumps_hands_over_the_same(pipe: Pipeline, step: float) -> None:
    told, now = ToldSource(), [later()]

    def clock() -> float:
        now.append(now[-1] + step)
        return now[-1] if len(now) < 4 else now[3]

    told.write("a.md", "one")
    report = await pipe.run(connector_settings(pipe.source), source=told, clock=clock)
    assert (report.result, report.published) == ("Succeeded", 1)
    report = await pipe.run(connector_settings(pipe.source), source=told)
    assert (report.result, report.published, report.deleted) == ("Succeeded", 0, 0)


async def test_bytes_that_git_did_not_name_are_not_taken(repository: GitWorld) -> None:
    """A server that answers with something else than a pack, or with a pack that ends early, gives no document."""
    repository.repository.write({"a.md": b"a" * 5000})
    opened = repository.open(patient(repository))
    repository.server.cut = 200
    with pytest.raises(SourceUnavailable, match=r"; "):
        await seen(opened)
    await opened.close()


async def test_a_blob_whose_hash_does_not_match_is_a_dead_letter_until_the_source_is_read_whole(pipe: Pipeline) -> None:
    told = ToldSource()
    for name in ("a.md", "b.md", "c.md"):
        told.write(name, f"text of {name}")
    await pipe.run(connector_settings(pipe.source), source=told)
    files = [path for path in pipe.source.parent.rglob("*") if path.is_file()]
    (damaged,) = [path for path in files if path.read_bytes() == b"text of b.md"]
    damaged.chmod(0o644)
    damaged.write_bytes(b"other text")
    await pipe.index()
    assert sorted(await pipe.content()) == ["public:a.md", "public:c.md"]
    assert [(letter.stage, letter.reason) for letter in await pipe.dead_letters()] == [("fetch", "BlobDamaged")]
    await pipe.run(connector_settings(pipe.source), source=told, mode=RunMode.FULL)
    await pipe.index()
    assert (await pipe.content())["public:b.md"] == ("text of b.md",)
