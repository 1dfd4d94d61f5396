"""The manifest in the blob store: an index and parts that change only where documents do, and the one before it."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lectern_contract import names
from lectern_runtime.adapters.directory import DirectoryBlobs
from lectern_runtime.adapters.run_scratch import RunScratch
from lectern_runtime.ingest import manifest, parts
from lectern_runtime.ingest.known import KnownDocuments
from lectern_runtime.ingest.manifest import Entry, Index, ManifestDamaged
from lectern_runtime.ingest.scratch import Row
from lectern_runtime_tests.ingest.told import ToldSource
from lectern_runtime_tests.pipeline import Pipeline, connector_settings, pipeline
from lectern_runtime_tests.quick_disk import quick_directory

SETTINGS = connector_settings(Path("/source"))
INDEX = names.manifest("ns", "files")
PARTS = names.manifest_parts("ns", "files")


def entry(number: int, **changes: Any) -> Entry:
    given = {
        "etag": f"e{number}",
        "sha256": f"{number:064x}",
        "size": number,
        "media_type": "text/markdown",
        "tenant": "acme",
        "access_level": "public",
    }
    return Entry(**{**given, **changes})


@dataclass
class Store:
    """A blob store with a manifest, and the parts that it was made to write."""

    blobs: DirectoryBlobs

    async def save(self, entries: dict[str, Entry | None], **changes: Any) -> Index:
        """A run that says this of these documents, on top of what is known."""
        with closing(RunScratch.open()) as scratch:
            known = await KnownDocuments.load(self.blobs, SETTINGS, scratch, topic_id="t", **changes)
            await known.settle(list(entries.items()))
            await known.save("", whole=True)
        return Index.model_validate_json(await self.blobs.read_named(INDEX) or b"")

    async def load(self) -> dict[str, Entry]:
        with closing(RunScratch.open()) as scratch:
            await KnownDocuments.load(self.blobs, SETTINGS, scratch, topic_id="t")
            rows = scratch.rows(after="", limit=10**6)
            return {row.uri: Entry.model_validate_json(row.entry) for row in rows if row.entry is not None}

    async def parts(self) -> set[str]:
        return {name.removeprefix(PARTS) async for name in self.blobs.list_named(PARTS)}


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    with quick_directory() as root:
        blobs = await DirectoryBlobs.open(root)
        yield Store(blobs)
        await blobs.close()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MEAN_DOCUMENTS", 50)


async def test_what_was_saved_is_loaded_again(store: Store) -> None:
    said = {"a": entry(1), "b\n\u00e4": entry(2, title='A "title"', etag='"1"'), "c": entry(3, size=0)}
    index = await store.save(dict(said))
    assert await store.load() == said
    assert (index.documents, index.run, len(index.parts)) == (3, 1, 1)


async def test_a_part_is_lines_of_json_that_a_person_can_read(store: Store) -> None:
    (part,) = (await store.save({"a": entry(1), "b": entry(2)})).parts
    packed = await store.blobs.read_named(PARTS + part.sha256)
    lines = [json.loads(line) for line in gzip.decompress(packed or b"").splitlines()]
    assert [line["uri"] for line in lines] == ["a", "b"]
    assert lines[0]["entry"] == json.loads(entry(1).text())


@pytest.mark.usefixtures("small_parts")
async def test_one_change_writes_one_part_and_removes_the_one_that_it_replaces(store: Store) -> None:
    first = await store.save({f"{number:05}": entry(number) for number in range(2000)})
    second = await store.save({"01000": entry(7)})
    gone = {part.sha256 for part in first.parts} - {part.sha256 for part in second.parts}
    new = {part.sha256 for part in second.parts} - {part.sha256 for part in first.parts}
    assert (len(first.parts) > 20, len(gone), len(new)) == (True, 1, 1)
    assert await store.parts() == {part.sha256 for part in second.parts}
    assert sum(part.documents for part in second.parts) == second.documents == 2000


@pytest.mark.usefixtures("small_parts")
async def test_parts_depend_on_the_documents_and_not_on_the_way_to_them(store: Store) -> None:
    chance = random.Random(1)
    uris = [f"{number:05}" for number in range(600)]
    await store.save({uri: entry(0) for uri in chance.sample(uris, 400)})
    for _ in range(5):
        changed = chance.sample(uris, 150)
        await store.save({uri: entry(1) if chance.random() < 0.7 else None for uri in changed})
    by_steps = await store.save({uri: entry(int(uri)) for uri in uris})
    with quick_directory() as root:
        at_once = await Store(await DirectoryBlobs.open(root)).save({uri: entry(int(uri)) for uri in uris})
    assert by_steps.parts == at_once.parts


async def test_no_part_is_larger_than_its_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MOST_BYTES", 10_000)
    index = await store.save({f"{number:05}" + "x" * 3000: entry(number) for number in range(50)})
    sizes = [len(gzip.decompress(await store.blobs.read_named(PARTS + part.sha256) or b"")) for part in index.parts]
    assert max(sizes) < 10_000 + 4000
    assert len(await store.load()) == 50


async def test_nothing_new_writes_nothing(store: Store) -> None:
    await store.save({"a": entry(1)})
    written: list[str] = []

    class Noted:
        def __getattr__(self, name: str) -> Any:
            return getattr(store.blobs, name)

        async def write_named(self, name: str, data: bytes) -> None:
            written.append(name)
            await store.blobs.write_named(name, data)

    await Store(Noted()).save({"a": entry(1)})  # type: ignore[arg-type]  # a blob store that tells what is written
    assert written == []


@pytest.mark.parametrize("fault", ["missing", "damaged", "swapped"])
async def test_a_part_that_is_not_what_was_written_stops_the_run(store: Store, fault: str) -> None:
    (part,) = (await store.save({"a": entry(1)})).parts
    name = PARTS + part.sha256
    if fault == "missing":
        await store.blobs.delete_named(name)
    else:
        other = gzip.compress(b'{"uri":"b"}\n') if fault == "swapped" else b"no gzip"
        await store.blobs.write_named(name, other)
    with pytest.raises(ManifestDamaged, match=rf"{name} in the blob store is {fault.replace('swapped', 'damaged')}"):
        await store.load()


def test_a_line_comes_back_as_the_row_that_it_was() -> None:
    rows = [
        Row("a", entry(1).text(), True),
        Row('q"\\\n', entry(2, title="\u20ac").text(), True),
        Row("failed", None, False, '{"path":"p\u00e4th"}'),
        Row("both", entry(3).text(), True, '{"path":"x","size":3}'),
        Row("old", entry(4, stale=True).text(), False),
    ]
    data = b"".join(parts.line(row) for row in rows)
    assert list(parts.rows(data, said=True)) == rows
    assert [row.said for row in parts.rows(data, said=False)] == [False] * 5


# ---------------------------------------------------------------------------- the release before this one


def as_it_was(documents: dict[str, dict[str, Any]], **more: Any) -> bytes:
    """The manifest in one object, as schema version 1 had it."""
    value = {"schema_version": 1, "knowledge_base": "kb", "topic_id": "", "messages": "", "documents": documents}
    return json.dumps({**value, **more}).encode()


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(tmp_path) as found:
        yield found


async def test_the_manifest_of_the_release_before_is_taken_over_and_nothing_said_again(pipe: Pipeline) -> None:
    source = ToldSource()
    for uri in ("a.md", "b.md", "c.md"):
        source.write(uri, f"text of {uri}")
    await pipe.run(SETTINGS, source=source)
    index = Index.model_validate_json(await pipe.blobs.read_named(INDEX) or b"")
    store = Store(pipe.blobs)  # type: ignore[arg-type]  # it is a directory
    documents = {uri: each.model_dump(exclude={"title", "stale"}) for uri, each in (await store.load()).items()}
    await pipe.blobs.write_named(INDEX, as_it_was(documents, topic_id=index.topic_id, messages=index.messages))
    async for name in pipe.blobs.list_named(PARTS):
        await pipe.blobs.delete_named(name)
    source.remove("b.md")
    report = await pipe.run(SETTINGS, source=source)
    assert (report.published, report.deleted, report.unchanged) == (0, 1, 2)
    migrated = Index.model_validate_json(await pipe.blobs.read_named(INDEX) or b"")
    assert (migrated.schema_version, migrated.documents) == (2, 2)
    assert set(await store.load()) == {"a.md", "c.md"}


async def test_an_unchanged_source_is_migrated_too(pipe: Pipeline) -> None:
    source = ToldSource()
    source.write("a.md", "one")
    await pipe.blobs.write_named(INDEX, as_it_was({}))
    await pipe.run(SETTINGS, source=source)
    found = await manifest.read(pipe.blobs, SETTINGS)
    assert (found.current, found.index.documents) == (True, 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "is damaged"),
        (b"[]", "is damaged"),
        (as_it_was({"a": {"etag": 1}}), "is damaged"),
        (b'{"schema_version": 3}', "of schema version 3, which a newer Lectern wrote (this one reads 2)"),
        (b'{"schema_version": 2, "knowledge_base": "kb", "parts": [{"sha256": "../x", "documents": 1}]}', "is damaged"),
    ],
)
async def test_what_is_no_manifest_is_refused(store: Store, data: bytes, words: str) -> None:
    await store.blobs.write_named(INDEX, data)
    with pytest.raises(ManifestDamaged) as caught:
        await store.load()
    assert words in str(caught.value)
