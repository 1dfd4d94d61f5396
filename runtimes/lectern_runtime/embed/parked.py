"""Keeps the messages whose documents the world fails just now, so that all others go on meanwhile.

The worker parks a document here after an attempt that failed for that document only, and takes it again when it is
due: by full jitter, and not before the other side asked it to come back. Pure: the clock is the worker's. What is
parked is not committed, so that a process which ends simply leaves it to redelivery.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lectern_runtime.embed.prepare import Again, Fault, Task

MOST_PARKED = 256
"""At this many nothing new is read. What is under way may be parked on top: five batches, 160 documents, at most."""
LONGEST_PARKED_SECONDS = 900.0
"""A document that keeps failing for longer is given up with its next failure, however few its attempts were."""
GIVEN_UP = "DependencyFailed"


@dataclass(frozen=True, slots=True)
class _Place:
    task: Task
    due: float


class Parked:
    """Tasks by document. `delay` gives the seconds after a failed attempt, `now` seconds that never go backwards."""

    def __init__(
        self, max_attempts: int, delay: Callable[[int, float | None], float], now: Callable[[], float]
    ) -> None:
        self._max_attempts = max_attempts
        self._delay = delay
        self._now = now
        self._places: dict[str, _Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    @property
    def full(self) -> bool:
        """Whether reading has to wait until documents leave."""
        return len(self._places) >= MOST_PARKED

    def park(self, task: Task, again: Again) -> Fault | None:
        """Keep a task after one more failed attempt, or return the fault that its document is given up with."""
        now = self._now()
        since = task.since if task.attempts else now
        attempts = task.attempts + 1
        if attempts >= self._max_attempts or now - since > LONGEST_PARKED_SECONDS:
            return Fault(again.stage, GIVEN_UP, again.detail, attempts)
        due = now + self._delay(attempts, again.retry_after_seconds)
        parked = replace(task, attempts=attempts, since=since)
        other = self._places.get(task.key)
        self._places[task.key] = _Place(newest(other.task, parked) if other is not None else parked, due)
        return None

    def take(self, key: str) -> Task | None:
        """Give out the task about a document, due or not: a newer message about it was read."""
        place = self._places.pop(key, None)
        return place.task if place is not None else None

    def take_due(self, most: int) -> list[Task]:
        """Give out those whose time has come, the longest due first."""
        now = self._now()
        due = sorted((place for place in self._places.values() if place.due <= now), key=lambda place: place.due)[:most]
        for place in due:
            del self._places[place.task.key]
        return [place.task for place in due]

    def seconds_until_due(self) -> float | None:
        """How long until the next one's time has come; None when nothing is parked."""
        if not self._places:
            return None
        return max(0.0, min(place.due for place in self._places.values()) - self._now())


def newest(one: Task, other: Task) -> Task:
    """The newer of two tasks about one document, which settles the messages of both."""
    newer, older = (one, other) if one.version >= other.version else (other, one)
    return replace(newer, replaced=(*newer.replaced, older.position, *older.replaced))
