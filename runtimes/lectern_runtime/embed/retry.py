"""Tries again what failed for the world's sake, with full jitter and never before it was asked to come back.

The worker's stages wrap their calls of stores, logs and models in it; a fault of the document passes through.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from lectern_contract.errors import DependencyError

Result = TypeVar("Result")
FIRST_SECONDS = 0.25
LONGEST_SECONDS = 30.0
LONGEST_ASKED_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how patiently; `told` hears of each failed attempt."""

    max_attempts: int
    told: Callable[[DependencyError], None]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: random.Random = field(default_factory=random.Random)

    async def call(self, operation: Callable[[], Awaitable[Result]], *, forever: bool = False) -> Result:
        """The result of `operation`; after `max_attempts` failures the last `DependencyError`, unless `forever`."""
        attempt = 1
        while True:
            try:
                return await operation()
            except DependencyError as error:
                self.told(error)
                if attempt >= self.max_attempts and not forever:
                    raise
                await self.sleep(self.delay(attempt, error.retry_after_seconds))
            attempt += 1

    def delay(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next attempt: anything up to a ceiling that doubles, and at least what was asked."""
        ceiling = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(attempt - 1, 16))
        jitter = self.chance.uniform(0, ceiling)
        return jitter if asked is None else min(asked, LONGEST_ASKED_SECONDS) + jitter
