"""A seeded sample of every matrix against the operator, small enough for `make test`; `make faults-operator` has all.

A failed point is spelled as the line that `python -m e2e.faults replay` takes.
"""

from __future__ import annotations

import pytest

from e2e.faults import (
    api_faults,
    conventions,
    crashes,
    independence,
    matrix,
    mutated,
    mutations,
    stale,
    unobserved,
    upkeep,
)
from e2e.faults.scenarios import BY_NAME, trio
from e2e.faults.trials import Bench, Reference

SEED = 20261121
SCENARIOS = ("create", "spec-change", "delete")
CRASHES = 10
EVENTS = 6
VIEWS = 4
MUTATIONS = 6
HOLD_SECONDS = 4.0
API_SCALE = 0.02
DOWN_SECONDS = 2.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wanted(side_by_side: list[Bench]) -> dict[str, Reference]:
    """Run the scenarios without faults."""
    return matrix.references(side_by_side[0], [BY_NAME[name] for name in SCENARIOS])


def failed(result: matrix.Result) -> list[str]:
    """Return what did not converge."""
    print(f"\n{result.said()}, seed {SEED}")
    return [f"{each.replay}: {'; '.join(each.why)}" for each in result.outcomes if not each.converged]


def test_a_killed_operator_ends_where_one_that_lived_would(
    side_by_side: list[Bench], wanted: dict[str, Reference]
) -> None:
    result = crashes.run(side_by_side, wanted, most=CRASHES, seed=SEED)
    assert failed(result) == []
    assert result.reached >= CRASHES // 2


def test_a_dropped_event_is_made_up_for(side_by_side: list[Bench], wanted: dict[str, Reference]) -> None:
    assert failed(unobserved.run(side_by_side, wanted, most=EVENTS, seed=SEED)) == []


def test_a_stale_view_harms_nothing_that_lives(side_by_side: list[Bench], wanted: dict[str, Reference]) -> None:
    known = stale.points(("create", "spec-change"))
    tried = stale.sampled(known, VIEWS, SEED)
    assert failed(stale.run(side_by_side, wanted, tried, known=len(known), hold_seconds=HOLD_SECONDS)) == []


def test_faults_of_the_api_server_pass_over(side_by_side: list[Bench]) -> None:
    bench = side_by_side[0]
    namespaces = bench.arena.prepared(2, "api-faults")
    tried = api_faults.phases(SEED, scale=API_SCALE)
    endured = api_faults.run(bench, namespaces, tried, seed=SEED)
    assert [(each.said(), each.hurries, each.unready) for each in endured if not each.is_well] == []


def test_mutations_end_well(side_by_side: list[Bench]) -> None:
    arena = side_by_side[0].arena
    tried = [
        mutation
        for document in trio(arena.world)
        for mutation in mutations.mutations(document["kind"], document["spec"], count=MUTATIONS, seed=SEED)
    ]
    assert [each.line() for each in mutated.run(arena, tried, lanes=3) if each.wrong] == []


def test_pods_and_scaling_go_on_without_an_operator(side_by_side: list[Bench]) -> None:
    arena = side_by_side[0].arena
    alone = independence.alone(arena, arena.prepared(1, "alone"), DOWN_SECONDS)
    assert (alone.pods > 0, alone.ended, alone.not_scaled) == (True, (), ())


def test_deletes_made_while_it_was_down_are_carried_out(side_by_side: list[Bench]) -> None:
    bench = side_by_side[0]
    assert upkeep.freed(bench, bench.arena.prepared(2, "freed")).left == ()


def test_a_stopped_operator_writes_nothing_once_another_has_taken_over(side_by_side: list[Bench]) -> None:
    first, second, *_ = side_by_side
    fenced = upkeep.fenced(first, second, first.arena.prepared(1, "fenced")[0])
    assert (fenced.late_writes, fenced.stopped_status, fenced.wrong) == ((), 1, ())
    assert fenced.taken_over_seconds is not None


def test_every_state_that_was_recorded_holds_to_the_conventions(side_by_side: list[Bench]) -> None:
    mirror = side_by_side[0].arena.mirror
    history = [state for name in mirror.namespaces() for state in mirror.history(name)]
    assert len(history) > 100, "run the whole file: this test judges what the others recorded"
    assert conventions.breaches(history) == []
