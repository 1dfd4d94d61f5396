"""What no event tells: drift that was missed, deletes that were lost, and a watch that fell silent.

Two loops of our own, because kopf has neither: `resync` asks for a pass over everything from time to time, `watchdog`
compares what the watches told with what the API server says. kopf 1.45.2 loses deletes between a 410 and the list
after it; a watch that tells nothing for minutes although something changed must end the process, not the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from lectern_contract.errors import LecternError
from lectern_operator.clients import kinds
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import Priority, WorkQueue
from lectern_operator.handlers.watching import take_in
from lectern_operator.reconcilers.world import Cluster

logger = logging.getLogger("lectern.operator")


class WatchSilent(LecternError):
    """The API server knows of changes that no watch has told for too long; only a new process helps."""


async def resync(inventory: Inventory, queue: WorkQueue, *, every_seconds: float, chance: Callable[[], float]) -> None:
    """Ask for a pass over every resource each `every_seconds`, spread over half of that time."""
    while True:
        await asyncio.sleep(every_seconds * (0.75 + 0.5 * chance()))
        for uid in inventory.uids():
            queue.add_later(uid, every_seconds * 0.5 * chance(), Priority.RESYNC)


async def watchdog(
    inventory: Inventory,
    queue: WorkQueue,
    cluster: Cluster,
    namespaces: Sequence[str | None],
    *,
    every_seconds: float,
    patience_seconds: float,
) -> None:
    """Compare live lists with the inventory; mend it, and raise `WatchSilent` when the watches stay behind.

    A difference that is there at one look and was not mended by an event until the next is a missed event: it is
    taken over at once. Differences at every look for `patience_seconds` are a watch that tells nothing.
    """
    clock = asyncio.get_running_loop().time
    behind_since: float | None = None
    while True:
        await asyncio.sleep(every_seconds)
        try:
            missed = await _missed(inventory, queue, cluster, namespaces, grace_seconds=min(5.0, every_seconds))
        except LecternError as error:
            logger.warning("watchdog", extra={"cause": str(error)})
            continue
        if not missed:
            behind_since = None
        elif behind_since is None:
            behind_since = clock()
        elif clock() - behind_since >= patience_seconds:
            raise WatchSilent(
                f"no watch has told of {', '.join(missed[:5])} for {patience_seconds:.0f} s although the API server "
                f"lists it; the process ends so that a new one watches again"
            )


async def _missed(
    inventory: Inventory,
    queue: WorkQueue,
    cluster: Cluster,
    namespaces: Sequence[str | None],
    *,
    grace_seconds: float,
) -> list[str]:
    """Return what the watches did not tell within the grace, by name, after taking it over."""
    found: list[str] = []
    for kind in kinds.OWNERS:
        live = [body for namespace in namespaces for body in await cluster.owners(kind, namespace)]
        suspects = {body["metadata"]["uid"] for body in inventory.compare(live, kind)}
        if not suspects:
            continue
        await asyncio.sleep(grace_seconds)  # an event may be on its way
        live = [body for namespace in namespaces for body in await cluster.owners(kind, namespace)]
        present = {body["metadata"]["uid"] for body in live}
        for body in inventory.compare(live, kind):
            if body["metadata"]["uid"] not in suspects:
                continue  # it came or went after the first list
            gone = body["metadata"]["uid"] not in present
            take_in("DELETED" if gone else "MODIFIED", body, inventory, queue)
            found.append(f"{kind}/{body['metadata']['name']}")
    return found
