"""What the fault proxy breaks, as values: each has a one-line form, so that a failure can be repeated from a report.

Writes and events are named by what they are about and by how often that was seen, not by their place among all
others: the operator works on several resources at once, and the order between them differs from run to run.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal

DIGEST = re.compile(r"(?<![A-Za-z0-9])[0-9a-f]{8,}(?![A-Za-z0-9])")
"""Hexadecimal, eight digits or more. In a text, one without any letter may as well be a number."""
Moment = Literal["before", "after"]
WRITE = re.compile(r"^(?P<method>[A-Z]+):(?P<target>[^#]+)#(?P<nth>\d+)$")


class BadRule(ValueError):
    """A line that is no rule."""


def masked(name: str) -> str:
    """Return `name` with `*` for what is a digest in it: names of one thing in different runs become equal."""
    return DIGEST.sub("*", name)


@dataclass(frozen=True, slots=True)
class WriteKey:
    """The `nth` write (from 1) by `method` to `target`, for instance `deployments/docs-worker` or `.../status`."""

    method: str
    target: str
    nth: int

    def __str__(self) -> str:
        return f"{self.method}:{self.target}#{self.nth}"

    @classmethod
    def parse(cls, text: str) -> WriteKey:
        """Read what `str` wrote."""
        if (found := WRITE.match(text)) is None:
            raise BadRule(f"{text!r} names no write; it looks like PATCH:deployments/docs-worker#1")
        return cls(found["method"], found["target"], int(found["nth"]))


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill the operator when it sends `write`: before it is forwarded, or once the API server has answered it."""

    moment: Moment
    write: WriteKey

    def __str__(self) -> str:
        return f"{self.moment}:{self.write}"

    @classmethod
    def parse(cls, text: str) -> Kill:
        """Read what `str` wrote."""
        moment, _, write = text.partition(":")
        if moment not in ("before", "after"):
            raise BadRule(f"{text!r} names no kill; it looks like before:PATCH:deployments/docs-worker#1")
        return cls("before" if moment == "before" else "after", WriteKey.parse(write))


@dataclass(frozen=True, slots=True)
class EventKey:
    """The `nth` watch event (from 1) of a kind's plural name; bookmarks do not count."""

    plural: str
    nth: int

    def __str__(self) -> str:
        return f"{self.plural}#{self.nth}"

    @classmethod
    def parse(cls, text: str) -> EventKey:
        """Read what `str` wrote."""
        plural, _, nth = text.partition("#")
        if not plural or not nth.isdigit():
            raise BadRule(f"{text!r} names no event; it looks like deployments#3")
        return cls(plural, int(nth))


@dataclass(frozen=True, slots=True)
class Delay:
    """Hold one event, and with it all later ones of its stream, for `seconds`."""

    event: EventKey
    seconds: float


Failure = Literal["conflict", "overload", "error", "unavailable", "gateway-timeout", "silence", "lost-answer"]
READ_FAILURES: tuple[Failure, ...] = ("overload", "error", "unavailable", "gateway-timeout", "silence")
WRITE_FAILURES: tuple[Failure, ...] = (*READ_FAILURES, "conflict", "lost-answer")
STATUSES: dict[Failure, tuple[int, str]] = {
    "conflict": (409, "Conflict"),
    "overload": (429, "TooManyRequests"),
    "error": (500, "InternalError"),
    "unavailable": (503, "ServiceUnavailable"),
    "gateway-timeout": (504, "Timeout"),
}
"""HTTP status and Kubernetes' reason of the failures that are an answer; the other two are none."""


@dataclass(frozen=True)
class Errors:
    """Let a `share` of the requests fail, each in one of the ways that its kind can fail, drawn by `seed`.

    `retry_after` is what 429 and 503 ask for, in seconds. After `silence_seconds` a connection that is not answered
    breaks; `lost-answer` carries the request out and breaks the connection instead of the answer.
    """

    share: float
    seed: int
    retry_after: int = 1
    silence_seconds: float = 5.0

    def draw(self, number: int, *, write: bool) -> Failure | None:
        """Return how the request with this number fails, or None: equal numbers fail equally."""
        chance = random.Random(f"{self.seed}/{number}")
        if chance.random() >= self.share:
            return None
        return chance.choice(WRITE_FAILURES if write else READ_FAILURES)


@dataclass(frozen=True)
class Rules:
    """Everything that the proxy breaks now.

    `outage`: every request is answered by 503. `gone`: every watch is told 410. `frozen_at`: lists are answered as of
    that resource version, and watches tell nothing that came after it; `frozen_kinds` names the kinds by their plurals,
    none means all.
    """

    kill: Kill | None = None
    drop: EventKey | None = None
    delay: Delay | None = None
    errors: Errors | None = None
    outage: bool = False
    gone: bool = False
    frozen_at: str = ""
    frozen_kinds: frozenset[str] = frozenset()

    def freezes(self, plural: str) -> bool:
        """Return whether the view of a kind stands still."""
        return bool(self.frozen_at) and (not self.frozen_kinds or plural in self.frozen_kinds)


NO_FAULTS = Rules()
