"""One active operator: a Lease that is held and renewed, and a fence that no write passes without it.

kopf's peering pauses the others by priority and fences nothing, so this is our own, after the rules of client-go's
leader election: nobody's clock is believed but the own monotonic one; another holder is given up when its Lease has
not changed for the whole duration while we were looking. The fence is stricter than the duration: a process that was
stopped and wakes up after somebody else took over finds its own renewal too old before its first write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from lectern_contract.errors import DependencyError, LecternError
from lectern_operator.clients.errors import NotFound, Outdated

DURATION_SECONDS = 15.0
"""How long a Lease stands without being renewed."""
FENCE_SECONDS = 10.0
"""Age of the last renewal at which we write no more: well before another one may begin."""
RENEW_SECONDS = 3.0
NAME = "lectern-operator"
Manifest = dict[str, Any]
logger = logging.getLogger("lectern.operator")


class LeaseLost(LecternError):
    """Another operator is, or may be, active: this process must not write any more."""


class Leases(Protocol):
    """What is needed of the API server: `clients.kube.Kube` has it."""

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object as it is now."""
        ...

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; `Outdated` when there is one."""
        ...

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object in the version that `manifest` names; `Outdated` when it has changed."""
        ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """A Lease of somebody else as it was when we first saw it in that version."""

    version: str
    at: float


class Lease:
    """The Lease `NAME` of one namespace, seen by the process `identity`; `clock` is monotonic, in seconds."""

    def __init__(self, leases: Leases, namespace: str, identity: str, clock: Callable[[], float]) -> None:
        self._leases = leases
        self._namespace = namespace
        self._identity = identity
        self._clock = clock
        self._renewed_at: float | None = None
        self._seen: _Seen | None = None
        self.acquired = asyncio.Event()

    @property
    def held(self) -> bool:
        """Whether this process may write now."""
        return self._renewed_at is not None and self._clock() - self._renewed_at < FENCE_SECONDS

    def fence(self) -> None:
        """Raise `LeaseLost` unless this process may write now; called before every write."""
        if not self.held:
            raise LeaseLost(
                f"the Lease {self._namespace}/{NAME} has not been renewed for {FENCE_SECONDS:.0f} s: another operator "
                "may be active, so nothing is written and the process ends"
            )

    async def run(self) -> None:
        """Take the Lease when it is free, renew it until cancelled; raise `LeaseLost` when that fails for too long."""
        while True:
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._round()
            except (DependencyError, NotFound, Outdated, TimeoutError) as error:
                logger.warning("lease", extra={"cause": f"{type(error).__name__}: {error}"})
            if self._renewed_at is not None:
                self.fence()
                self.acquired.set()
            await asyncio.sleep(RENEW_SECONDS)

    async def release(self) -> None:
        """Give the Lease back, so that another operator begins at once; what goes wrong here only costs time."""
        if self._renewed_at is None:
            return
        self._renewed_at = None
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                found = await self._leases.get("Lease", self._namespace, NAME)
                if found["spec"].get("holderIdentity") == self._identity:
                    await self._leases.replace(self._written(found, holder=""))
        except (LecternError, TimeoutError) as error:
            logger.warning("lease", extra={"cause": f"not released: {type(error).__name__}: {error}"})

    async def _round(self) -> None:
        """Look at the Lease once: renew it, take it, or note that somebody has it."""
        asked_at = self._clock()
        try:
            found = await self._leases.get("Lease", self._namespace, NAME)
        except NotFound:
            await self._leases.create(self._written(None, holder=self._identity))
            self._renewed_at = asked_at
            return
        holder = found["spec"].get("holderIdentity") or ""
        if holder not in ("", self._identity) and not self._given_up(found, asked_at):
            if self._renewed_at is not None:
                raise LeaseLost(f"the Lease {self._namespace}/{NAME} is held by {holder} now; the process ends")
            return
        await self._leases.replace(self._written(found, holder=self._identity))
        self._renewed_at = asked_at

    def _given_up(self, found: Manifest, now: float) -> bool:
        """Say whether the Lease of somebody else has not changed for its whole duration."""
        version = str(found["metadata"]["resourceVersion"])
        if self._seen is None or self._seen.version != version:
            self._seen = _Seen(version, now)
        duration = float(found["spec"].get("leaseDurationSeconds") or DURATION_SECONDS)
        return now - self._seen.at > duration

    def _written(self, found: Manifest | None, *, holder: str) -> Manifest:
        """Return the Lease as it is to be written over `found`."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = {} if found is None else found["spec"]
        changes = before.get("holderIdentity") != holder
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(DURATION_SECONDS),
            "renewTime": now,
            "acquireTime": now if changes else before.get("acquireTime", now),
            "leaseTransitions": int(before.get("leaseTransitions", 0)) + int(changes and bool(before) and bool(holder)),
        }
        metadata = {"name": NAME, "namespace": self._namespace} if found is None else found["metadata"]
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
