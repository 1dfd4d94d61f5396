"""The first look: which kinds are served, and everything that exists, before the first pass.

A pass that did not know all children of its owner would make them again. What exists is looked at with the patience of
a resync, so that whatever is made during the start goes first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from lectern_contract.errors import DependencyError, LecternError
from lectern_operator.clients import kinds
from lectern_operator.clients.errors import NotServed, Outdated, Refused
from lectern_operator.facts import Known
from lectern_operator.handlers import following
from lectern_operator.handlers.queue import Priority
from lectern_operator.handlers.served import Discovers, Served
from lectern_operator.handlers.watching import WATCHED, View

AT_ONCE = 4
PAUSE_SECONDS = 2.0
PATIENCE_SECONDS = 600.0
T = TypeVar("T")
logger = logging.getLogger("lectern.operator")


class Reads(following.Reads, Discovers, Protocol):
    """What is needed of the API server: `clients.kube.Kube` has it."""


class CannotStart(LecternError):
    """What the operator looks after cannot be read."""


async def first_look(reads: Reads, view: View, served: Served, namespaces: Sequence[str | None]) -> None:
    """Fill `view` and `served`; raises `CannotStart` when that does not succeed in `PATIENCE_SECONDS`."""
    await _patiently("discovery", lambda: _own_kinds(reads, served))
    slots = asyncio.Semaphore(AT_ONCE)

    async def fill(kind: str) -> None:
        async with slots:
            await _patiently(kind, lambda: _fill(kind, reads, view, namespaces))

    known = [kind for kind in WATCHED if served(kind) == Known(value=True)]
    try:
        async with asyncio.TaskGroup() as tasks:
            for kind in (*known, *kinds.OWNERS):
                tasks.create_task(fill(kind), name=f"list {kind}")
    except* CannotStart as errors:
        raise errors.exceptions[0] from None
    logger.info("listed", extra={"resources": len(view.inventory), "children": len(view.children)})


async def _own_kinds(reads: Reads, served: Served) -> None:
    found = await reads.served_kinds()
    if missing := sorted(kinds.OWNERS.keys() - found):
        raise NotServed(f"the kinds {', '.join(missing)} are not known to the API server: install Lectern's CRDs")
    served.take(found)


async def _fill(kind: str, reads: Reads, view: View, namespaces: Sequence[str | None]) -> None:
    try:
        for namespace in namespaces:
            version = await following.read_all(kind, namespace, reads, view, Priority.RESYNC)
            if kind not in kinds.OWNERS:
                view.listed_at[kind, namespace] = version
    except NotServed:
        if kinds.ALL[kind].optional:
            return  # it went since discovery was asked
        raise
    except Refused as error:
        if kind in kinds.OWNERS:
            raise CannotStart(f"{error}; grant the operator its rights, see docs/reference/rights.md") from error
        view.children.refused(kind, str(error))
        logger.warning("list", extra={"kind": kind, "cause": str(error)})
        return
    if kind not in kinds.OWNERS:
        view.children.listed(kind)


async def _patiently(what: str, act: Callable[[], Awaitable[T]]) -> T:
    """Repeat `act` while the API server cannot answer it, for `PATIENCE_SECONDS`."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + PATIENCE_SECONDS
    while True:
        try:
            return await act()
        except (DependencyError, NotServed, Outdated) as error:
            if clock() > deadline:
                raise CannotStart(f"{what} could not be read for {PATIENCE_SECONDS:.0f} s: {error}") from error
            logger.warning("start", extra={"kind": what, "cause": str(error)})
            pause = error.retry_after_seconds if isinstance(error, DependencyError) else None
            await asyncio.sleep(max(PAUSE_SECONDS, min(pause or 0.0, 60.0)))
