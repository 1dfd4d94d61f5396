"""A2: each watch event of every scenario is dropped in turn; the resync must see what it told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from e2e.faults import matrix
from e2e.faults.rules import EventKey, Rules
from e2e.faults.scenarios import BY_NAME
from e2e.faults.trials import Bench, Outcome, Reference

RESYNC_SECONDS = 20
"""Of the operator under trial, instead of 600: everything is compared with live lists twice in this time."""
CONVERGE_SECONDS = 60.0


def points(wanted: Mapping[str, Reference]) -> list[matrix.Point]:
    """Return every point: each event of each reference run."""
    return [point(name, event) for name, each in wanted.items() for event in each.events]


def point(scenario: str, event: EventKey) -> matrix.Point:
    """Return one point."""
    return matrix.Point(BY_NAME[scenario], Rules(drop=event), f"drop={event}", RESYNC_SECONDS, CONVERGE_SECONDS)


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
    return matrix.run("A2", side_by_side, matrix.sampled(known, most, seed), wanted, known=len(known), told=told)
