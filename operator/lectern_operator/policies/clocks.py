"""Whether a time in a status can be one that the operator wrote: anybody with the right may write a status."""

from __future__ import annotations

import re

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def has_been(time: str, now: str) -> bool:
    """Say whether `time` is RFC 3339 in UTC, as Kubernetes writes it, and not after `now`."""
    return _TIME.fullmatch(time) is not None and time <= now  # such texts are in the order of their times
