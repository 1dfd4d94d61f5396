"""How fast the API server is asked: a bounded number of requests at once, and none while it wants to be left alone.

A `Retry-After` is meant for the whole client, not for the one object whose request got it: everybody waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from lectern_contract.errors import DependencyError

AT_ONCE = 32
LONGEST_PAUSE_SECONDS = 120.0
"""More than that is not believed: a proxy may say a day."""
PATIENCE_SECONDS = 10.0
"""A request that would have to wait longer is given back to the queue at once."""


class Pace:
    """Lets requests through; `clock` is monotonic, in seconds."""

    def __init__(self, *, at_once: int = AT_ONCE, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._clock = clock
        self._resume_at = 0.0

    @asynccontextmanager
    async def turn(self, *, urgent: bool = False) -> AsyncIterator[None]:
        """Wait for a free place, for the time of the block; `urgent` needs none, but waits out a pause as well.

        Raises `DependencyError` where the pause is longer than `PATIENCE_SECONDS`.
        """
        if urgent:
            await self._wait_out()
            yield
            return
        async with self._slots:
            await self._wait_out()
            yield

    def asked_to_wait(self, seconds: float) -> None:
        """Send nothing for `seconds` from now on."""
        self._resume_at = max(self._resume_at, self._clock() + min(max(seconds, 0.0), LONGEST_PAUSE_SECONDS))

    async def _wait_out(self) -> None:
        while (left := self._resume_at - self._clock()) > 0:
            if left > PATIENCE_SECONDS:
                raise DependencyError(
                    f"the API server asked to be left alone for {left:.0f} s more; it is asked again after that",
                    dependency="kubernetes",
                    retry_after_seconds=left,
                )
            await asyncio.sleep(left)
