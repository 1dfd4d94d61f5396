"""Moments as text: the one form in which the runtimes write a time into messages and reports."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """`seconds` since 1970 UTC as RFC 3339 with milliseconds, for instance 2026-11-21T00:00:00.000Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
