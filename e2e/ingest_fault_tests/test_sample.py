"""A seeded sample of the pipeline's fault trials, small enough for `make test`; `make faults-ingest` has all.

A failed trial is spelled as the line that `python -m e2e.ingest_faults replay` takes.
"""

from __future__ import annotations

import pytest

from e2e.ingest_faults import lossless, permuted, replayed, restored
from e2e.ingest_faults.base import Base
from e2e.ingest_faults.traffic import Traffic
from e2e.ingest_faults.workers import Workers
from e2e.ingest_faults.world import World

SEED = 20261121
VERSIONS, KILLS = 400, 6
MESSAGES = 150

pytestmark = [pytest.mark.slow, pytest.mark.integration]


def test_killed_workers_broker_and_store_lose_nothing_and_leave_nothing_stale(started: World) -> None:
    told = lossless.run(started, seed=SEED, versions=VERSIONS, kills=KILLS, say=print)
    print(told.said())
    assert told.outcome is not None
    assert told.outcome.is_equal, f"{told.replay}: {told.outcome.said()}"
    assert sum(told.kills.values()) >= KILLS


def test_a_topic_that_is_replayed_changes_nothing_and_embeds_nothing(started: World) -> None:
    told = replayed.run(started, seed=SEED, versions=MESSAGES)
    assert (told.changed, told.again, told.outcome.said()) == (0, 0, told.outcome.said())
    assert told.outcome.is_equal, f"{told.replay}: {told.outcome.said()}"


def test_every_order_of_versions_and_a_deletion_ends_as_the_log_says(started: World) -> None:
    told = permuted.Told({"at once": permuted.at_once(started)})
    assert told.wrong == []


def test_a_snapshot_older_than_the_offsets_is_made_up_for_by_rewinding_them(started: World) -> None:
    told = restored.run(started, seed=SEED, messages=MESSAGES, say=print)
    assert told.unrewound.differences, "the snapshot must lack something, or this shows nothing"
    for outcome in (told.rewound, told.from_start, told.renewed):
        assert outcome.differences == [], f"{told.replay}: {outcome.said()}"


def test_a_store_that_fails_after_it_applied_a_write_ends_as_one_that_does_not(started: World) -> None:
    base = Base.make(started, "after")
    rules = started.store_proxy.rules
    failed, cut = started.store_proxy.seen.failed, started.store_proxy.seen.cut
    rules.fail_after_apply, rules.cut_after_apply = 4, 4  # one after the other they are waited for ever longer
    base.publish(Traffic(*base.place, seed=SEED).messages(60))
    with Workers(base) as workers:
        workers.add()
        workers.drain(300.0)
        assert base.judged().is_equal
    assert (started.store_proxy.seen.failed - failed, started.store_proxy.seen.cut - cut) == (4, 4)
