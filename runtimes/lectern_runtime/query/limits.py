"""Bounds of one replica and of one request: how many at once, and until when.

The routes enter both before the pipeline begins, so that a replica that is full says so at once instead of queueing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lectern_runtime.query.problems import RETRY_SECONDS, Problem, Refused


class Concurrency:
    """Counts the requests that are being worked on and refuses more than `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.active = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """One request's place; raises `Refused` when there is none."""
        if self.active >= self._most:
            raise Refused(
                Problem.OVERLOADED,
                f"{self._most} requests are being worked on, which is this replica's limit; "
                f"try again in {RETRY_SECONDS} s.",
            )
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1
