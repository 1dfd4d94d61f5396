"""The S3 connector against a real S3 server: what it lists, what it reads, what it refuses, and whole runs with it.

Keys are written through the server, but for the tests with very many: these lay files below it, which it then lists
without an etag. The server is the testbed's, or the one that S3_URL names.
"""

from __future__ import annotations

import gzip
import resource
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from e2e.adapter_tests import s3_world
from e2e.adapter_tests.s3_world import Bucket
from e2e.testbed.s3 import S3, Keys, s3
from lectern_contract.errors import DocumentError
from lectern_contract.messages import Deleted, Put
from lectern_contract.names import Topic
from lectern_contract.reports import RunReport
from lectern_contract.source_settings import S3Source
from lectern_runtime.adapters import compose
from lectern_runtime.ingest.connector import Item, Known, Listed, Means, SourceEmpty, SourceUnavailable
from lectern_runtime.ingest.connectors.s3 import S3Connector
from lectern_runtime_tests.pipeline import Pipeline, pipeline

pytestmark = pytest.mark.integration
MANY = 100_000
PAGE = 1000


class Nothing:
    """The first run of a source."""

    cursor = ""

    async def etag(self, uri: str) -> str:
        return ""


NOTHING: Known = Nothing()


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3() as running:
        yield running


@pytest.fixture
async def bucket(server: S3, tmp_path: Path) -> Bucket:
    return await s3_world.bucket(server, tmp_path)


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(tmp_path / "pipe") as found:
        yield found


async def at_once() -> None:
    """No limit of rate."""


def connector(source: S3Source, *, max_bytes: int = 1 << 20) -> S3Connector:
    return S3Connector(source, Means(time.time, at_once), max_bytes=max_bytes)


async def listing(source: S3Source) -> list[Item]:
    opened = connector(source)
    try:
        return [item async for item in (await opened.list(NOTHING)).items]
    finally:
        await opened.close()


async def one(source: S3Source) -> Listed:
    (item,) = await listing(source)
    assert isinstance(item, Listed)
    return item


async def reason(source: S3Source, listed: Listed, **more: int) -> str:
    opened = connector(source, **more)
    with pytest.raises(DocumentError) as caught:
        await opened.fetch(listed)
    await opened.close()
    return caught.value.reason


async def test_documents_are_the_objects_below_the_prefix_and_folders_are_none(bucket: Bucket) -> None:
    for key in ("docs/b.md", "docs/a/x.md", "docs/", "docs/empty/", "other/c.md", "docs-old/d.md"):
        await bucket.put(key, b"" if key.endswith("/") else key.encode())
    found = [item for item in await listing(bucket.source("docs/")) if isinstance(item, Listed)]
    assert [(item.uri, item.path, item.size) for item in found] == [
        ("docs/a/x.md", "a/x.md", 11),
        ("docs/b.md", "b.md", 9),
    ]
    paths = [item.path for item in await listing(bucket.source("docs")) if isinstance(item, Listed)]
    assert paths == ["-old/d.md", "a/x.md", "b.md"]
    assert [item.path for item in await listing(bucket.source("docs/b.md")) if isinstance(item, Listed)] == ["b.md"]


async def test_odd_keys_are_documents_like_others(bucket: Bucket) -> None:
    odd = [
        "two\nlines.md",
        "tab\there",
        " .md",
        "a+b c%20d.md",
        "é.md",
        "e\u0301.md",
        "日本/語.md",
        "a&b<c>\"d'.md",
        "-rf",
    ]
    keys = sorted([*odd, "~(*)!;=@,:?#[]"])
    for key in keys:
        await bucket.put(key, key.encode())
    opened = connector(bucket.source())
    found = [item async for item in (await opened.list(NOTHING)).items]
    assert sorted(item.uri for item in found) == keys
    for item in found:
        assert isinstance(item, Listed)
        assert (await opened.fetch(item)).data == item.uri.encode()
    await opened.close()


