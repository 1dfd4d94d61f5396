"""What every connector promises to a run, whatever it reads.

A test module derives from the suite and gives it `source`, a `SourceUnderTest` that is empty of documents: a real
source, or a server of recorded shape, that the suite fills, changes and breaks. The suite opens connectors on it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import pytest

from lectern_contract.errors import DocumentError
from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest.connector import (
    Connector,
    Fetched,
    Gone,
    Item,
    Known,
    Listed,
    Listing,
    Means,
    SourceEmpty,
    SourceUnavailable,
)
from lectern_runtime_tests.pipeline import pipeline

MAX_BYTES = 100_000
DOCUMENTS = {
    "a.md": b"alpha",
    "docs/b.md": b"beta",
    "docs/deep/er/c.md": b"gamma",
    "docs-2/d.md": b"delta" * 1000,
    "empty.txt": b"",
}
ODD_NAMES: tuple[str, ...] = (
    "with space.md",
    "50% #1?&=+.md",
    "\u00e4\u00df\u20ac/\u6587\u66f8.md",
    "e\u0301.md",
    "quote'\".md",
)


NO_EXEMPTION: Mapping[str, str] = {}


class SourceUnderTest(Protocol):
    """A source that the suite may fill and break.

    `etags` says that a document at rest has an etag, `deltas` that a cursor is given and taken. `odd_names` are those
    of `ODD_NAMES` that a document of this source can have. `exempt` has the tests whose rule cannot hold for this kind
    of source, each with the reason; a rule that holds in spite of it fails the suite, so that none is listed in vain.
    """

    etags: bool
    deltas: bool
    can_be_empty: bool
    odd_names: tuple[str, ...]
    exempt: Mapping[str, str]

    async def put(self, path: str, data: bytes) -> None:
        """Make or replace the document at `path`; it is at rest when this returns, if the source has rest."""

    async def remove(self, path: str) -> None:
        """Remove the document at `path`."""

    async def break_down(self) -> None:
        """Let the source as a whole be unreachable, or refuse us, from now on."""

    def requests(self) -> int:
        """How many requests the source has seen; 0 for ever where reading is no request."""

    def settings(self) -> ConnectorSettings:
        """Settings of a connector for this source, with `max_document_bytes` of `MAX_BYTES`."""

    def open(self, means: Means) -> Connector:
        """A connector for `settings()`. One that waits between retries waits no time here."""

    def clock(self) -> float:
        """Seconds since 1970 UTC, as the connector is to believe."""


@dataclass
class KnownBefore:
    """What the last run knew."""

    cursor: str = ""
    etags: Mapping[str, str] = field(default_factory=dict)

    async def etag(self, uri: str) -> str:
        return self.etags.get(uri, "")


@dataclass
class Asked:
    """A throttle that counts how often it was asked."""

    calls: int = 0

    async def __call__(self) -> None:
        self.calls += 1


@dataclass
class Seen:
    """A listing that was read to its end."""

    listing: Listing
    items: list[Item]
    cursor: str

    @property
    def listed(self) -> dict[str, Listed]:
        return {item.path: item for item in self.items if isinstance(item, Listed)}

    @property
    def gone(self) -> set[str]:
        return {item.uri for item in self.items if isinstance(item, Gone)}

    @property
    def known(self) -> KnownBefore:
        return KnownBefore(self.cursor, {item.uri: item.etag for item in self.listed.values()})


async def seen(connector: Connector, known: KnownBefore | None = None) -> Seen:
    listing = await connector.list(known or KnownBefore())
    items = [item async for item in listing.items]
    return Seen(listing, items, listing.cursor())


@dataclass
class Breaking:
    """A connector whose source breaks down once the first item was listed."""

    connector: Connector
    source: SourceUnderTest
    broke: bool = False

    async def list(self, known: Known) -> Listing:
        listing = await self.connector.list(known)
        return replace(listing, items=self._items(listing.items))

    async def _items(self, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
        async for item in items:
            if not self.broke:
                await self.source.break_down()
                self.broke = True
            yield item

    async def fetch(self, listed: Listed) -> Fetched:
        return await self.connector.fetch(listed)

    async def close(self) -> None:
        await self.connector.close()


class ConnectorContract:
    @pytest.fixture(autouse=True)
    def exempted(self, request: pytest.FixtureRequest, source: SourceUnderTest) -> None:
        """Expect a rule not to hold from which the source is exempt."""
        assert [name for name in source.exempt if not hasattr(ConnectorContract, name)] == []
        if (reason := source.exempt.get(request.node.originalname)) is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    def asked(self) -> Asked:
        return Asked()

    @pytest.fixture
    async def connector(self, source: SourceUnderTest, asked: Asked) -> AsyncIterator[Connector]:
        connector = source.open(Means(source.clock, asked))
        yield connector
        await connector.close()

    async def test_every_document_is_listed_once_under_its_path(
        self, source: SourceUnderTest, connector: Connector
    ) -> None:
        await fill(source)
        found = await seen(connector)
        assert found.listing.whole
        assert [item for item in found.items if not isinstance(item, Listed)] == []
        assert sorted(item.path for item in found.items if isinstance(item, Listed)) == sorted(DOCUMENTS)
        assert len({item.uri for item in found.listed.values()}) == len(DOCUMENTS)

    async def test_a_second_listing_by_another_connector_says_the_same(
        self, source: SourceUnderTest, connector: Connector, asked: Asked
    ) -> None:
        await fill(source)
        other = source.open(Means(source.clock, asked))
        try:
            first, second = await seen(connector), await seen(other)
        finally:
            await other.close()
        assert first.listed == second.listed
        if source.etags:
            assert all(item.etag for item in first.listed.values())

    async def test_odd_names_are_listed_and_read(self, source: SourceUnderTest, connector: Connector) -> None:
        written = {name: name.encode() for name in ("plain.md", *source.odd_names)}
        for name, data in written.items():
            await source.put(name, data)
        found = (await seen(connector)).listed
        assert {path: (await connector.fetch(item)).data for path, item in found.items()} == written

    async def test_the_bytes_are_those_of_the_document(self, source: SourceUnderTest, connector: Connector) -> None:
        await fill(source)
        found = (await seen(connector)).listed
        read = {path: await connector.fetch(item) for path, item in found.items()}
        assert {path: each.data for path, each in read.items()} == DOCUMENTS
        for path, item in found.items():
            assert item.size in (None, len(DOCUMENTS[path]))
            assert isinstance(read[path], Fetched)
            assert ";" not in read[path].media_type

    async def test_many_documents_can_be_read_at_once(self, source: SourceUnderTest, connector: Connector) -> None:
        await fill(source)
        items = list((await seen(connector)).listed.values())
        read = await asyncio.gather(*(connector.fetch(item) for item in items * 3))
        assert [each.data for each in read] == [DOCUMENTS[item.path] for item in items * 3]

    async def test_an_equal_etag_promises_equal_bytes(self, source: SourceUnderTest, connector: Connector) -> None:
        await fill(source)
        before = (await seen(connector)).listed
        await source.put("a.md", b"ALPHA")
        after = (await seen(connector)).listed
        assert (before["a.md"].uri, before["docs/b.md"]) == (after["a.md"].uri, after["docs/b.md"])
        assert not after["a.md"].etag or after["a.md"].etag != before["a.md"].etag
        assert (await connector.fetch(after["a.md"])).data == b"ALPHA"

    async def test_what_comes_and_goes_is_listed_as_it_is_now(
        self, source: SourceUnderTest, connector: Connector
    ) -> None:
        await fill(source)
        await seen(connector)
        await source.remove("docs/b.md")
        await source.put("new/e.md", b"epsilon")
        found = await seen(connector)
        assert found.listing.whole
        assert sorted(found.listed) == sorted({*DOCUMENTS, "new/e.md"} - {"docs/b.md"})

    async def test_a_cursor_brings_what_changed_since(self, source: SourceUnderTest, connector: Connector) -> None:
        await fill(source)
        first = await seen(connector)
        assert bool(first.cursor) == source.deltas
        await source.put("a.md", b"ALPHA")
        await source.put("new/e.md", b"epsilon")
        await source.remove("docs/b.md")
        second = await seen(connector, first.known)
        assert {"a.md", "new/e.md"} <= set(second.listed)
        assert "docs/b.md" not in second.listed
        assert second.listing.whole or first.listed["docs/b.md"].uri in second.gone
        if source.deltas:
            third = await seen(connector, KnownBefore(second.cursor))
            assert third.items == []

    async def test_a_document_that_is_too_large_fails_alone(
        self, source: SourceUnderTest, connector: Connector
    ) -> None:
        await source.put("large.md", b"x" * (MAX_BYTES + 1))
        await source.put("fits.md", b"x" * MAX_BYTES)
        found = (await seen(connector)).listed
        with pytest.raises(DocumentError) as caught:
            await connector.fetch(found["large.md"])
        assert (caught.value.reason, caught.value.stage) == ("TooLarge", "fetch")
        assert (await connector.fetch(found["fits.md"])).data == b"x" * MAX_BYTES

    async def test_a_document_that_vanished_fails_alone(self, source: SourceUnderTest, connector: Connector) -> None:
        await fill(source)
        found = (await seen(connector)).listed
        await source.remove("a.md")
        with pytest.raises(DocumentError) as caught:
            await connector.fetch(found["a.md"])
        assert caught.value.stage == "fetch"
        assert (await connector.fetch(found["docs/b.md"])).data == b"beta"

    async def test_a_source_that_broke_down_is_unavailable_and_not_empty(
        self, source: SourceUnderTest, connector: Connector
    ) -> None:
        await fill(source)
        await seen(connector)
        await source.break_down()
        with pytest.raises(SourceUnavailable) as caught:
            await seen(connector)
        assert not isinstance(caught.value, SourceEmpty)
        assert ";" in str(caught.value), "cause and next step"

    async def test_a_source_that_breaks_down_in_the_middle_of_a_run_deletes_nothing(
        self, source: SourceUnderTest, connector: Connector, tmp_path: Path
    ) -> None:
        await fill(source)
        async with pipeline(tmp_path / "pipeline") as pipe:
            report = await pipe.run(source.settings(), source=connector, clock=source.clock)
            assert (report.published, report.failed) == (len(DOCUMENTS), 0), report.message
            for path in DOCUMENTS:
                await source.put(path, b"changed")
            breaking = Breaking(connector, source)
            report = await pipe.run(source.settings(), source=breaking, clock=source.clock)
            assert breaking.broke
            assert (report.deleted, report.published + report.failed > 0 or report.result == "Failed") == (0, True)

    async def test_an_empty_source_says_so(self, source: SourceUnderTest, connector: Connector) -> None:
        if source.can_be_empty:
            with pytest.raises(SourceEmpty):
                await seen(connector)
        else:
            await fill(source)
            assert len((await seen(connector)).items) == len(DOCUMENTS)

    async def test_no_request_goes_out_unasked(
        self, source: SourceUnderTest, connector: Connector, asked: Asked
    ) -> None:
        await fill(source)
        before = source.requests()
        found = (await seen(connector)).listed
        for item in found.values():
            await connector.fetch(item)
        assert source.requests() - before <= asked.calls
        assert (source.requests() > before) == (asked.calls > 0)

    async def test_a_throttle_that_lets_nothing_through_keeps_the_source_unasked(self, source: SourceUnderTest) -> None:
        await fill(source)
        before, held = source.requests(), asyncio.Event()

        async def hold() -> None:
            held.set()
            await asyncio.Event().wait()

        connector = source.open(Means(source.clock, hold))
        listing = asyncio.create_task(seen(connector))
        waiting = asyncio.create_task(held.wait())
        await asyncio.wait({listing, waiting}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert source.requests() == before
        for task in (listing, waiting):
            task.cancel()
        await asyncio.gather(listing, waiting, return_exceptions=True)
        await connector.close()

    async def test_after_close_nothing_goes_on(self, source: SourceUnderTest, asked: Asked) -> None:
        await fill(source)
        tasks = asyncio.all_tasks()
        connector = source.open(Means(source.clock, asked))
        listing = await connector.list(KnownBefore())
        await anext(listing.items)
        if (close := getattr(listing.items, "aclose", None)) is not None:
            await close()  # a run that stops early leaves the rest of a listing
        for _ in range(2):
            await connector.close()
        seen_then = source.requests()
        if left := asyncio.all_tasks() - tasks:  # what was going on may end, and begins nothing
            assert not (await asyncio.wait(left, timeout=5))[1]
        assert source.requests() == seen_then

    async def test_a_run_hands_over_all_and_the_second_nothing(
        self, source: SourceUnderTest, connector: Connector, tmp_path: Path
    ) -> None:
        await fill(source)
        async with pipeline(tmp_path / "pipeline") as pipe:
            report = await pipe.run(source.settings(), source=connector, clock=source.clock)
            assert (report.published, report.failed) == (len(DOCUMENTS), 0), report.message
            report = await pipe.run(source.settings(), source=connector, clock=source.clock)
            assert (report.published, report.documents) == (0, len(DOCUMENTS)), report.message
            await source.remove("docs/b.md")
            await source.put("a.md", b"ALPHA")
            report = await pipe.run(source.settings(), source=connector, clock=source.clock)
            assert (report.published, report.deleted, report.documents) == (1, 1, len(DOCUMENTS) - 1)
            await source.break_down()
            report = await pipe.run(source.settings(), source=connector, clock=source.clock)
            assert (report.result, report.reason, report.deleted) == ("Failed", "SourceUnavailable", 0)


async def kept_until_the_next_listing(source: SourceUnderTest, connector: Connector) -> None:
    """Hold a source that reads as it lists to what it keeps of a document which vanishes after that."""
    await fill(source)
    found = (await seen(connector)).listed
    await source.remove("a.md")
    assert (await connector.fetch(found["a.md"])).data == DOCUMENTS["a.md"]
    assert "a.md" not in (await seen(connector)).listed


async def fill(source: SourceUnderTest) -> None:
    for path, data in DOCUMENTS.items():
        await source.put(path, data)


def later() -> float:
    """A clock an hour ahead, by which everything that was just written is at rest."""
    return time.time() + 3600
