"""Answers that were given under an Idempotency-Key: the same request again gets the same answer.

In memory, for `KEPT_SECONDS`, and no more than `MOST_ANSWERS` of `MOST_BYTES` together, the oldest going first. A
restart forgets them, which is harmless: what a request asked for is there by then, and the same again is `unchanged`.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lectern_runtime.http.problems import Refused
from lectern_runtime.ingest.receiver.problems import Problem

KEPT_SECONDS = 24 * 3600.0
MOST_ANSWERS = 10_000
MOST_BYTES = 32 * 1024 * 1024
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Request:
    """What makes a request the same: who asks, what for, their key, and the digest of the body."""

    who: str
    what: str
    key: str
    digest: bytes

    @property
    def place(self) -> tuple[str, str, str]:
        """Where its answer is kept."""
        return self.who, self.what, self.key


@dataclass(frozen=True, slots=True)
class _Kept:
    digest: bytes
    status: int
    body: bytes
    at: float


class Answers:
    """The answers of one receiver."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, str, str], _Kept] = {}
        self._bytes = 0
        self._going_on: set[tuple[str, str, str]] = set()

    def given(self, request: Request) -> tuple[int, bytes] | None:
        """Status and body of the answer to the same request; raises `Refused` when the key was of another."""
        self._expire()
        kept = self._kept.get(request.place)
        if kept is None:
            return None
        if kept.digest != request.digest:
            raise Refused(
                Problem.IDEMPOTENCY_KEY_REUSED,
                "This Idempotency-Key came with another body within 24 h; choose a new one for a new request.",
            )
        return kept.status, kept.body

    @contextmanager
    def alone(self, request: Request) -> Iterator[None]:
        """Let no second request with the key in meanwhile; raises `Refused`."""
        if request.place in self._going_on:
            raise Refused(Problem.IDEMPOTENCY_KEY_IN_USE, "A request with this key is being answered; try again then.")
        self._going_on.add(request.place)
        try:
            yield
        finally:
            self._going_on.discard(request.place)

    def keep(self, request: Request, status: int, body: bytes) -> None:
        """Keep an answer for the same request."""
        self._drop(request.place)
        self._kept[request.place] = _Kept(request.digest, status, body, self._clock())
        self._bytes += len(body)
        while len(self._kept) > MOST_ANSWERS or self._bytes > MOST_BYTES:
            self._drop(next(iter(self._kept)))

    def _expire(self) -> None:
        oldest = self._clock() - KEPT_SECONDS
        while self._kept:
            place = next(iter(self._kept))
            if self._kept[place].at >= oldest:
                return
            self._drop(place)

    def _drop(self, place: tuple[str, str, str]) -> None:
        kept = self._kept.pop(place, None)
        self._bytes -= len(kept.body) if kept is not None else 0


def request(who: str, what: str, keys: list[str], body: bytes) -> Request | None:
    """The request under its Idempotency-Key, of which there may be one; None without. Raises `Refused`."""
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise Refused(Problem.IDEMPOTENCY_KEY_INVALID, "Send one Idempotency-Key of 1 to 255 visible ASCII characters.")
    return Request(who, what, keys[0], hashlib.sha256(body).digest())