async def test_no_key_is_lost_between_two_pages(bucket: Bucket) -> None:
    keys = lay(bucket, 2 * PAGE + 1)
    assert [item.uri for item in await listing(bucket.source())] == keys


@pytest.mark.slow
async def test_memory_stays_flat_over_a_hundred_thousand_keys(bucket: Bucket) -> None:
    lay(bucket, MANY)
    opened = connector(bucket.source())
    seen, at_first = 0, 0
    async for _ in (await opened.list(NOTHING)).items:
        seen += 1
        if seen == 5 * PAGE:
            at_first = peak_kilobytes()
    await opened.close()
    assert seen == MANY
    assert peak_kilobytes() - at_first < 8 * 1024


def peak_kilobytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def lay(bucket: Bucket, count: int) -> list[str]:
    """Lay files below the server, a thousand a folder."""
    root = bucket.server.buckets / bucket.name
    keys = [f"{number // PAGE:03}/{number % PAGE:03}.md" for number in range(count)]
    for key in keys:
        if key.endswith("/000.md"):
            (root / key).parent.mkdir()
        (root / key).touch()
    return keys


async def test_an_etag_changes_with_the_bytes_and_with_nothing_else(bucket: Bucket) -> None:
    await bucket.put("a.md", b"one")
    first = await one(bucket.source())
    assert await one(bucket.source()) == first
    await bucket.put("a.md", b"two")
    second = await one(bucket.source())
    assert first.etag
    assert second.etag not in ("", first.etag)


async def test_a_file_that_the_server_has_no_etag_of_is_read_every_time(server: S3, bucket: Bucket) -> None:
    (server.buckets / bucket.name / "a.md").write_text("laid there")
    found = await one(bucket.source())
    assert found.etag == ""
    opened = connector(bucket.source())
    assert (await opened.fetch(found)).data == b"laid there"
    await opened.close()


async def test_a_document_that_changed_or_went_after_it_was_listed_is_not_taken(bucket: Bucket) -> None:
    await bucket.put("a.md", b"one")
    found = await one(bucket.source())
    await bucket.put("a.md", b"two")
    assert await reason(bucket.source(), found) == "ChangedWhileRead"
    await bucket.delete("a.md")
    assert await reason(bucket.source(), found) == "Vanished"


async def test_a_document_is_read_up_to_the_limit(bucket: Bucket) -> None:
    await bucket.put("a.md", b"x" * 1000)
    found = await one(bucket.source())
    assert await reason(bucket.source(), found, max_bytes=999) == "TooLarge"
    opened = connector(bucket.source(), max_bytes=1000)
    assert (await opened.fetch(found)).data == b"x" * 1000
    await opened.close()


async def test_a_document_that_was_stored_compressed_is_read_as_it_was(bucket: Bucket) -> None:
    packed = gzip.compress(b"x" * 1000)
    await bucket.put("a.md", packed, {"content-encoding": "gzip", "content-type": "text/markdown; charset=utf-8"})
    found = await one(bucket.source())
    opened = connector(bucket.source(), max_bytes=1000)
    fetched = await opened.fetch(found)
    await opened.close()
    assert (fetched.data, fetched.media_type) == (b"x" * 1000, "text/markdown")
    assert await reason(bucket.source(), found, max_bytes=999) == "TooLarge"
    for data, encoding, expected in (
        (packed[:-9], "gzip", "EncodingDamaged"),
        (b"plain", "gzip", "EncodingDamaged"),
        (b"x", "br", "EncodingUnknown"),
    ):
        await bucket.put("a.md", data, {"content-encoding": encoding})
        assert await reason(bucket.source(), await one(bucket.source())) == expected


