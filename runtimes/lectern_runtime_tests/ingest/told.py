"""A source in memory that tells what a test wrote into it, whole or as changes, and notes what it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from lectern_contract.errors import DocumentError
from lectern_runtime.ingest.connector import (
    Fetched,
    Gone,
    Item,
    Known,
    Listed,
    Listing,
    SourceEmpty,
    SourceUnavailable,
    Unlisted,
)


@dataclass
class Document:
    """One document; an etag of its own is made of its text."""

    text: str
    path: str = ""
    etag: str | None = None
    restricted: bool = False
    fetched: Fetched | None = None
    broken: bool = False


@dataclass
class ToldSource:
    """A `Connector`. With `deltas` a cursor counts the changes, and a listing that is handed one names those since."""

    deltas: bool = False
    documents: dict[str, Document] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    """Uris in the order of their changes; the cursor is a place in it."""
    extra: list[Item] = field(default_factory=list)
    """What else every listing names."""
    broken: bool = False
    asked: list[str] = field(default_factory=list)
    """Cursors that were handed in."""
    read: list[str] = field(default_factory=list)

    def write(self, uri: str, text: str, **more: object) -> None:
        self.documents[uri] = Document(text, **more)  # type: ignore[arg-type]  # fields of Document by name
        self.log.append(uri)

    def remove(self, uri: str) -> None:
        del self.documents[uri]
        self.log.append(uri)

    async def list(self, known: Known) -> Listing:
        self.asked.append(known.cursor)
        whole = not (self.deltas and known.cursor)
        uris: Sequence[str] = sorted(self.documents) if whole else self.log[int(known.cursor) :]
        cursor = str(len(self.log)) if self.deltas else ""
        return Listing(self._items(uris), whole=whole, cursor=lambda: cursor)

    async def _items(self, uris: Sequence[str]) -> AsyncIterator[Item]:
        if not (self.documents or self.log):
            raise SourceEmpty("there is nothing")
        for uri in uris:
            yield self._item(uri)
        for item in self.extra:
            yield item
        if self.broken:
            raise SourceUnavailable("the source broke off")

    def _item(self, uri: str) -> Item:
        found = self.documents.get(uri)
        if found is None:
            return Gone(uri)
        etag = found.etag if found.etag is not None else f"e:{found.text}"
        return Listed(uri, found.path or uri, etag, len(found.text), found.restricted)

    async def fetch(self, listed: Listed) -> Fetched:
        self.read.append(listed.uri)
        found = self.documents.get(listed.uri)
        if found is None or found.broken:
            raise DocumentError("it cannot be read", stage="fetch", reason="Broken")
        return found.fetched or Fetched(found.text.encode())

    async def close(self) -> None:
        """Nothing is held."""


def unlisted(uri: str) -> Unlisted:
    return Unlisted(uri, "Unlistable", "permission denied")
