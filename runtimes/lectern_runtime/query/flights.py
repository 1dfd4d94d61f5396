"""Lets identical questions that arrive together share one run: one leader's work, any number of listeners.

The pipeline joins a flight by the key of the answer. What the run yields is kept until it ends, so that a late
listener hears it from the beginning; when the last listener leaves, the run is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class _Flight(Generic[T]):
    """One run. What it yielded is bounded by the longest answer."""

    def __init__(self) -> None:
        self.events: list[T] = []
        self.ended = False
        self.failure: BaseException | None = None
        self.listeners = 0
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def run(self, source: AsyncIterator[T]) -> None:
        try:
            async for event in source:
                self.events.append(event)
                self._tell()
        except asyncio.CancelledError:
            self.failure = asyncio.CancelledError()
            raise
        except Exception as error:  # noqa: BLE001 - it is raised again in every listener
            self.failure = error
        finally:
            self.ended = True
            self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Flights(Generic[T]):
    """The runs that are under way, by key."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T]] = {}

    async def join(self, key: str, start: Callable[[], AsyncIterator[T]]) -> AsyncGenerator[tuple[T, bool], None]:
        """Everything that the run for `key` yields, each with whether another listener had started it.

        Raises what the run raises. Close the iterator to leave early.
        """
        flight = self._flights.get(key)
        shared = flight is not None
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.task = asyncio.create_task(flight.run(start()))
            flight.task.add_done_callback(partial(self._landed, key, flight))
        flight.listeners += 1
        heard = 0
        try:
            while True:
                while heard < len(flight.events):
                    heard += 1
                    yield flight.events[heard - 1], shared
                if flight.ended:
                    break
                await flight.changed.wait()
            if flight.failure is not None:
                raise flight.failure
        finally:
            flight.listeners -= 1
            if flight.ended or not flight.listeners:
                self._forget(key, flight)
            if not flight.listeners and flight.task is not None and not flight.ended:
                flight.task.cancel()

    def __len__(self) -> int:
        return len(self._flights)

    def _landed(self, key: str, flight: _Flight[T], _: asyncio.Task[None]) -> None:
        self._forget(key, flight)

    def _forget(self, key: str, flight: _Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
