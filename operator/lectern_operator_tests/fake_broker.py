"""A DOUBLE of Kafka clusters for transition tests: topics, settings and offsets in memory, one cluster per address.

It passes `broker_contract`, which runs against a real Kafka too, and refuses states that cannot be: a topic without
partitions, a setting of a topic that is not there, a group ahead of its topic. Tests act as other people by `make`,
`drop`, `set`, `grow`, `write` and `commit`, and break the cluster by `silent`, `password` and `rights`.

What it does not show: time, several brokers that disagree, TLS, the values that a real broker accepts for a setting.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from lectern_contract.topics import CONFIG_KEYS
from lectern_operator.clients.kafka import BrokerServer
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.broker import (
    AlterConfigs,
    BrokerState,
    CreateTopics,
    DeleteTopics,
    ObservedTopic,
    Rejected,
    Step,
    Unreachable,
)
from lectern_operator.facts.outside import Denied, Unauthorised

DEFAULTS = {
    "cleanup.policy": "delete",
    "max.compaction.lag.ms": "9223372036854775807",
    "max.message.bytes": "1048588",
    "min.compaction.lag.ms": "0",
    "min.insync.replicas": "2",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "segment.ms": "604800000",
}


class Impossible(AssertionError):
    """A test asked for a state that no cluster can be in."""


class FakeCluster:
    """One cluster; `steps` lists what it was asked to change, in order."""

    def __init__(self, *, brokers: int = 1) -> None:
        if brokers < 1:
            raise Impossible("a cluster without a broker answers nobody: use `silent`")
        self.brokers = brokers
        self.topics: dict[str, ObservedTopic] = {}
        self.others: dict[str, dict[str, str]] = {}
        """Settings that are not ours, by topic."""
        self.steps: list[Step] = []
        self.silent = False
        self.password: str | None = None
        self.rights = True
        self._ids = itertools.count(1)
        self._written: dict[str, int] = {}
        self._committed: dict[tuple[str, str], int] = {}

    # --- what other people do -----------------------------------------------------------------------------------

    def make(
        self, name: str, *, partitions: int = 1, copies: int = 1, configs: Mapping[str, str] | None = None
    ) -> None:
        """Make a topic as somebody else would."""
        if partitions < 1 or not 1 <= copies <= self.brokers or name in self.topics:
            raise Impossible(f"{name}: {partitions} partitions, {copies} copies on {self.brokers} brokers")
        self.others[name] = {}
        self.topics[name] = ObservedTopic(name, partitions, copies, dict(DEFAULTS), f"id-{next(self._ids)}")
        self.set(name, configs or {})

    def drop(self, name: str) -> None:
        """Delete a topic with its messages and what groups committed of it."""
        self._must_exist(name)
        del self.topics[name], self.others[name]
        self._written.pop(name, None)
        self._committed = {key: offset for key, offset in self._committed.items() if key[1] != name}

    def set(self, name: str, configs: Mapping[str, str]) -> None:
        """Change settings of a topic."""
        self._must_exist(name)
        ours = {key: value for key, value in configs.items() if key in CONFIG_KEYS}
        self.others[name] |= {key: value for key, value in configs.items() if key not in CONFIG_KEYS}
        self.topics[name] = replace(self.topics[name], configs={**self.topics[name].configs, **ours})

    def grow(self, name: str, partitions: int) -> None:
        """Add partitions; there is no way back."""
        self._must_exist(name)
        if partitions <= self.topics[name].partitions:
            raise Impossible(f"{name}: partitions cannot be taken back")
        self.topics[name] = replace(self.topics[name], partitions=partitions)

    def write(self, name: str, messages: int) -> None:
        """Append messages to a topic."""
        self._must_exist(name)
        self._written[name] = self._written.get(name, 0) + messages

    def commit(self, group: str, name: str, offset: int) -> None:
        """Let a consumer group commit."""
        if offset > self._written.get(name, 0):
            raise Impossible(f"{group} is ahead of {name}")
        self._committed[group, name] = offset

    def _must_exist(self, name: str) -> None:
        if name not in self.topics:
            raise Impossible(f"there is no topic {name}")

    # --- what the operator asks -----------------------------------------------------------------------------------

    def refusal(self, server: BrokerServer) -> Unknown | None:
        """Return why nothing is answered; None where it is."""
        where = server.bootstrap_servers
        if self.silent:
            return Unreachable(f"{where} keeps silent")
        if self.password is not None and server.password != self.password:
            return Unauthorised(f"{where} refuses the login")
        return None if self.rights else Denied(f"{where} lets us in but gives no right to our topics")

    def take(self, where: str, step: Step) -> Fact[None]:
        """Take a step as a broker would."""
        match step:
            case CreateTopics(topics):
                if too_many := [each for each in topics if each.replication_factor > self.brokers]:
                    return Rejected(f"{where} refuses: {too_many[0].name} has more copies than there are brokers")
                for each in topics:
                    if each.name not in self.topics:
                        self.make(
                            each.name, partitions=each.partitions, copies=each.replication_factor, configs=each.configs
                        )
            case AlterConfigs(topic, configs):
                if topic not in self.topics:
                    return Unreachable(f"{where} cannot answer now (topic {topic} does not exist)")
                self.set(topic, configs)
            case DeleteTopics(topics):
                for gone in topics:
                    if gone.name in self.topics and self.topics[gone.name].topic_id == gone.topic_id:
                        self.drop(gone.name)
            case _:
                assert_never(step)
        return Known(None)

    def behind(self, topic: str, group: str) -> int:
        """Return how many messages the group has not committed."""
        return self._written.get(topic, 0) - self._committed.get((group, topic), 0)


class FakeBrokers:
    """The client, with clusters by their bootstrap servers; an address without one answers nobody."""

    def __init__(self, clusters: Mapping[str, FakeCluster] | None = None) -> None:
        self.clusters = dict(clusters or {})
        self.looks = 0

    async def look(self, server: BrokerServer, names: Sequence[str]) -> Fact[BrokerState]:
        """Return the cluster and those of the topics `names` that it has."""
        self.looks += 1
        cluster = self._cluster(server)
        if isinstance(cluster, Unknown):
            return cluster
        found = {name: cluster.topics[name] for name in sorted(names) if name in cluster.topics}
        return Known(BrokerState(cluster.brokers, found))

    async def perform(self, server: BrokerServer, step: Step) -> Fact[None]:
        """Take `step` at once."""
        cluster = self._cluster(server)
        if isinstance(cluster, Unknown):
            return cluster
        cluster.steps.append(step)
        return cluster.take(server.bootstrap_servers, step)

    async def lag(self, server: BrokerServer, topic: str, group: str) -> Fact[int]:
        """Return how many messages of `topic` the group has not committed."""
        cluster = self._cluster(server)
        if isinstance(cluster, Unknown):
            return cluster
        if topic not in cluster.topics:
            return Unreachable(f"{server.bootstrap_servers} cannot answer now (topic {topic} does not exist)")
        return Known(cluster.behind(topic, group))

    def _cluster(self, server: BrokerServer) -> FakeCluster | Unknown:
        cluster = self.clusters.get(server.bootstrap_servers)
        if cluster is None:
            return Unreachable(f"{server.bootstrap_servers} cannot be reached")
        return cluster.refusal(server) or cluster
