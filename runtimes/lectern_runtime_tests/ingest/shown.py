"""A connector whose documents are shown as the conformance suite names and writes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from lectern_runtime.ingest.connector import Connector, Fetched, Item, Known, Listed, Listing

Bytes = Callable[[Listed, bytes], bytes]


def as_they_are(_listed: Listed, data: bytes) -> bytes:
    """The bytes of a source that adds nothing to them."""
    return data


@dataclass(frozen=True)
class Shown:
    """`connector` without what it puts in front of every path, and around a document, which `bare` takes off."""

    connector: Connector
    prefix: str = ""
    bare: Bytes = as_they_are

    async def list(self, known: Known) -> Listing:
        listing = await self.connector.list(known)
        return replace(listing, items=self._items(listing.items))

    async def _items(self, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
        async for item in items:
            if not isinstance(item, Listed):
                yield item
                continue
            assert item.path.startswith(self.prefix)
            yield replace(item, path=item.path.removeprefix(self.prefix))

    async def fetch(self, listed: Listed) -> Fetched:
        found = await self.connector.fetch(replace(listed, path=self.prefix + listed.path))
        return replace(found, data=self.bare(listed, found.data))

    async def close(self) -> None:
        await self.connector.close()
