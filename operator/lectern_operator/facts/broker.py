"""What the operator reads of a Kafka cluster, and the steps that it can ask of one.

Three kinds of failure are told apart, because another person has to act on each: nobody answers, somebody answers and
refuses us (`outside.Unauthorised`, `outside.Denied`), somebody answers and will not do what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lectern_contract.topics import TopicDefinition
from lectern_operator.facts import Unknown


@dataclass(frozen=True, slots=True)
class Unreachable(Unknown):
    """No broker gives a usable answer."""


@dataclass(frozen=True, slots=True)
class Rejected(Unknown):
    """The broker answers and will not do what was asked; its words are in the reason."""


@dataclass(frozen=True, slots=True)
class ObservedTopic:
    """A topic as it is.

    `replication_factor` is the smallest number of copies of any partition, `leaderless` the partitions that nobody
    serves, `configs` the settings in force of those that are ours to keep. `topic_id` is another one for a topic that
    was made anew under the same name; None where the broker is too old to tell.
    """

    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str] = field(default_factory=dict)
    topic_id: str | None = None
    leaderless: int = 0


@dataclass(frozen=True, slots=True)
class BrokerState:
    """The cluster: how many brokers it has, and the topics that were asked for and exist, by name."""

    brokers: int
    topics: Mapping[str, ObservedTopic] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CreateTopics:
    """Make topics that are not there; one that is there meanwhile is left as it is."""

    topics: tuple[TopicDefinition, ...]


@dataclass(frozen=True, slots=True)
class AlterConfigs:
    """Set these settings of one topic and leave all others alone."""

    topic: str
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DeleteTopics:
    """Delete the very topics that were observed; one that was made anew since is left alone."""

    topics: tuple[ObservedTopic, ...]


Step = CreateTopics | AlterConfigs | DeleteTopics
