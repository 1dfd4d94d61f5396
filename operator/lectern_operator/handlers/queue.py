"""Which resource is looked at next: one pass at a time for each, a bounded number at once, changes before resyncs.

Everything that wants a pass adds a UID here; `run` hands them to the boundary and plans the next look after a failure
with a growing pause. kopf's own queue has neither order nor bound, and its retries block the events of an object.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from enum import IntEnum

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0


class Priority(IntEnum):
    """What goes first: a new or changed resource, a changed child, a second look, a look at everything."""

    CHANGED = 0
    CHILD = 1
    AGAIN = 2
    RESYNC = 3


class Retry(Exception):
    """A pass has to be repeated; `after_seconds` is what the other side asked for, when it did."""

    def __init__(self, after_seconds: float | None = None) -> None:
        super().__init__("the pass has to be repeated")
        self.after_seconds = after_seconds


class WorkQueue:
    """UIDs in the order in which they are looked at."""

    def __init__(self, *, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._order = itertools.count()
        self._heap: list[tuple[Priority, int, str]] = []
        self._waiting: dict[str, Priority] = {}
        self._since: dict[str, float] = {}
        self._busy: set[str] = set()
        self._dirty: dict[str, Priority] = {}
        self._later: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._ready = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting) + len(self._busy)

    def age(self) -> float:
        """Return how long the resource that waits longest has been waiting, in seconds."""
        return time.monotonic() - min(self._since.values()) if self._since else 0.0

    def add(self, uid: str, priority: Priority = Priority.CHANGED) -> None:
        """Ask for a pass; many askings before it begins are one, and one during a pass is another pass."""
        if uid in self._busy:
            self._dirty[uid] = min(priority, self._dirty.get(uid, priority))
            return
        if uid in self._waiting and self._waiting[uid] <= priority:
            return
        self._waiting[uid] = priority
        self._since.setdefault(uid, time.monotonic())
        heapq.heappush(self._heap, (priority, next(self._order), uid))
        self._ready.set()

    def add_later(self, uid: str, seconds: float, priority: Priority = Priority.AGAIN) -> None:
        """Ask for a pass after `seconds`; the latest such asking counts, but a resync puts off nothing."""
        if priority is Priority.RESYNC and uid in self._later:
            return
        if (planned := self._later.pop(uid, None)) is not None:
            planned.cancel()
        self._later[uid] = asyncio.get_running_loop().call_later(seconds, self._due, uid, priority)

    def forget(self, uid: str) -> None:
        """Drop what is planned for a resource that is gone."""
        if (planned := self._later.pop(uid, None)) is not None:
            planned.cancel()
        self._waiting.pop(uid, None)
        self._since.pop(uid, None)
        self._dirty.pop(uid, None)
        self._failures.pop(uid, None)

    async def close(self) -> None:
        """Let no other pass begin, and wait for those that run."""
        self._closed = True
        await self._quiet.wait()

    async def run(self, act: Callable[[str], Awaitable[float | None]], *, workers: int) -> None:
        """Call `act` for one UID after the other, `workers` at once, until cancelled.

        `act` returns after how many seconds to look again anyway (None: only when asked), or raises `Retry`.
        """
        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(self._work(act))

    async def _work(self, act: Callable[[str], Awaitable[float | None]]) -> None:
        while True:
            uid = await self._take()
            try:
                again = await act(uid)
                self._failures.pop(uid, None)
            except Retry as retry:
                again = self._pause(uid, retry.after_seconds)
            finally:
                self._busy.discard(uid)
                if not self._busy:
                    self._quiet.set()
            if again is not None:
                self.add_later(uid, again)
            if (priority := self._dirty.pop(uid, None)) is not None:
                self.add(uid, priority)

    async def _take(self) -> str:
        while True:
            while self._heap and not self._closed:
                priority, _, uid = heapq.heappop(self._heap)
                if self._waiting.get(uid) == priority:  # else it was forgotten, or asked for with more haste
                    del self._waiting[uid], self._since[uid]
                    self._busy.add(uid)
                    self._quiet.clear()
                    return uid
            self._ready.clear()
            await self._ready.wait()

    def _due(self, uid: str, priority: Priority) -> None:
        self._later.pop(uid, None)
        self.add(uid, priority)

    def _pause(self, uid: str, asked: float | None) -> float:
        """Double the pause with every failure in a row, with jitter, and never come before the other side asked."""
        failures = self._failures[uid] = self._failures.get(uid, 0) + 1
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20))
        return max(asked or 0.0, longest * (0.5 + 0.5 * self._chance()))