async def test_an_empty_bucket_and_an_empty_prefix_are_errors_until_a_folder_is_there(bucket: Bucket) -> None:
    with pytest.raises(SourceEmpty, match=f"the bucket {bucket.name} is empty, as one that was made anew"):
        await listing(bucket.source())
    await bucket.put("other/a.md", b"x")
    with pytest.raises(SourceEmpty, match="has no object with a key that begins with 'docs/'"):
        await listing(bucket.source("docs/"))
    await bucket.put("docs/.keep/", b"")
    assert await listing(bucket.source("docs/")) == []


async def test_an_absent_bucket_and_refused_keys_end_the_listing(server: S3, bucket: Bucket) -> None:
    with pytest.raises(SourceUnavailable, match=r"has no bucket not-there .*; make it, or correct spec\.s3\.bucket"):
        await listing(bucket.source(bucket="not-there"))
    bucket.use(Keys("nobody", "wrong"))
    with pytest.raises(SourceUnavailable, match=r"correct the Secret of spec\.s3\.credentialsSecretRef"):
        await listing(bucket.source())
    bucket.use(server.outsider)
    with pytest.raises(SourceUnavailable, match=r"does not allow its user to list in the bucket .* s3:ListBucket$"):
        await listing(bucket.source())


async def test_a_bucket_that_vanishes_while_it_is_listed_ends_the_listing(bucket: Bucket) -> None:
    lay(bucket, PAGE + 1)
    opened = connector(bucket.source())
    items = (await opened.list(NOTHING)).items
    assert (await anext(items)).uri == "000/000.md"
    shutil.rmtree(bucket.server.buckets / bucket.name)
    with pytest.raises(SourceUnavailable, match=f"has no bucket {bucket.name}"):
        [item async for item in items]
    await opened.close()


async def test_a_bucket_is_asked_once_a_page_and_once_a_document_and_never_unthrottled(bucket: Bucket) -> None:
    lay(bucket, PAGE + 1)
    asked = 0

    async def throttle() -> None:
        nonlocal asked
        asked += 1

    opened = S3Connector(bucket.source(), Means(time.time, throttle), max_bytes=1)
    found = [item async for item in (await opened.list(NOTHING)).items]
    assert asked == 2
    assert isinstance(found[0], Listed)
    await opened.fetch(found[0])
    await opened.close()
    assert asked == 3


async def test_runs_say_what_changed_and_nothing_is_deleted_for_a_bucket_that_vanished(
    bucket: Bucket, pipe: Pipeline, tmp_path: Path
) -> None:
    for key in ("docs/a.md", "docs/hr/b.md", "docs/c.bin"):
        await bucket.put(key, key.encode())
    pipe.blobs = await compose.open_blobs(bucket.blobs("store/"), None)

    async def run() -> tuple[str, int, int, int, int]:
        report: RunReport = await pipe.sync(source=bucket.source("docs/"), include=("**/*.md",))
        return report.result, report.published, report.deleted, report.unchanged, report.failed

    assert await run() == ("Succeeded", 2, 0, 0, 0)
    assert await run() == ("Succeeded", 0, 0, 2, 0)
    await bucket.put("docs/a.md", b"changed")
    await bucket.delete("docs/hr/b.md")
    assert await run() == ("Succeeded", 1, 1, 0, 0)
    await bucket.put("docs/a.md", b"changed")
    assert await run() == ("Succeeded", 0, 0, 1, 0)

    away = await s3_world.bucket(bucket.server, tmp_path)
    for source in (bucket.source("docs/", bucket=away.name), bucket.source("docs/", bucket="not-there")):
        report = await pipe.sync(source=source)
        assert (report.result, report.published, report.deleted) == ("Failed", 0, 0)
    bodies = [each.data for each in await pipe.read(Topic.DOCUMENTS)]
    told = [(type(body), body.document.uri) for body in bodies if isinstance(body, Put | Deleted)]
    assert told == [(Put, "docs/a.md"), (Deleted, "docs/hr/b.md")]  # the newest of each: the topic is compacted
    await pipe.blobs.close()
