"""The protocol between a run and its source: what is there, and the bytes of one document.

Each file of `connectors/` implements it for one kind of source, and `run.py` is its only caller. A
connector neither knows the manifest nor decides anything; it says what it sees, or that it could not look.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
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
    `size` is in bytes, and None where the source does not tell.
    """

    uri: str
    path: str
    etag: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A document, or a folder with all below it, that could not be listed; what the last run knew of it stays."""

    uri: str
    reason: str
    detail: str


class Connector(Protocol):
    """One kind of source."""

    def list(self) -> AsyncIterator[Listed | Unlisted]:
        """Everything that is there now, in the order of paths. Raises `SourceUnavailable` or `SourceEmpty`."""

    async def fetch(self, uri: str) -> bytes:
        """The bytes of a listed document. Raises `DocumentError` when only this document cannot be read."""
