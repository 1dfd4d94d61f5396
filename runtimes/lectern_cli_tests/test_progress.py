"""How far a run is: what is known is shown, and what is not is shown as unknown."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lectern_cli.progress import Pace, Reading, duration, shown


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def console(*, terminal: bool = False, **environment: str) -> Console:
    """A console of 80 columns that writes into memory."""
    variables = {"TERM": "xterm-256color", **environment}
    return Console(file=io.StringIO(), width=80, force_terminal=terminal, _environ=variables)


def text_of(shown_on: Console) -> str:
    """All that was written."""
    assert isinstance(shown_on.file, io.StringIO)
    return shown_on.file.getvalue()


def paced(*readings: tuple[float, Reading]) -> Pace:
    """A pace that took these readings at these seconds."""
    clock = Clock()
    pace = Pace(clock)
    began = clock.now
    for at, reading in readings:
        clock.now = began + at
        pace.take(reading)
    return pace


def test_a_total_that_nobody_knows_is_unknown_and_so_is_the_time_left() -> None:
    pace = paced((0, Reading(0)), (10, Reading(30)))
    assert pace.words() == "30 of an unknown number, 3.0/s, 0 failed, time left unknown, 10s so far"


def test_the_time_left_follows_from_the_rate_of_lately_not_of_all_the_time() -> None:
    pace = paced(
        (0, Reading(0, 1000)), (60, Reading(600, 1000)), (80, Reading(620, 1000)), (100, Reading(640, 1000, 2))
    )
    assert (pace.rate, pace.left) == (1.0, 360.0)
    assert pace.words() == "640 of 1000, 1.0/s, 2 failed, 6m00s left, 1m40s so far"


def test_before_two_seconds_nobody_says_how_long_it_takes() -> None:
    assert paced((0, Reading(0, 10)), (1.9, Reading(9, 10))).left is None


def test_a_run_that_stands_still_has_no_time_left_that_anybody_knows() -> None:
    pace = paced((0, Reading(5, 10)), (30, Reading(5, 10)))
    assert (pace.rate, pace.left) == (0.0, None)
    assert "time left unknown" in pace.words()


@given(st.lists(st.tuples(st.floats(0.01, 60), st.integers(0, 50), st.booleans()), min_size=1, max_size=30))
def test_neither_rate_nor_time_left_is_ever_negative(steps: list[tuple[float, int, bool]]) -> None:
    clock = Clock()
    pace, done = Pace(clock), 0
    for seconds, more, anew in steps:
        clock.now += seconds
        done = 0 if anew else done + more
        pace.take(Reading(done, done + 7))
        assert (pace.rate or 0) >= 0
        assert (pace.left or 0) >= 0


def test_memory_is_bounded_however_often_somebody_tells() -> None:
    pace = paced(*((number / 1000, Reading(number)) for number in range(100_000)))
    assert len(pace._seen) < 450
    assert pace.rate is not None
    assert abs(pace.rate - 1000) < 1


def test_times_are_said_as_a_person_reads_them() -> None:
    assert [duration(each) for each in (0.4, 59, 60, 185, 7_800)] == ["0s", "59s", "1m00s", "3m05s", "2h10m"]


def test_without_a_terminal_there_is_a_line_every_few_seconds_and_no_other() -> None:
    where, clock = console(), Clock()
    with shown(where, "ingesting", clock=clock) as display:
        for second in range(12):
            clock.now = 100.0 + second
            display.tell(Reading(second, 11))
    assert text_of(where).splitlines() == [
        "ingesting: 5 of 11, 1.0/s, 0 failed, 6s left, 5s so far",
        "ingesting: 10 of 11, 1.0/s, 0 failed, 1s left, 10s so far",
    ]


def test_what_is_over_at_once_says_nothing_on_the_way() -> None:
    where = console()
    with shown(where, "ingesting", clock=Clock()) as display:
        display.tell(Reading(3, 3))
    assert text_of(where) == ""


def test_at_a_terminal_a_bar_fits_80_columns_and_goes_away() -> None:
    where = console(terminal=True)
    with shown(where, "a-source-with-a-rather-long-name") as display:
        display.tell(Reading(12_345, 123_456, 1_234))
        assert display.bar is not None
        display.bar.refresh()
    lines = text_of(where).split("\n")
    assert "a-source-with-a-rather-long..." in text_of(where)
    assert "12345/123456 ?/s ? left\x1b[31m 1234 failed" in text_of(where)
    assert lines[-1].endswith("\x1b[2K"), "the bar is erased at the end"


def test_no_color_and_a_dumb_terminal_are_respected() -> None:
    plain = console(terminal=True, NO_COLOR="1")
    with shown(plain, "ingesting") as display:
        display.tell(Reading(1, 2, 1))
        assert display.bar is not None
        display.bar.refresh()
    assert "\x1b[3" not in text_of(plain), "no colour"
    dumb, clock = console(terminal=True, TERM="dumb"), Clock()
    with shown(dumb, "ingesting", clock=clock) as display:
        display.tell(Reading(1, 2))
        clock.now += 6
        display.tell(Reading(2, 2))
    assert text_of(dumb) == "ingesting: 2 of 2, 0.2/s, 0 failed, 6s so far\n"
