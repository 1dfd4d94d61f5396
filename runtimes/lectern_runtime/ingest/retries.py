"""Asks a source again after a passing fault: bounded, with full jitter, and never before it asked to be left alone.

Connectors raise `TryAgain` for what may pass (see `PASSING_STATUSES`) inside `Retries.call`; every other error ends
the call at once. What is left after the last attempt is still a `SourceUnavailable`, which the connector may turn
into the fault of one document.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from lectern_runtime.ingest.connector import SourceUnavailable

Result = TypeVar("Result")
ATTEMPTS = 4
FIRST_SECONDS = 0.5
LONGEST_SECONDS = 20.0
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
class Retries:
    """How often and how patiently one request is repeated."""

    attempts: int = ATTEMPTS
    first_seconds: float = FIRST_SECONDS
    longest_seconds: float = LONGEST_SECONDS
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: random.Random = field(default_factory=random.Random)

    async def call(self, operation: Callable[[], Awaitable[Result]]) -> Result:
        """The result of `operation`; raises its last `TryAgain` after `attempts` of them or when asked to stay away."""
        attempt = 1
        while True:
            try:
                return await operation()
            except TryAgain as error:
                if attempt >= self.attempts or (error.retry_after_seconds or 0.0) > LONGEST_ASKED_SECONDS:
                    raise
                await self.sleep(self.delay(attempt, error.retry_after_seconds))
            attempt += 1

    def delay(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next attempt: anything up to a ceiling that doubles, on top of what was asked."""
        ceiling = min(self.longest_seconds, self.first_seconds * 2 ** min(attempt - 1, 16))
        return (asked or 0.0) + self.chance.uniform(0, ceiling)


def retry_after(header: str | None, *, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, as digits or as a date (RFC 9110, 10.2.3); None without a usable one.

    `now` is in seconds since 1970 UTC.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, moment.timestamp() - now)
