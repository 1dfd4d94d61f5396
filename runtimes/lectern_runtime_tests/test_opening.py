"""Opening a runtime in a world that is not there yet: it waits, says for what, and can be told to stop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_runtime.opening import LONGEST_ASKED_SECONDS, Patience, Readiness, unless_stopped


class Clock:
    """Sleeps that take no time and are remembered, with what was said of readiness at each."""

    def __init__(self) -> None:
        self.readiness = Readiness()
        self.slept: list[float] = []
        self.reasons: list[str] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.reasons.append(self.readiness.reason)

    def patience(self, attempt_seconds: float = 60.0) -> Patience:
        return Patience(self.readiness, attempt_seconds=attempt_seconds, sleep=self.sleep, chance=random.Random(1))


def failing(*errors: Exception) -> Callable[[], Awaitable[str]]:
    left = list(errors)

    async def operation() -> str:
        if left:
            raise left.pop(0)
        return "opened"

    return operation


def away(retry_after: float | None = None) -> DependencyError:
    return DependencyError("nobody answers at http://store", dependency="vector-store", retry_after_seconds=retry_after)


async def test_what_is_away_is_waited_for_with_growing_pauses_and_a_reason() -> None:
    clock = Clock()
    opened = await clock.patience().opened("vector-store", failing(*(away() for _ in range(8))))
    assert opened == "opened"
    assert set(clock.reasons) == {"waiting for the vector-store: nobody answers at http://store"}
    ceilings = [0.5, 1, 2, 4, 8, 15, 15, 15]
    assert all(top / 2 <= slept <= top for slept, top in zip(clock.slept, ceilings, strict=True)), clock.slept


async def test_a_pause_is_as_long_as_the_other_side_asked_for_within_a_bound() -> None:
    clock = Clock()
    await clock.patience().opened("vector-store", failing(away(7.0), away(1e9)))
    assert 7.0 < clock.slept[0] < 8.0
    assert LONGEST_ASKED_SECONDS < clock.slept[1] < LONGEST_ASKED_SECONDS + 2


async def test_an_attempt_that_hangs_is_given_up() -> None:
    clock = Clock()
    calls = 0

    async def hangs_once() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()
        return "opened"

    assert await clock.patience(attempt_seconds=0.01).opened("log", hangs_once) == "opened"
    assert clock.reasons == ["waiting for the log: it keeps silent for 0 s; is it overloaded?"]


async def test_a_fault_of_the_configuration_is_not_waited_for() -> None:
    clock = Clock()
    with pytest.raises(ConfigurationError, match="wrong"):
        await clock.patience().opened("log", failing(ConfigurationError("wrong")))
    assert clock.slept == []


def test_a_process_says_that_nothing_is_open_until_all_is() -> None:
    readiness = Readiness()
    assert readiness.reason == "the settings are read, and nothing is opened yet"
    readiness.done()
    assert readiness.reason == ""


async def test_work_is_cancelled_and_awaited_when_the_process_is_told_to_stop() -> None:
    stop, ended = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        stop.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "done"

    assert await unless_stopped(stop, work()) is None
    assert ended.is_set()


async def test_work_that_ends_first_gives_its_result_or_its_error() -> None:
    stop = asyncio.Event()
    assert await unless_stopped(stop, asyncio.sleep(0, "done")) == "done"
    with pytest.raises(DependencyError):
        await unless_stopped(stop, failing(away())())  # type: ignore[arg-type] # a coroutine function's result
