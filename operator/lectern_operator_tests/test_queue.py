"""The work queue: one pass at a time for each resource, changes first, growing pauses after failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lectern_operator.handlers.queue import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Priority, Retry, WorkQueue

Act = Callable[[str], Awaitable[float | None]]


async def drain(queue: WorkQueue, act: Act, *, workers: int = 1, seconds: float = 0.05) -> None:
    """Run the queue for a short time."""
    task = asyncio.create_task(queue.run(act, workers=workers))
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_changes_go_before_resyncs_and_otherwise_in_order() -> None:
    queue, seen = WorkQueue(), []

    async def act(uid: str) -> None:
        seen.append(uid)

    for uid in ("r1", "r2"):
        queue.add(uid, Priority.RESYNC)
    queue.add("again", Priority.AGAIN)
    queue.add("child", Priority.CHILD)
    for uid in ("c1", "c2"):
        queue.add(uid)
    queue.add("r2")  # asked for with more haste now
    queue.add("c1", Priority.RESYNC)
    await drain(queue, act)
    assert seen == ["c1", "c2", "r2", "child", "again", "r1"]


async def test_one_resource_is_never_looked_at_twice_at_once() -> None:
    queue, at_once, most, passes = WorkQueue(), 0, 0, 0

    async def act(uid: str) -> None:
        nonlocal at_once, most, passes
        at_once, passes = at_once + 1, passes + 1
        most = max(most, at_once)
        if passes < 4:
            queue.add(uid)
        await asyncio.sleep(0)
        at_once -= 1

    queue.add("a")
    await drain(queue, act, workers=4)
    assert (most, passes) == (1, 4)


async def test_as_many_at_once_as_there_are_workers() -> None:
    queue, at_once, most = WorkQueue(), 0, 0

    async def act(uid: str) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.005)
        at_once -= 1

    for number in range(12):
        queue.add(str(number))
    await drain(queue, act, workers=3, seconds=0.1)
    assert most == 3


async def test_many_askings_before_a_pass_are_one() -> None:
    queue, seen = WorkQueue(), []

    async def act(uid: str) -> None:
        seen.append(uid)

    for _ in range(5):
        queue.add("a")
    await drain(queue, act)
    assert seen == ["a"]


async def test_a_failed_pass_is_repeated_after_a_growing_pause() -> None:
    queue = WorkQueue(chance=lambda: 1.0)
    pauses = [queue._pause("a", None) for _ in range(12)]
    assert pauses[:4] == [FIRST_PAUSE_SECONDS, 2, 4, 8]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    assert queue._pause("b", 30.0) == 30.0, "what the other side asked for is honoured"


async def test_a_success_ends_the_row_of_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, passes = WorkQueue(chance=lambda: 1.0), 0
    later: list[float] = []
    monkeypatch.setattr(queue, "add_later", lambda uid, seconds, priority=Priority.AGAIN: later.append(seconds))

    async def act(uid: str) -> float | None:
        nonlocal passes
        passes += 1
        if passes != 3:
            raise Retry
        return 60.0

    for _ in range(4):
        queue.add("a")
        await drain(queue, act, seconds=0.01)
    assert later == [1, 2, 60.0, 1]


async def test_a_later_look_comes_by_itself_and_not_after_the_resource_is_gone() -> None:
    queue, seen = WorkQueue(), []

    async def act(uid: str) -> None:
        seen.append(uid)

    queue.add_later("a", 0.01)
    queue.add_later("gone", 0.01)
    queue.forget("gone")
    await drain(queue, act)
    assert seen == ["a"]


async def test_what_is_forgotten_while_it_waits_is_not_looked_at() -> None:
    queue, seen = WorkQueue(), []

    async def act(uid: str) -> None:
        seen.append(uid)

    queue.add("gone")
    queue.add("a")
    queue.forget("gone")
    assert len(queue) == 1
    await drain(queue, act)
    assert seen == ["a"]


async def test_the_age_is_that_of_the_resource_that_waits_longest() -> None:
    queue = WorkQueue()
    assert queue.age() == 0.0
    queue.add("a")
    queue.add("b")
    assert queue.age() > 0.0

    async def act(_: str) -> None:
        return None

    await drain(queue, act)
    assert queue.age() == 0.0
