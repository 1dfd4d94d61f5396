"""The source in memory by which runs are tested keeps what every connector promises, with and without changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lectern_contract.errors import DocumentError
from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest.connector import Connector, Fetched, Item, Known, Listed, Listing, Means, SourceUnavailable
from lectern_runtime_tests.contracts.connector_contract import (
    MAX_BYTES,
    NO_EXEMPTION,
    ODD_NAMES,
    ConnectorContract,
    later,
)
from lectern_runtime_tests.ingest.told import ToldSource
from lectern_runtime_tests.pipeline import connector_settings


class Served:
    """The `SourceUnderTest` of a `ToldSource`: each listing and each fetch is one request."""

    etags = True
    can_be_empty = True
    odd_names = ODD_NAMES
    exempt = NO_EXEMPTION

    def __init__(self, *, deltas: bool) -> None:
        self.deltas = deltas
        self.told = ToldSource(deltas=deltas)
        self.seen = 0
        self.broken = False

    async def put(self, path: str, data: bytes) -> None:
        self.told.write(path, data.decode())

    async def remove(self, path: str) -> None:
        self.told.remove(path)

    async def break_down(self) -> None:
        self.broken = True

    def requests(self) -> int:
        return self.seen

    def settings(self) -> ConnectorSettings:
        return connector_settings(Path("/source"), max_document_bytes=MAX_BYTES)

    def open(self, means: Means) -> Connector:
        return Client(self, means)

    def clock(self) -> float:
        return later()

    def ask(self) -> None:
        self.seen += 1
        if self.broken:
            raise SourceUnavailable("nobody answers; start it again")


class Client:
    """A connector to it."""

    def __init__(self, source: Served, means: Means) -> None:
        self._source = source
        self._means = means

    async def list(self, known: Known) -> Listing:
        listing = await self._source.told.list(known)
        return Listing(self._items(listing), listing.whole, listing.cursor)

    async def _items(self, listing: Listing) -> AsyncIterator[Item]:
        await self._means.throttle()
        self._source.ask()
        async for item in listing.items:
            yield item

    async def fetch(self, listed: Listed) -> Fetched:
        await self._means.throttle()
        self._source.ask()
        if listed.size is not None and listed.size > MAX_BYTES:
            raise DocumentError("it is too large", stage="fetch", reason="TooLarge")
        return await self._source.told.fetch(listed)

    async def close(self) -> None:
        """Nothing is held."""


class TestToldSource(ConnectorContract):
    @pytest.fixture(params=[False, True], ids=["whole", "changes"])
    def source(self, request: pytest.FixtureRequest) -> Served:
        return Served(deltas=request.param)
