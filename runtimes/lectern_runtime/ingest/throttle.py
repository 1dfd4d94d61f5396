"""Lets a connector ask its source no more often than `spec.rateLimit` says."""

from __future__ import annotations

from aiolimiter import AsyncLimiter

from lectern_runtime.ingest.connector import Throttle


def throttle(requests_per_second: float) -> Throttle:
    """Return what a connector awaits before each request: a leaky bucket with room for one second."""
    burst = max(1.0, requests_per_second)
    limiter = AsyncLimiter(burst, burst / requests_per_second)
    return limiter.acquire
