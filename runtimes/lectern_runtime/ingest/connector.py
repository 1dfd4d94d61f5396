"""The protocol between a run and its source: what is there or has changed, the bytes of one document, who may read it.

Each file of `connectors/` implements it for one kind of source, and `run.py` is its only caller. A connector never
sees the manifest and decides nothing; it says what it sees, or that it could not look.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from lectern_contract.errors import DependencyError


class SourceUnavailable(DependencyError):
    """The source as a whole could not be listed, which must never be read as "everything was deleted"."""

    def __init__(self, message: str) -> None:
        super().__init__(message, dependency="source")


class SourceEmpty(SourceUnavailable):
    """The source holds nothing at all, which is also how a volume looks that is not mounted."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One document of the source.

    `uri` names it for good and is what citations show. `path` is what globs and partition rules are matched
    against. An equal `etag` promises equal bytes; an empty one promises nothing, so that the bytes are read.
    `size` is in bytes, and None where the source does not tell. `restricted` says that the source itself lets fewer
    people read this document than the rest: it is then handed over for the source's restricted access level only,
    or not at all. `media_type` is what the source says of the bytes, without parameters; where it is empty the name
    tells, else the bytes.
    """

    uri: str
    path: str
    etag: str
    size: int | None
    restricted: bool = False
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A document, or a folder with all below it, that could not be listed; what the last run knew of it stays."""

    uri: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A document that the source says was removed since the cursor; only a listing of changes names these."""

    uri: str


Item = Listed | Unlisted | Gone


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source says of itself.

    `whole` says that a document which `items` do not name is gone, and must be so where no cursor was handed in;
    otherwise `items` are what changed since the cursor, in the order of the changes, and whatever they do not name is
    as it was. `cursor` gives, once `items` have ended, what the next run
    is to hand in; empty for a source without one.
    """

    items: AsyncIterator[Item]
    whole: bool = True
    cursor: Callable[[], str] = str


class Known(Protocol):
    """What the last complete run knew, as far as a connector needs it to ask for changes only."""

    @property
    def cursor(self) -> str:
        """What the listing of that run ended with; empty at the first run, and where everything is to be read."""

    async def etag(self, uri: str) -> str:
        """The etag of a document at its last hand-over; empty when it was never handed over."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes of a document with what came along: each of the texts may be empty.

    `media_type` is what the source says of the bytes, without parameters; `title` is the source's name for it;
    `etag` is that of these bytes, where fetching tells more than listing.
    """

    data: bytes
    media_type: str = ""
    title: str = ""
    etag: str = ""


class Connector(Protocol):
    """One kind of source."""

    async def list(self, known: Known) -> Listing:
        """What there is. Iterating raises `SourceUnavailable` or `SourceEmpty`."""

    async def fetch(self, listed: Listed) -> Fetched:
        """A listed document. Raises `DocumentError` when only this one cannot be read, else `SourceUnavailable`."""

    async def close(self) -> None:
        """Release what the connector holds."""


Clock = Callable[[], float]
"""Seconds since 1970 UTC."""
Throttle = Callable[[], Awaitable[None]]
"""Waits until the source may be asked once more (spec.rateLimit); called before every request."""


@dataclass(frozen=True, slots=True)
class Means:
    """What every connector is given beside its settings."""

    clock: Clock
    throttle: Throttle
