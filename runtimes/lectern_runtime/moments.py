"""Moments as text: the one form in which the runtimes write a time into messages and reports, and read options."""

from __future__ import annotations

from datetime import UTC, datetime

from lectern_contract.errors import ConfigurationError


def rfc3339(seconds: float) -> str:
    """`seconds` since 1970 UTC as RFC 3339 with milliseconds, for instance 2026-11-21T00:00:00.000Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(text: str, option: str) -> float:
    """Seconds since 1970 UTC of the moment that was given with `option`; raises `ConfigurationError`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{option} {text}: no moment; write it like 2026-11-21T08:00:00Z") from error
    if moment.tzinfo is None:
        raise ConfigurationError(f"{option} {text}: it has no time zone; write it like 2026-11-21T08:00:00Z")
    return moment.timestamp()
