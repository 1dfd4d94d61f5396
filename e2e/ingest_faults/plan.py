"""How much of each goal is tried: everything that quality.md B asks for, or with QUICK a seeded sample of minutes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Numbers and durations of one run; `seed` decides traffic and faults. Times are in seconds."""

    seed: int
    versions: int
    kills: int
    replayed: int
    sequences: int
    """Of the state machine, in process."""
    moves: int
    move_seconds: float
    restored: int
    slow_seconds: float


def plan(seed: int, *, quick: bool) -> Plan:
    """Return the whole plan, or its sample."""
    if quick:
        return Plan(
            seed,
            versions=1_000,
            kills=10,
            replayed=600,
            sequences=20,
            moves=4,
            move_seconds=15.0,
            restored=300,
            slow_seconds=40.0,
        )
    return Plan(
        seed,
        versions=50_000,
        kills=200,
        replayed=3_000,
        sequences=200,
        moves=20,
        move_seconds=30.0,
        restored=2_000,
        slow_seconds=300.0,
    )
