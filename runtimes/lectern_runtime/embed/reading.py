"""Turns what was read of the documents topic into tasks, and tasks into batches.

The worker's first stage calls it. What is no message about a document of this knowledge base is passed over and
counted: a topic may hold other people's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lectern_contract import ids, messages
from lectern_contract.errors import DocumentError
from lectern_contract.messages import Deleted, Put
from lectern_runtime.embed.ledger import Ledger
from lectern_runtime.embed.parked import Parked, newest
from lectern_runtime.embed.prepare import Task
from lectern_runtime.ports import Record
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics

BATCH_DOCUMENTS = 32
BATCH_BYTES = 128 * 1024
"""About one call of a CPU model: small enough that progress shows and little is done twice after a crash."""
logger = logging.getLogger("lectern.worker")


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading needs of the worker: whose documents it takes, and the epoch of its topic."""

    namespace: str
    knowledge_base: str
    epoch: int
    metrics: WorkerMetrics

    def tasks(self, records: Sequence[Record], due: Sequence[Task], ledger: Ledger, parked: Parked) -> list[Task]:
        """The newest message about each document among `due` and `records`, which are opened in the ledger.

        A message about a parked document takes its place; what is passed over is settled at once.
        """
        found = {task.key: task for task in due}
        for record in records:
            ledger.open(record.position)
            task = self._task(record)
            if task is None:
                ledger.settle(record.position)
                continue
            earlier = found.get(task.key) or parked.take(task.key)
            found[task.key] = task if earlier is None else newest(earlier, task)
        return list(found.values())

    def _task(self, record: Record) -> Task | None:
        try:
            envelope = messages.decode(record.value)
            if not isinstance(envelope.data, Put | Deleted) or not self._ours(envelope.data):
                raise DocumentError("it is not about a document of this base", stage="decode", reason="Foreign")
        except DocumentError as error:
            place = {"partition": record.position.partition, "offset": record.position.offset}
            logger.warning("passed over a message: %s", error.reason, extra={**place, "reason": error.reason})
            self.metrics.done(source="", status="unreadable")
            return None
        version = ids.version(self.epoch, record.position.offset)
        return Task(envelope.data, record.position, version, record.time_ms, traceparent=envelope.traceparent)

    def _ours(self, message: Put | Deleted) -> bool:
        document = message.document
        return (document.namespace, document.knowledge_base) == (self.namespace, self.knowledge_base) and bool(
            document.tenant and document.access_level
        )


def batches(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """Cut tasks into batches, in order; a document that is larger than a batch is one by itself."""
    batch: list[Task] = []
    size = 0
    for task in tasks:
        weight = task.message.size if isinstance(task.message, Put) else 0
        if batch and (len(batch) >= BATCH_DOCUMENTS or size + weight > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        size += weight
        batch.append(task)
    if batch:
        yield batch
