"""Makes the topics of a knowledge base that live in the log of this process.

Run by connector and worker before they use them. On a cluster the topics are the operator's, with the
partitions that the resource asks for, and nothing is made here.
"""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.names import Topic
from lectern_contract.settings import EmbeddedLog, LogSettings
from lectern_runtime.ports import Log

EMBEDDED_PARTITIONS = 1
"""One process has one worker, and a partition feeds one worker at a time."""


async def ensure(log: Log, settings: LogSettings, *, namespace: str, knowledge_base: str) -> None:
    """Make the four topics where the log is embedded; only `documents` is compacted."""
    if not isinstance(settings, EmbeddedLog):
        return
    for topic in Topic:
        await log.ensure_topic(
            names.topic(namespace, knowledge_base, topic),
            partitions=EMBEDDED_PARTITIONS,
            compacted=topic is Topic.DOCUMENTS,
        )
