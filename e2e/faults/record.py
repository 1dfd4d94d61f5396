"""What the fault proxy saw: writes, watch events, answers by status, and whether Retry-After was honoured.

The proxy appends in its own thread; everybody else reads. Numbers of writes and events start anew with `restart`.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e2e.faults.rules import EventKey, WriteKey
from e2e.faults.targets import Target

EARLY_SECONDS = 0.05
"""How much before the end of a Retry-After a request is still on time: two processes, two clocks."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write that reached the API server; `status` 0: it was told to nobody (killed before, or lost).

    `effective` says whether something changed; `created` whether the object is new by it.
    """

    key: WriteKey
    target: Target
    digest: str
    status: int
    effective: bool
    created: bool
    seconds: float
    version: str


@dataclass(frozen=True, slots=True)
class Told:
    """One watch event that came by, and what became of it: told, dropped or delayed."""

    key: EventKey
    type: str
    name: str
    fate: str


@dataclass(frozen=True, slots=True)
class Hurry:
    """A request that came before the time that Retry-After had asked for."""

    method: str
    path: str
    early_seconds: float


class Record:
    """Everything that came by since `restart`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.restart()

    def restart(self) -> None:
        """Forget what was seen and count from 1 again."""
        with self._lock:
            self.writes: list[Write] = []
            self.told: list[Told] = []
            self.answers: Counter[tuple[str, int]] = Counter()
            self.hurries: list[Hurry] = []
            self.asked_to_wait = 0
            self.last_write = 0.0
            self.last_request = 0.0
            self._write_numbers: Counter[tuple[str, str]] = Counter()
            self._event_numbers: Counter[str] = Counter()
            self._versions: dict[Target, str] = {}
            self._until: dict[tuple[str, str], float] = {}

    def next_write(self, method: str, target: Target) -> WriteKey:
        """Number one more write to `target`."""
        where = target.masked()
        self._write_numbers[method, where] += 1
        return WriteKey(method, where, self._write_numbers[method, where])

    def next_event(self, plural: str) -> EventKey:
        """Number one more event of a kind."""
        self._event_numbers[plural] += 1
        return EventKey(plural, self._event_numbers[plural])

    def wrote(self, key: WriteKey, target: Target, body: bytes, status: int, answer: bytes) -> Write:
        """Remember a write and the server's answer."""
        version = _version(answer) if 200 <= status < 300 else ""
        effective = 200 <= status < 300 and (not version or self._versions.get(_whole(target)) != version)
        if version:
            self._versions[_whole(target)] = version
        digest = hashlib.sha256(body).hexdigest()[:12]
        write = Write(key, target, digest, status, effective, status == 201, time.monotonic(), version)
        self.writes.append(write)
        if effective:
            self.last_write = write.seconds
        return write

    def answered(self, method: str, path: str, status: int, headers: Mapping[str, str]) -> None:
        """Count an answer, and note until when it asks the caller to stay away."""
        self.answers[method, status] += 1
        wait = headers.get("Retry-After", "")
        if wait.isdigit() and int(wait) > 0:
            self.asked_to_wait += 1
            self._until[method, path] = time.monotonic() + int(wait)

    def came(self, method: str, path: str) -> None:
        """Note a request, and whether it came too early."""
        self.last_request = now = time.monotonic()
        until = self._until.pop((method, path), None)
        if until is not None and until - now > EARLY_SECONDS:
            self.hurries.append(Hurry(method, path, until - now))

    def effective_writes(self) -> list[Write]:
        """Return the writes that changed something that matters."""
        return [each for each in list(self.writes) if each.effective and each.target.changes_state]


def _whole(target: Target) -> Target:
    """The object that a subresource belongs to: they share one resource version."""
    return Target(target.plural, target.namespace, target.name)


def _version(answer: bytes) -> str:
    try:
        body: Any = json.loads(answer)
    except ValueError:
        return ""
    found = body.get("metadata", {}).get("resourceVersion", "") if isinstance(body, dict) else ""
    return found if isinstance(found, str) else ""
