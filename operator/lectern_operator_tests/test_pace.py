"""The pace of requests: bounded, and a pause that the server asks for is everybody's."""

from __future__ import annotations

import asyncio

import pytest

from lectern_contract.errors import DependencyError
from lectern_operator.clients.pace import LONGEST_PAUSE_SECONDS, Pace


async def test_no_more_at_once_than_there_are_places() -> None:
    pace, at_once, most = Pace(at_once=3), 0, 0

    async def request() -> None:
        nonlocal at_once, most
        async with pace.turn():
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1

    await asyncio.gather(*(request() for _ in range(20)))
    assert most == 3


async def test_an_urgent_request_needs_no_place() -> None:
    pace = Pace(at_once=1)
    async with pace.turn(), pace.turn(urgent=True):
        pass


@pytest.mark.parametrize("urgent", [True, False])
async def test_everybody_waits_as_long_as_the_server_asked(urgent: bool) -> None:
    clock = asyncio.get_running_loop().time
    pace = Pace(clock=clock)
    pace.asked_to_wait(0.05)
    pace.asked_to_wait(0.01)  # a shorter pause shortens nothing
    asked = clock()
    async with pace.turn(urgent=urgent):
        assert clock() - asked >= 0.05


async def test_a_long_pause_goes_back_to_the_queue_with_what_is_left_of_it() -> None:
    pace = Pace(clock=lambda: 100.0)
    pace.asked_to_wait(86_400)
    with pytest.raises(DependencyError) as error:
        async with pace.turn():
            raise AssertionError("nothing is sent")
    assert error.value.retry_after_seconds == LONGEST_PAUSE_SECONDS
