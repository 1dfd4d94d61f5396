"""Waits in tests: ask again until the answer is the wanted one, and tell the last answer when it never is."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(ask: Callable[[], T], wanted: Callable[[T], bool], *, seconds: float = 15.0) -> T:
    """Return the first answer that is `wanted`; fail with the last one after `seconds`."""
    deadline = time.monotonic() + seconds
    while not wanted(answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s; the last answer was {answer!r}")
        time.sleep(0.05)
    return answer
