"""What no event tells: drift that was missed, deletes that were lost, and a watch that fell silent.

Two loops of our own, because kopf has neither: `resync` asks for a pass over everything from time to time, `watchdog`
compares what the watches told with what the API server says. kopf 1.45.2 loses deletes between a 410 and the list
after it; a watch that tells nothing for minutes although something changed must end the process, not the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

from lectern_contract.errors import LecternError
from lectern_operator.clients import kinds
from lectern_operator.handlers import following
from lectern_operator.handlers.queue import Priority
from lectern_operator.handlers.watching import WATCHED, View

GRACE_SECONDS = 5.0
SHARES = 4
"""Our own kinds are compared at every look, children in as many shares: their lists are long."""
logger = logging.getLogger("lectern.operator")


def look_seconds(resync_seconds: float, *, most: float) -> float:
    """Return the time between two looks of the watchdog: every kind is compared twice within one resync period."""
    return min(most, max(1.0, resync_seconds / (2 * SHARES)))


class WatchSilent(LecternError):
    """The API server knows of changes that no watch has told for too long; only a new process helps."""


async def resync(view: View, *, every_seconds: float, chance: Callable[[], float]) -> None:
    """Ask for a pass over every resource each `every_seconds`, spread over half of that time."""
    unwatched = [name for name, kind in kinds.CHILDREN.items() if not kind.watched]
    while True:
        await asyncio.sleep(every_seconds * (0.75 + 0.5 * chance()))
        for kind in unwatched:
            view.children.forget(kind)  # nobody tells when these change: they are looked at anew
        for uid in view.inventory.uids():
            view.queue.add_later(uid, every_seconds * 0.5 * chance(), Priority.RESYNC)


async def watchdog(
    view: View,
    reads: following.Reads,
    namespaces: Sequence[str | None],
    *,
    every_seconds: float,
    patience_seconds: float,
) -> None:
    """Compare live lists with the view; mend it, and raise `WatchSilent` when the watches stay behind.

    A difference that is there at one look and is not mended by an event within a grace is a missed event: what is
    listed is taken over. Differences at every look for `patience_seconds` are a watch that tells nothing.
    """
    clock = asyncio.get_running_loop().time
    behind_since: dict[str, float] = {}
    for share in _shares():
        await asyncio.sleep(every_seconds)
        for kind in share:
            try:
                missed = await _missed(kind, view, reads, namespaces, grace_seconds=min(GRACE_SECONDS, every_seconds))
            except LecternError as error:
                logger.warning("watchdog", extra={"kind": kind, "cause": str(error)})
                continue
            if not missed:
                behind_since.pop(kind, None)
            elif clock() - behind_since.setdefault(kind, clock()) >= patience_seconds:
                raise WatchSilent(
                    f"no watch has told of {', '.join(missed[:5])} for {patience_seconds:.0f} s although the API "
                    f"server lists it; the process ends so that a new one watches again"
                )


def _shares() -> Iterator[list[str]]:
    """Yield the kinds of one look after the other, without an end."""
    children = sorted(WATCHED)
    while True:
        for share in range(SHARES):
            yield [*kinds.OWNERS, *children[share::SHARES]]


async def _missed(
    kind: str, view: View, reads: following.Reads, namespaces: Sequence[str | None], *, grace_seconds: float
) -> list[str]:
    """Return what the watches did not tell within the grace, by name, after taking it over."""
    if kind not in kinds.OWNERS and not view.children.complete(kind):
        return []  # it is not served, or may not be listed
    found: list[str] = []
    for namespace in namespaces:
        suspects = await _differences(kind, namespace, view, reads)
        if not suspects:
            continue
        await asyncio.sleep(grace_seconds)  # an event may be on its way
        again = await _differences(kind, namespace, view, reads)
        missed = [name for uid, name in again.items() if uid in suspects]
        if missed:
            logger.warning("watchdog", extra={"kind": kind, "cause": f"no event told of {', '.join(missed[:5])}"})
            await following.read_all(kind, namespace, reads, view)
        found += missed
    return found


async def _differences(kind: str, namespace: str | None, view: View, reads: following.Reads) -> dict[str, str]:
    """Return the objects that are newer than the view, unknown to it, or gone without its knowing, by UID."""
    live: dict[str, str] = {}
    different: dict[str, str] = {}
    version = 0
    async for page in reads.pages(kind, namespace, heads=True):
        version = int(page.version)
        known = view.versions(kind, namespace)
        for head in page.items:
            metadata = head["metadata"]
            live[metadata["uid"]] = name = f"{kind}/{metadata['name']}"
            if int(metadata["resourceVersion"]) > known.get(metadata["uid"], -1) and view.concerns(kind, head):
                different[metadata["uid"]] = name
    lost = [uid for uid, at in view.versions(kind, namespace).items() if uid not in live and at <= version]
    return different | {uid: f"{kind}/{uid}" for uid in lost}
