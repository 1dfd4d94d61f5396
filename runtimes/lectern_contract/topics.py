"""The four topics of a knowledge base as they have to be: partitions, copies, settings.

Both ways of making topics start here: the operator's steps on a broker and its KafkaTopic resources. What a topic must
have for the log to be a log (compaction by document id, no loss of what was acknowledged) is not left to a broker's
defaults; everything else is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lectern_contract import names
from lectern_contract.names import Topic
from lectern_contract.resources import KnowledgeBase

_HOUR = 3_600_000
_DAY = 24 * _HOUR
_MEBIBYTE = 1 << 20

IN_SYNC = "min.insync.replicas"
MAX_BATCH_BYTES = _MEBIBYTE
"""Largest batch that a topic takes; one message has at most `messages.MAX_MESSAGE_BYTES`."""
MAX_SIDE_PARTITIONS = 3
"""Partitions of the events topic: nobody scales by it."""

_SETTINGS: dict[Topic, dict[str, str]] = {
    # Every decision about access goes by its age alone, never for want of room.
    Topic.AUDIT: {"cleanup.policy": "delete", "retention.ms": str(90 * _DAY), "retention.bytes": "-1"},
    # Replay is a person's decision, which may take a holiday.
    Topic.DEAD_LETTERS: {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY), "retention.bytes": "-1"},
    # Never "delete": a rebuild reads every living document from here. A week after a change or a deletion the
    # reference to what was before is gone; segments have to be closed for that even where little is written.
    Topic.DOCUMENTS: {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": str(_HOUR),
        "max.compaction.lag.ms": str(7 * _DAY),
        "segment.ms": str(_DAY),
    },
    Topic.EVENTS: {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY), "retention.bytes": str(1024 * _MEBIBYTE)},
}


@dataclass(frozen=True, slots=True)
class TopicDefinition:
    """One topic as it has to be; `configs` are all the settings of a topic that are ours to keep."""

    which: Topic
    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str]

    def configs_with(self, copies: int) -> dict[str, str]:
        """Return the settings for a topic that has only `copies` copies as yet.

        Asking for more copies in step than there are would stop every producer.
        """
        return {**self.configs, IN_SYNC: str(in_sync(min(copies, self.replication_factor)))}


def topics(kb: KnowledgeBase) -> tuple[TopicDefinition, ...]:
    """Return the topics of `kb` by name; none where its log is not on a broker."""
    messaging = kb.spec.messaging
    if messaging is None:
        return ()
    partitions = {
        Topic.AUDIT: 1,
        Topic.DEAD_LETTERS: 1,
        Topic.DOCUMENTS: messaging.partitions,
        Topic.EVENTS: min(messaging.partitions, MAX_SIDE_PARTITIONS),
    }
    found = [
        TopicDefinition(
            which=which,
            name=names.topic(kb.namespace, kb.name, which),
            partitions=partitions[which],
            replication_factor=messaging.replication_factor,
            configs={
                **_SETTINGS[which],
                IN_SYNC: str(in_sync(messaging.replication_factor)),
                "max.message.bytes": str(MAX_BATCH_BYTES),
            },
        )
        for which in Topic
    ]
    return tuple(sorted(found, key=lambda each: each.name))


def in_sync(copies: int) -> int:
    """Return how many copies must have a message before it counts: two where one may be away, else one."""
    return 2 if copies > 2 else 1


CONFIG_KEYS = tuple(
    sorted({key for settings in _SETTINGS.values() for key in settings} | {IN_SYNC, "max.message.bytes"})
)
"""Every setting of a topic that is ours to keep; those of others are left alone."""
