"""Tells transitions as Kubernetes Events, after the status was written: bounded for each object, and never in the way.

An Event that cannot be written is dropped with a line in the log: the status says the same.
"""

from __future__ import annotations

import logging
import socket
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lectern_contract.errors import LecternError
from lectern_contract.resources.status import Condition
from lectern_operator.clients.errors import Outdated
from lectern_operator.desired.event import event
from lectern_operator.policies import transitions

MOST_A_MINUTE = 20
MINUTE_SECONDS = 60.0
MOST_OBJECTS = 10_000
logger = logging.getLogger("lectern.operator")


class Creates(Protocol):
    """What is needed of the API server: `clients.kube.Kube` has it."""

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create an object; `Outdated` when there is one of that name."""
        ...


class Events:
    """Writes Events; `clock` is monotonic, in seconds."""

    def __init__(self, cluster: Creates, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._instance = socket.gethostname()
        self._told: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        """How many objects are remembered."""
        return len(self._told)

    async def tell(self, body: Mapping[str, Any], before: tuple[Condition, ...], after: tuple[Condition, ...]) -> int:
        """Write an Event for every transition from `before` to `after` of the resource `body`; return how many."""
        written = 0
        for each in transitions.transitions(before, after):
            if not self._may(body["metadata"]["uid"]):
                break
            manifest = event(
                dict(body),
                aspect=each.aspect,
                status=each.status,
                reason=each.reason,
                message=each.message,
                at=each.at,
                severity=each.type,
                instance=self._instance,
            )
            try:
                await self._cluster.create(manifest)
                written += 1
            except Outdated:
                continue  # told already, before a restart
            except LecternError as error:
                logger.warning("event", extra={"object": manifest["metadata"]["name"], "cause": str(error)})
                break
        return written

    def _may(self, uid: str) -> bool:
        """Count one Event of `uid`; say whether it is within the bound of this minute."""
        now = self._clock()
        recent = self._told.setdefault(uid, deque(maxlen=MOST_A_MINUTE))
        self._told.move_to_end(uid)
        self._forget_the_quiet(now)
        if len(recent) == MOST_A_MINUTE and now - recent[0] < MINUTE_SECONDS:
            return False
        recent.append(now)
        return True

    def _forget_the_quiet(self, now: float) -> None:
        """Drop those of which nothing was told for a minute, but the newest: nothing is bounded by them any more."""
        while len(self._told) > 1:
            recent = next(iter(self._told.values()))
            if recent and now - recent[-1] < MINUTE_SECONDS and len(self._told) <= MOST_OBJECTS:
                return
            self._told.popitem(last=False)
