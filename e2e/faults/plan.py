"""How much of each matrix is tried: everything, or with QUICK a seeded sample that takes minutes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Numbers of points (None: all), and durations; `seed` chooses among points and draws errors."""

    seed: int
    crashes: int | None
    unobserved: int | None
    stale: int | None
    stale_seconds: float
    api_scale: float
    mutations: int
    down_seconds: float


def plan(seed: int, *, quick: bool) -> Plan:
    """Return the whole plan of quality.md A, or its sample."""
    if quick:
        return Plan(
            seed,
            crashes=24,
            unobserved=16,
            stale=8,
            stale_seconds=8.0,
            api_scale=0.05,
            mutations=25,
            down_seconds=30.0,
        )
    return Plan(
        seed,
        crashes=None,
        unobserved=None,
        stale=None,
        stale_seconds=60.0,
        api_scale=1.0,
        mutations=500,
        down_seconds=600.0,
    )
