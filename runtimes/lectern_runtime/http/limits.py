"""Bounds of one replica: how many requests at once, and how many bytes of their bodies.

The border enters both before a route begins, so that a replica that is full says so at once instead of queueing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lectern_runtime.http.problems import RETRY_SECONDS, Kind, Listed, Refused


class Concurrency:
    """Counts the requests that are being worked on and refuses more than `most` as `full`."""

    def __init__(self, most: int, full: Listed | Kind) -> None:
        self._most = most
        self._full = full
        self.active = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """One request's place; raises `Refused` when there is none."""
        if self.active >= self._most:
            raise Refused(
                self._full,
                f"{self._most} requests are being worked on, which is this replica's limit; "
                f"try again in {RETRY_SECONDS} s.",
            )
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1


class Room:
    """Counts the bytes of bodies that are held and refuses more than `most_bytes` as `full`."""

    def __init__(self, most_bytes: int, full: Listed | Kind) -> None:
        self._most = most_bytes
        self._full = full
        self.held = 0

    def take(self, size: int) -> None:
        """Hold `size` bytes more; raises `Refused` when there is no room for them."""
        if self.held + size > self._most:
            raise Refused(
                self._full,
                f"The bodies that are being worked on have together more than {self._most} bytes, which is this "
                f"replica's limit; try again in {RETRY_SECONDS} s.",
            )
        self.held += size

    def give_back(self, size: int) -> None:
        """Let go of `size` bytes."""
        self.held -= size
