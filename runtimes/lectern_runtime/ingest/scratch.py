"""What a run may put aside while it lasts: a private table of documents that is larger than memory.

`known.py` fills it from the manifest and asks it; `adapters/run_scratch.py` keeps it in a temporary file. Calls block
for microseconds to milliseconds and are made in threads, never two at once; nothing in it outlives the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lectern_contract.errors import DependencyError


class ScratchFailed(DependencyError):
    """The temporary file cannot be written, most often for want of room."""

    def __init__(self, message: str) -> None:
        super().__init__(message, dependency="temporary-file")


@dataclass(frozen=True, slots=True)
class Row:
    """One document. `entry` and `retry` are JSON, None where there is nothing of the kind.

    `entry` is what was handed over, `said` whether under the settings of this run. `retry` is what is needed to try a
    document again that failed. `listed` says how often this run's listing named it.
    """

    uri: str
    entry: str | None
    said: bool
    retry: str | None = None
    listed: int = 0


class Scratch(Protocol):
    """The table, in the order of uris by code point. Raises `ScratchFailed`."""

    @property
    def changed(self) -> bool:
        """Whether `note` or `retry` made any row another than `load` left it."""

    def load(self, rows: Iterable[Row]) -> None:
        """Put rows in place of those of the same uri; one with neither entry nor retry removes it."""

    def look(self, uris: Sequence[str]) -> list[Row]:
        """Return the rows as they were, in the order asked, and count each as named once more."""

    def find(self, uris: Sequence[str]) -> list[Row]:
        """Return the rows that are there, in the order asked."""

    def note(self, entries: Sequence[tuple[str, str | None]]) -> None:
        """Replace the entries of documents that were said (None: taken back); none of them needs to be tried again."""

    def retry(self, retries: Sequence[tuple[str, str | None]]) -> None:
        """Remember what is needed to try these documents again; None: they need not be."""

    def unlisted(self, places: Sequence[str]) -> None:
        """Remember that these documents, and all below them, could not be listed; empty stands for everything."""

    def absent(self, *, after: str, limit: int) -> list[Row]:
        """Return rows with an entry behind `after` that were not named and lie below no place that was not listed."""

    def waiting(self, *, after: str, limit: int) -> list[Row]:
        """Return rows behind `after` that are to be tried again and were not named."""

    def rows(self, *, after: str, limit: int) -> list[Row]:
        """Return rows behind `after` that have an entry or are to be tried again."""

    def count(self) -> int:
        """Count the rows with an entry."""

    def close(self) -> None:
        """Remove everything."""


OpenScratch = Callable[[], Scratch]
