"""What the connectors to document clouds share: changes since a cursor or everything, refusals in words, bounded bytes.

Base of the googleDrive and sharePoint connectors, which say how their cloud lists, what it changed, and where it keeps
bytes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lectern_runtime.ingest.cloud.rest import Refusal
from lectern_runtime.ingest.connector import Fetched, Item, Known, Listed, Listing, SourceEmpty, SourceUnavailable
from lectern_runtime.ingest.retries import TryAgain
from lectern_runtime.ingest.unread import too_large, unread
from lectern_runtime.ingest.web.api_source import Api, ApiSource

_NO_CURSOR = frozenset({400, 404, 410})
Result = TypeVar("Result")


class Cursor(BaseModel):
    """What a listing ends with; `folders` is the text of its `Folders`."""

    model_config = ConfigDict(extra="forbid")

    folders: str

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The cursor of an earlier listing; None for what is none of this form."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None

    def text(self) -> str:
        """The text for `read`; equal cursors give equal text."""
        return self.model_dump_json()


@dataclass(frozen=True, slots=True)
class Vendor:
    """A cloud as its refusals and faults are told.

    `place` is what is listed, `grant` what lets it be listed. `faults` are reason and detail of one document by the
    cloud's code or by status, `other` those of any other refusal.
    """

    name: str
    place: str
    grant: str
    faults: Mapping[str | int, tuple[str, str]]
    other: tuple[str, str]

    def of_document(self, refusal: Refusal) -> Exception:
        """Why one document is not given, or that the cloud as a whole cannot answer now."""
        if (told := self.faults.get(refusal.code) or self.faults.get(refusal.status)) is not None:
            return unread(*told)
        if refusal.status in (401, 429) or refusal.status >= 500:
            return TryAgain(f"{self.name} cannot answer now ({refusal}); see its state")
        reason, step = self.other
        return unread(reason, f"{self.name} does not give it ({refusal}); {step}")

    def of_listing(self, refusal: Refusal) -> SourceUnavailable:
        """Why nothing can be listed."""
        return SourceUnavailable(f"{self.name} refuses to answer ({refusal}); {self.grant}")

    def empty(self) -> SourceEmpty:
        """That there is nothing, which may be a mistake."""
        return SourceEmpty(
            f"{self.place} holds no file, as one that is not the one meant; if it was emptied on purpose, put any file "
            "there and run again"
        )


class CursorSource(ApiSource[Api]):
    """The documents of one source."""

    vendor: ClassVar[Vendor]

    async def list(self, known: Known) -> Listing:
        """What changed since the cursor, or everything. Raises `SourceUnavailable`, or `SourceEmpty` where nothing is.

        Everything is listed as well where the changes do not tell all.
        """
        await self._prepare()
        if known.cursor and (changes := await self._changes_since(known.cursor)) is not None:
            return replace(changes, whole=False)
        everything = await self._everything()
        return replace(everything, items=self._some(everything.items))

    async def fetch(self, listed: Listed) -> Fetched:
        """The document's bytes. Raises `DocumentError`, for instance Vanished, TooLarge or AccessDenied."""
        try:
            found = await self._read(listed)
        except Refusal as refusal:
            raise self.vendor.of_document(refusal) from refusal
        if len(found.data) > self._max_bytes:
            raise too_large(self._max_bytes)
        return found

    # ------------------------------------------------------------------------- what each cloud says

    @abstractmethod
    async def _prepare(self) -> None:
        """Find what is listed, as it is now. Raises `SourceUnavailable`."""

    @abstractmethod
    async def _everything(self) -> Listing:
        """Every document with the cursor that comes after."""

    @abstractmethod
    async def _changes_since(self, cursor: str) -> Listing | None:
        """What changed since; None where everything must be listed to know it."""

    @abstractmethod
    async def _read(self, listed: Listed) -> Fetched:
        """The bytes, of which at most one more than the limit is read. Raises `Refusal`."""

    # ---------------------------------------------------------------------------------- for each cloud

    async def _answer(self, question: Awaitable[Result]) -> Result:
        """The answer to what must be answered for a listing. Raises `SourceUnavailable`."""
        try:
            return await question
        except Refusal as refusal:
            raise self.vendor.of_listing(refusal) from refusal

    async def _answer_since(self, question: Awaitable[Result]) -> Result | None:
        """The answer to what a cursor asks; None where it is no cursor any more. Raises `SourceUnavailable`."""
        try:
            return await question
        except Refusal as refusal:
            if refusal.status in _NO_CURSOR:
                return None
            raise self.vendor.of_listing(refusal) from refusal

    async def _some(self, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
        """The items. Raises `SourceEmpty` where there are none."""
        empty = True
        async for item in items:
            empty = False
            yield item
        if empty:
            raise self.vendor.empty()
