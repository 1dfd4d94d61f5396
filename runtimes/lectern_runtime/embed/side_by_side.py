"""Makes a few of many calls at a time: the worker's stages work on the documents of a batch with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

CONCURRENT_CALLS = 4
Result = TypeVar("Result")


async def side_by_side(calls: Sequence[Callable[[], Awaitable[Result]]]) -> list[Result]:
    """The results of all calls, in order, a few of them at a time; raises an `ExceptionGroup` of what fails."""
    gate = asyncio.Semaphore(CONCURRENT_CALLS)

    async def one(call: Callable[[], Awaitable[Result]]) -> Result:
        async with gate:
            return await call()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(call)) for call in calls]
    return [task.result() for task in tasks]
