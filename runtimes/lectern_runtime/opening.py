"""What a runtime does between its start and its work: it opens its adapters, patiently, and tells why it is not ready.

The mains open their port first and then call this, so that a world which is away is a reason at `/readyz` and never
an end of the process. Faults of the configuration pass through.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lectern_contract.errors import DependencyError

Result = TypeVar("Result")
FIRST_SECONDS = 0.5
LONGEST_SECONDS = 15.0
LONGEST_ASKED_SECONDS = 60.0
ATTEMPT_SECONDS = 60.0
"""Of one attempt: an adapter that hangs is one that is away."""
MAX_REASON = 300

logger = logging.getLogger("lectern.opening")


class Readiness:
    """Why this process cannot do its work yet, in one sentence; the empty reason means that it can."""

    def __init__(self) -> None:
        self._reason = "the settings are read, and nothing is opened yet"

    @property
    def reason(self) -> str:
        """What is missing, or nothing; may be read from any thread."""
        return self._reason

    def waits_for(self, error: DependencyError) -> None:
        """Take what `error` says as the reason."""
        self._reason = f"waiting for the {error.dependency}: {str(error)[:MAX_REASON]}"

    def done(self) -> None:
        """Everything is open."""
        self._reason = ""


@dataclass(frozen=True, slots=True)
class Patience:
    """How to go on trying; pauses double from `first_seconds` to `longest_seconds`, each shortened at random."""

    readiness: Readiness
    first_seconds: float = FIRST_SECONDS
    longest_seconds: float = LONGEST_SECONDS
    attempt_seconds: float = ATTEMPT_SECONDS
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: random.Random = field(default_factory=random.Random)

    async def opened(self, what: str, operation: Callable[[], Awaitable[Result]]) -> Result:
        """Return the result of `operation`, tried until the world lets it succeed; `what` is named where it hangs."""
        attempt = 0
        while True:
            try:
                async with asyncio.timeout(self.attempt_seconds):
                    return await operation()
            except TimeoutError:
                seconds = self.attempt_seconds
                error = DependencyError(f"it keeps silent for {seconds:.0f} s; is it overloaded?", dependency=what)
            except DependencyError as failed:
                error = failed
            await self.pause(attempt, error)
            attempt += 1

    async def pause(self, attempt: int, error: DependencyError) -> None:
        """Tell of `error` and wait before the attempt after number `attempt`, which counts from 0."""
        self.readiness.waits_for(error)
        logger.warning("%s is not available, trying again: %s", error.dependency, error)
        ceiling = min(self.longest_seconds, self.first_seconds * 2 ** min(attempt, 16))
        asked = min(error.retry_after_seconds or 0.0, LONGEST_ASKED_SECONDS)
        await self.sleep(asked + self.chance.uniform(ceiling / 2, ceiling))


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Return the result of `work`, or None once `stop` is set: then the work is cancelled and awaited."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        return None
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
