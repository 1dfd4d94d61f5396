"""Tells every decision about access on the audit topic, in batches and beside the requests.

A route notes a decision, which costs nothing; `run` writes what was noted, equal decisions as one message with their
count. What the log does not take is kept up to `MOST_KINDS` kinds of decisions and counted as lost beyond that.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count

from lectern_contract import messages, names
from lectern_contract.errors import DependencyError
from lectern_contract.messages import AccessDecision, Envelope
from lectern_contract.names import Topic
from lectern_contract.settings import ReceiverSettings
from lectern_runtime.moments import rfc3339
from lectern_runtime.ports import Log, OutgoingRecord
from lectern_runtime.telemetry.receiver_metrics import ReceiverMetrics

BATCH_SECONDS = 0.5
RETRY_SECONDS = 5.0
MOST_KINDS = 5_000
LAST_SECONDS = 5.0
"""For what is left when the receiver ends."""
logger = logging.getLogger("lectern.receiver")


class Audit:
    """The decisions of one receiver that are not written yet."""

    def __init__(
        self, settings: ReceiverSettings, metrics: ReceiverMetrics, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._topic = names.topic(settings.namespace, settings.knowledge_base, Topic.AUDIT)
        self._noted: Counter[AccessDecision] = Counter()
        self._any = asyncio.Event()
        self._run = uuid.uuid4().hex
        self._sequence = count()

    def allowed(self, principal: str, action: str, *, tenant: str, access_levels: Iterable[str]) -> None:
        """Note that somebody was let in."""
        self._note(principal, action, "", tenant, access_levels)

    def refused(
        self, principal: str, action: str, reason: str, *, tenant: str = "", access_levels: Iterable[str] = ()
    ) -> None:
        """Note that somebody was turned away; `reason` is one word."""
        self._note(principal, action, reason, tenant, access_levels)

    async def run(self, log: Log) -> None:
        """Write what is noted, again and again; on cancellation what is left, within `LAST_SECONDS`."""
        try:
            while True:
                await self._any.wait()
                await asyncio.sleep(BATCH_SECONDS)  # equal decisions of this time become one message
                if not await self.flush(log):
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            try:
                async with asyncio.timeout(LAST_SECONDS):
                    await self.flush(log)
            except TimeoutError:
                logger.warning("the audit topic did not take the last decisions in %.0f s", LAST_SECONDS)
            self._metrics.audit_lost.inc(self._noted.total())

    async def flush(self, log: Log) -> bool:
        """Write what is noted; False when the log does not take it, which keeps it."""
        noted, self._noted = self._noted, Counter()
        self._any.clear()
        records = [self._record(decision, times) for decision, times in noted.items()]
        if not records:
            return True
        try:
            await log.publish(self._topic, records)
        except BaseException as error:
            for decision, times in noted.items():
                self._keep(decision, times)
            if not isinstance(error, DependencyError):
                raise
            logger.warning("the audit topic takes nothing, trying again: %s", error)
            return False
        return True

    def _note(self, principal: str, action: str, reason: str, tenant: str, access_levels: Iterable[str]) -> None:
        decision = AccessDecision(
            namespace=self._settings.namespace,
            knowledge_base=self._settings.knowledge_base,
            principal=principal,
            action=action,
            allowed=not reason,
            reason=reason,
            tenant=tenant,
            access_levels=tuple(sorted(access_levels)),
        )
        self._keep(decision, 1)

    def _keep(self, decision: AccessDecision, times: int) -> None:
        if decision in self._noted or len(self._noted) < MOST_KINDS:
            self._noted[decision] += times
            self._any.set()
        else:
            self._metrics.audit_lost.inc(times)

    def _record(self, decision: AccessDecision, times: int) -> OutgoingRecord:
        envelope = Envelope(
            id=f"{self._run}-{next(self._sequence)}",
            source=f"lectern/receiver/{self._settings.namespace}/{self._settings.name}",
            time=rfc3339(self._clock()),
            data=decision.model_copy(update={"count": times}),
        )
        return OutgoingRecord(envelope.key, messages.encode(envelope))
