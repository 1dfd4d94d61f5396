"""Tells a world that is away from a world that only one document fails in.

The worker's stages make their calls of stores, logs and models through it. What all documents need is waited for
without an end; what fails for one document is asked beside a harmless question, and only where that is answered does
the failure count against the document.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from lectern_contract.errors import DependencyError, DocumentError
from lectern_runtime.retries import Retries

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Attempts:
    """How patiently; `retries` has no last attempt and hears of each that failed."""

    retries: Retries = field(default_factory=Retries)

    async def patient(self, operation: Callable[[], Awaitable[Result]]) -> Result:
        """The result of `operation`, however long the world is away."""
        return await self.retries.call(operation)

    async def judged(
        self, operation: Callable[[], Awaitable[Result]], harmless: Callable[[], Awaitable[object]]
    ) -> Result:
        """The result of `operation`. Raises its `DependencyError` only where it fails and `harmless` is answered.

        While neither is answered the world is away and is waited for. An operation that fails again as soon as the
        world is back is raised whatever `harmless` says: it may be what the world falls over.
        """
        try:
            return await operation()
        except DependencyError as error:
            self.retries.told(error)
            if not await self._was_away(harmless):
                raise
        try:
            return await operation()
        except DependencyError as error:
            self.retries.told(error)
            raise

    async def _was_away(self, harmless: Callable[[], Awaitable[object]]) -> bool:
        """Wait until `harmless` is answered, if only by a refusal; return whether there was anything to wait for."""
        attempt = 0
        while True:
            try:
                await harmless()
            except DocumentError:
                return attempt > 0
            except DependencyError as error:
                self.retries.told(error)
                attempt += 1
                await self.retries.sleep(self.retries.delay(attempt, error.retry_after_seconds))
            else:
                return attempt > 0
