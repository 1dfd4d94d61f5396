"""A1: the operator is killed before and after every effective write of every scenario, and started again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from e2e.faults import matrix
from e2e.faults.rules import Kill, Moment, Rules
from e2e.faults.scenarios import BY_NAME
from e2e.faults.trials import Bench, Outcome, Reference

MOMENTS: tuple[Moment, ...] = ("before", "after")


def points(wanted: Mapping[str, Reference]) -> list[matrix.Point]:
    """Return every point: each effective write of each reference run, before and after."""
    return [
        point(name, Kill(moment, write)) for name, each in wanted.items() for write in each.writes for moment in MOMENTS
    ]


def point(scenario: str, kill: Kill) -> matrix.Point:
    """Return one point."""
    return matrix.Point(BY_NAME[scenario], Rules(kill=kill), f"kill={kill}")


def run(
    side_by_side: Sequence[Bench],
    wanted: Mapping[str, Reference],
    *,
    most: int | None,
    seed: int,
    told: Callable[[Outcome], None] = lambda _: None,
) -> matrix.Result:
    """Try all points, or `most` of them chosen by `seed`."""
    known = points(wanted)
    return matrix.run(
        "A1", side_by_side[: matrix.BUSY], matrix.sampled(known, most, seed), wanted, known=len(known), told=told
    )
