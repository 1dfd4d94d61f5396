"""Which kinds the API server knows, asked again every few seconds: optional kinds come and go without a restart.

One request to discovery, which everybody may ask; a watch of CustomResourceDefinitions would need a right that the
operator of one namespace has not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from lectern_contract.errors import DependencyError
from lectern_operator.clients.errors import Refused
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.handlers import following
from lectern_operator.handlers.queue import Priority
from lectern_operator.handlers.watching import WATCHED, View

EVERY_SECONDS = 10.0
logger = logging.getLogger("lectern.operator")


class Discovers(Protocol):
    """What is needed of the API server: `clients.kube.Kube` has it."""

    async def served_kinds(self) -> frozenset[str]:
        """Return the kinds that the API server knows."""
        ...


class Served:
    """The kinds that were served at the last look; nothing is known before the first."""

    def __init__(self) -> None:
        self._kinds: frozenset[str] | None = None

    def __call__(self, kind: str) -> Fact[bool]:
        """Say whether `kind` is served."""
        if self._kinds is None:
            return Unknown("the API server has not said yet which kinds it knows")
        return Known(kind in self._kinds)

    def take(self, found: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Take over what is served now; return what has appeared and what has gone since the last look."""
        before, self._kinds = self._kinds, found
        return (found - before, before - found) if before is not None else (found, frozenset())


class Followers:
    """One task for each kind and scope."""

    def __init__(
        self, reads: following.Reads, view: View, namespaces: Sequence[str | None], chance: Callable[[], float]
    ) -> None:
        self._reads = reads
        self._view = view
        self._namespaces = namespaces
        self._chance = chance
        self._running: dict[str, list[asyncio.Task[None]]] = {}

    def start(self, kind: str, tasks: asyncio.TaskGroup) -> None:
        """Follow `kind` in every scope."""
        self.stop(kind)
        self._running[kind] = [
            tasks.create_task(
                following.follow(
                    kind,
                    namespace,
                    self._reads,
                    self._view,
                    chance=self._chance,
                    since=self._view.listed_at.pop((kind, namespace), ""),
                ),
                name=f"watch {kind}",
            )
            for namespace in self._namespaces
        ]

    def stop(self, kind: str) -> None:
        """Follow `kind` no more, and forget what was known of it."""
        for task in self._running.pop(kind, ()):
            task.cancel()

    def ended(self) -> list[str]:
        """Return the kinds that are not followed any more although nobody stopped that."""
        return [kind for kind, tasks in self._running.items() if any(task.done() for task in tasks)]


async def keep(
    discovers: Discovers, served: Served, followers: Followers, view: View, *, every_seconds: float = EVERY_SECONDS
) -> None:
    """Follow the kinds that are served, and let every resource look again when one comes or goes."""
    async with asyncio.TaskGroup() as tasks:
        for kind in WATCHED:
            if served(kind) == Known(value=True):
                followers.start(kind, tasks)
        while True:
            await asyncio.sleep(every_seconds)
            try:
                appeared, went = served.take(await discovers.served_kinds())
            except (DependencyError, Refused) as error:
                logger.warning("discovery", extra={"cause": str(error)})
                continue
            _adjust(appeared, went, followers, view, tasks, served)


def _adjust(
    appeared: frozenset[str],
    went: frozenset[str],
    followers: Followers,
    view: View,
    tasks: asyncio.TaskGroup,
    served: Served,
) -> None:
    for kind in sorted(went & WATCHED.keys()):
        followers.stop(kind)
        view.children.forget(kind)
    again = {kind for kind in followers.ended() if served(kind) == Known(value=True)}
    for kind in sorted((appeared | again) & WATCHED.keys()):
        followers.start(kind, tasks)
    if (appeared | went) & WATCHED.keys():
        logger.info("kinds", extra={"appeared": ",".join(sorted(appeared)), "went": ",".join(sorted(went))})
        for uid in view.inventory.uids():
            view.queue.add(uid, Priority.AGAIN)
