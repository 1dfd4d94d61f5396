"""Tries again what failed for the world's sake, with full jitter and never before it was asked to come back.

The worker's stages, the connectors and the S3 client each have one with their own bounds; all read `Retry-After` with
`retry_after`. A fault that no other attempt can change passes through at once.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC
from typing import TypeVar

from lectern_contract.errors import DependencyError

Result = TypeVar("Result")
LONGEST_READ_SECONDS = 86_400.0
"""More than a day that a server asks for is read as a day; what is waited for is bounded by each policy."""


def unheard(_error: DependencyError) -> None:
    """Nobody counts the attempts."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how patiently; `told` hears of each failed attempt.

    `passing` are the errors that may be none the next time. Without `attempts` there is no last one. Where more than
    `longest_asked_seconds` is asked for, that long is waited, or, with `leaves`, the call ends.
    """

    attempts: int | None = None
    first_seconds: float = 0.25
    longest_seconds: float = 30.0
    longest_asked_seconds: float = 300.0
    leaves: bool = False
    passing: type[DependencyError] = DependencyError
    told: Callable[[DependencyError], None] = unheard
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random

    async def call(self, operation: Callable[[], Awaitable[Result]]) -> Result:
        """The result of `operation`; raises the last error of kind `passing`, and every other one at once."""
        attempt = 1
        while True:
            try:
                return await operation()
            except self.passing as error:
                self.told(error)
                asked = error.retry_after_seconds
                if attempt == self.attempts or (self.leaves and (asked or 0.0) > self.longest_asked_seconds):
                    raise
            await self.sleep(self.delay(attempt, asked))
            attempt += 1

    def delay(self, attempt: int, asked: float | None) -> float:
        """Seconds before the attempt after number `attempt`: what was asked for, and anything up to a ceiling.

        The ceiling doubles with each attempt: full jitter keeps many who failed at once from coming back at once.
        """
        ceiling = min(self.longest_seconds, self.first_seconds * 2.0 ** min(attempt - 1, 16))
        return min(max(asked or 0.0, 0.0), self.longest_asked_seconds) + ceiling * self.chance()


def retry_after(header: str | None, *, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, as digits or as a date (RFC 9110, 10.2.3); None without a usable one.

    `now` is in seconds since 1970 UTC. The result is between 0 and a day.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:16]), LONGEST_READ_SECONDS)
    try:
        moment = email.utils.parsedate_to_datetime(text)
        if moment.tzinfo is None:  # the two older forms of a date in HTTP, which mean UTC as well
            moment = moment.replace(tzinfo=UTC)
        seconds = float(moment.timestamp() - now)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return min(max(0.0, seconds), LONGEST_READ_SECONDS)
