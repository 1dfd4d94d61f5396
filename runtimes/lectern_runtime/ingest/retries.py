"""Asks a source again after a passing fault: bounded, with full jitter, and never before it asked to be left alone.

Connectors raise `TryAgain` for what may pass (see `PASSING_STATUSES`) inside `Retries.call`; every other error ends
the call at once. What is left after the last attempt is still a `SourceUnavailable`, which the connector may turn
into the fault of one document.
"""

from __future__ import annotations

from dataclasses import dataclass

from lectern_contract.errors import DependencyError
from lectern_runtime import retries
from lectern_runtime.ingest.connector import SourceUnavailable
from lectern_runtime.retries import retry_after

__all__ = ["LONGEST_ASKED_SECONDS", "PASSING_STATUSES", "Retries", "TryAgain", "retry_after"]

LONGEST_ASKED_SECONDS = 120.0
"""A source that asks for more patience than this is left to the next run."""
PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that say nothing about the document but that the server cannot answer now."""


class TryAgain(SourceUnavailable):
    """A fault that may pass; `retry_after_seconds` is what the source asked for, when it did."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Retries(retries.Retries):
    """How often and how patiently one request is repeated."""

    attempts: int | None = 4
    first_seconds: float = 0.5
    longest_seconds: float = 20.0
    longest_asked_seconds: float = LONGEST_ASKED_SECONDS
    leaves: bool = True
    passing: type[DependencyError] = TryAgain
