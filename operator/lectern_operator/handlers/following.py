"""A list and a watch of our own for one kind in one scope, into the view, without an end.

For all that we make, and for kinds that come and go with other projects. A watch goes on where it ended; when the API
server has forgotten that place, or fails again and again, everything is listed anew, and what the list lacks is
dropped: no delete is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from lectern_contract.errors import DependencyError
from lectern_operator.clients import kinds
from lectern_operator.clients.errors import NotFound, NotServed, Outdated, Refused
from lectern_operator.clients.kube import Page
from lectern_operator.handlers.queue import Priority
from lectern_operator.handlers.watching import View

REFUSED_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
FAILURES_BEFORE_LIST = 3
logger = logging.getLogger("lectern.operator")


class Reads(Protocol):
    """What is needed of the API server: `clients.kube.Kube` has it."""

    def pages(self, kind: str, namespace: str | None, *, heads: bool = False) -> AsyncIterator[Page]:
        """Yield all objects in pages; `heads`: metadata only."""
        ...

    def watch(self, kind: str, namespace: str | None, since: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield events after the version `since`."""
        ...


async def read_all(
    kind: str, namespace: str | None, reads: Reads, view: View, priority: Priority = Priority.CHANGED
) -> str:
    """Bring the view to what one list says, and return the version of the list."""
    found: set[str] = set()
    version = "0"
    async for page in reads.pages(kind, namespace):
        version = page.version
        for body in page.items:
            found.add(body["metadata"]["uid"])
            if kind in kinds.OWNERS:
                view.resource(None, body, priority)
            else:
                view.child(None, kind, body)
    for uid, known in view.versions(kind, namespace).items():
        if uid not in found and known <= int(version):
            _gone(kind, uid, int(version), view)
    return version


async def follow(
    kind: str,
    namespace: str | None,
    reads: Reads,
    view: View,
    *,
    chance: Callable[[], float],
    since: str = "",
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Keep the view of `kind` up to date from the version `since` on, from a list where empty.

    Returns when the kind is served no more.
    """
    failures = 0
    while True:
        asked = 0.0
        try:
            if not since:
                since = await read_all(kind, namespace, reads, view)
                view.children.listed(kind)
            async for event_type, body in reads.watch(kind, namespace, since):
                since, failures = str(body["metadata"]["resourceVersion"]), 0
                if event_type != "BOOKMARK":
                    view.child(event_type, kind, body)
            pause = FIRST_PAUSE_SECONDS  # the server ends every watch after some minutes
        except (NotServed, NotFound):
            return
        except Refused as error:
            view.children.refused(kind, str(error))
            since, pause = "", REFUSED_SECONDS
            logger.warning("watch", extra={"kind": kind, "cause": str(error)})
        except (DependencyError, Outdated) as error:
            failures += 1
            if isinstance(error, Outdated) or failures % FAILURES_BEFORE_LIST == 0:
                since = ""
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 10))
            asked = (error.retry_after_seconds if isinstance(error, DependencyError) else None) or 0.0
            logger.warning("watch", extra={"kind": kind, "cause": str(error)})
        await sleep(max(asked, pause * (0.5 + chance())))


def _gone(kind: str, uid: str, version: int, view: View) -> None:
    if kind not in kinds.OWNERS:
        view.child_gone(uid, version)
        return
    if (body := view.inventory.get(uid)) is not None:
        view.resource("DELETED", body)
