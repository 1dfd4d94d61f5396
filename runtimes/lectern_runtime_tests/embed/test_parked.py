"""Parked documents: when they are due, when they are given up, and what a newer message does to them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from lectern_contract.messages import Put
from lectern_runtime.embed.ledger import Ledger
from lectern_runtime.embed.parked import LONGEST_PARKED_SECONDS, MOST_PARKED, Parked, newest
from lectern_runtime.embed.prepare import Again, Fault, Task
from lectern_runtime.ports import Position
from lectern_runtime_tests.pipeline import reference

BUSY = Again("embed", "too many requests", retry_after_seconds=7.0)


def task(uri: str, offset: int = 0) -> Task:
    put = Put(document=reference(uri), sha256="0" * 64, size=1, media_type="text/plain")
    return Task(put, Position(0, offset), offset)


@dataclass
class Lot:
    """Parked documents with a clock of the test's own; each attempt costs what was asked and its number in seconds."""

    seconds: float = 0.0
    parked: Parked = field(init=False)

    def __post_init__(self) -> None:
        self.parked = Parked(3, lambda attempt, asked: attempt + (asked or 0.0), lambda: self.seconds)


@pytest.fixture
def lot() -> Lot:
    return Lot()


def test_a_parked_document_comes_back_when_it_is_due_and_not_before(lot: Lot) -> None:
    assert lot.parked.park(task("a.md"), BUSY) is None
    assert (lot.parked.take_due(9), lot.parked.seconds_until_due()) == ([], 8.0)
    lot.seconds = 8.0
    assert lot.parked.take_due(9) == [replace(task("a.md"), attempts=1, since=0.0)]
    assert (len(lot.parked), lot.parked.seconds_until_due()) == (0, None)


def test_after_the_last_attempt_it_is_given_up_with_the_number_of_them(lot: Lot) -> None:
    assert lot.parked.park(replace(task("a.md"), attempts=2), BUSY) == Fault(
        "embed", "DependencyFailed", "too many requests", 3
    )
    assert len(lot.parked) == 0


def test_one_that_fails_for_too_long_is_given_up_with_its_next_failure(lot: Lot) -> None:
    lot.parked.park(task("a.md"), BUSY)
    lot.seconds = LONGEST_PARKED_SECONDS + 1
    (back,) = lot.parked.take_due(1)
    assert lot.parked.park(back, BUSY) == Fault("embed", "DependencyFailed", "too many requests", 2)


def test_those_that_wait_longest_come_first_and_no_more_than_asked_for(lot: Lot) -> None:
    for number, uri in enumerate(("a.md", "b.md", "c.md")):
        lot.seconds = float(-number)
        lot.parked.park(task(uri), BUSY)
    lot.seconds = 100.0
    assert [each.message.document.uri for each in lot.parked.take_due(2)] == ["c.md", "b.md"]


def test_a_newer_task_settles_the_messages_of_the_older() -> None:
    older, newer = replace(task("a.md", 3), replaced=(Position(0, 1),)), replace(task("a.md", 9), attempts=1)
    expected = replace(newer, replaced=(Position(0, 3), Position(0, 1)))
    assert newest(older, newer) == newest(newer, older) == expected


def test_a_document_is_parked_once(lot: Lot) -> None:
    lot.parked.park(task("a.md", 9), BUSY)
    lot.parked.park(task("a.md", 3), BUSY)
    (parked,) = [lot.parked.take(task("a.md").key)]
    assert parked is not None
    assert (parked.version, parked.replaced, len(lot.parked)) == (9, (Position(0, 3),), 0)


def test_it_is_full_at_its_bound(lot: Lot) -> None:
    for number in range(MOST_PARKED):
        assert not lot.parked.full
        lot.parked.park(task(f"{number}.md"), BUSY)
    assert lot.parked.full


def test_a_superseded_message_is_open_until_the_newer_one_is_done() -> None:
    ledger = Ledger(9)
    for offset in (3, 9):
        ledger.open(Position(0, offset))
    merged = newest(task("a.md", 3), task("a.md", 9))
    assert ledger.to_commit() == {}
    for position in (merged.position, *merged.replaced):
        ledger.settle(position)
    assert ledger.to_commit() == {0: 10}
