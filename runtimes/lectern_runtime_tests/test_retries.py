"""The policy of retries: how long between, what is asked for, and what ends it; and what a Retry-After header says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract.errors import DependencyError
from lectern_runtime.retries import LONGEST_READ_SECONDS, Retries, retry_after

NOW = 1_000_000_000.0  # Sun, 09 Sep 2001 01:46:40 GMT


class Busy(DependencyError):
    """One kind of fault that passes."""

    def __init__(self, asked: float | None = None) -> None:
        super().__init__("busy", dependency="x", retry_after_seconds=asked)


class World:
    """Fails with each of `errors` in turn, then answers; time passes at once."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.slept: list[float] = []
        self.told: list[DependencyError] = []

    async def ask(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def retries(self, chance: Callable[[], float] = lambda: 1.0, **policy: object) -> Retries:
        given: dict[str, object] = {"sleep": self.sleep, "chance": chance, "told": self.told.append, **policy}
        return Retries(**given)  # type: ignore[arg-type]


async def test_pauses_double_up_to_the_longest_and_there_is_no_last_attempt() -> None:
    world = World(*[Busy()] * 9)
    assert await world.retries(first_seconds=1.0, longest_seconds=30.0).call(world.ask) == "answer"
    assert world.slept == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]
    assert len(world.told) == 9


async def test_what_is_asked_for_is_waited_for_and_jitter_comes_on_top() -> None:
    world = World(Busy(7.0), Busy(10_000.0), Busy(-5.0))
    await world.retries(lambda: 0.5, first_seconds=1.0, longest_asked_seconds=60.0).call(world.ask)
    assert world.slept == [7.5, 61.0, 2.0]


async def test_where_more_is_asked_for_than_is_borne_the_call_ends_if_it_shall() -> None:
    world = World(Busy(61.0))
    with pytest.raises(Busy):
        await world.retries(longest_asked_seconds=60.0, leaves=True).call(world.ask)
    assert world.slept == []


async def test_the_last_attempt_ends_with_its_own_error() -> None:
    first, last = Busy(), Busy()
    world = World(first, last, Busy())
    with pytest.raises(Busy) as raised:
        await world.retries(attempts=2).call(world.ask)
    assert raised.value is last
    assert len(world.slept) == 1


async def test_what_another_attempt_cannot_change_passes_through() -> None:
    for error in (DependencyError("another", dependency="x"), ValueError("defect")):
        world = World(error)
        with pytest.raises(type(error)):
            await world.retries(passing=Busy).call(world.ask)
        assert world.slept == []


@given(st.integers(1, 10_000), st.none() | st.floats(-1e6, 1e6))
def test_delays_are_bounded_and_never_shorter_than_asked(attempt: int, asked: float | None) -> None:
    policy = Retries(longest_seconds=30.0, longest_asked_seconds=300.0)
    delay = policy.delay(attempt, asked)
    assert min(max(asked or 0.0, 0.0), 300.0) <= delay <= 30.0 + min(max(asked or 0.0, 0.0), 300.0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Sun, 09 Sep 2001 01:47:40 GMT", 60.0),
        ("Sun, 09 Sep 2001 01:47:40 +0000", 60.0),
        ("Sun, 09 Sep 2001 01:00:00 GMT", 0.0),
        ("Sun, 09 Sep 2012 01:00:00 GMT", LONGEST_READ_SECONDS),
        ("9" * 40, LONGEST_READ_SECONDS),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("٣", None),
        ("Sun, 99 Sep 2001 01:47:40 GMT", None),
        ("Sun, 09 Sep 0001 01:47:40 +2359", 0.0),
        ("Sun Sep  9 01:47:40 2001", 60.0),
    ],
)
def test_what_a_retry_after_header_asks_for(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now=NOW) == seconds


@given(st.text(max_size=64))
def test_no_header_is_too_strange_to_read(header: str) -> None:
    found = retry_after(header, now=NOW)
    assert found is None or 0.0 <= found <= LONGEST_READ_SECONDS
