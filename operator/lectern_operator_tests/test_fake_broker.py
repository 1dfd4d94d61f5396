"""The double of Kafka does what the operator relies on, and refuses states that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from lectern_operator.clients.kafka import BrokerServer
from lectern_operator_tests.broker_contract import BrokerContract
from lectern_operator_tests.fake_broker import FakeBrokers, FakeCluster, Impossible

OPEN, CLOSED = "kafka:9092", "kafka:9093"


class FakeStage:
    """Other people at the double; a second address demands a password."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.guarded = FakeCluster()
        self.guarded.password = "right"
        self.brokers = FakeBrokers({OPEN: self.cluster, CLOSED: self.guarded})
        self.server = BrokerServer(OPEN)

    @property
    def refused(self) -> BrokerServer:
        return BrokerServer(CLOSED, "SASL_PLAINTEXT", "PLAIN", "lectern", "wrong-one")

    @property
    def without_rights(self) -> BrokerServer:
        self.guarded.rights = False
        return replace(self.refused, password="right")

    async def make(self, name: str, *, partitions: int) -> None:
        self.cluster.make(name, partitions=partitions)

    async def drop(self, name: str) -> None:
        self.cluster.drop(name)

    async def set(self, name: str, configs: Mapping[str, str]) -> None:
        self.cluster.set(name, configs)

    async def setting(self, name: str, key: str) -> str:
        return {**self.cluster.topics[name].configs, **self.cluster.others[name]}[key]

    async def write(self, name: str, messages: int) -> None:
        self.cluster.write(name, messages)

    async def commit(self, group: str, name: str, offset: int) -> None:
        self.cluster.commit(group, name, offset)


@pytest.fixture
def stage() -> FakeStage:
    return FakeStage()


class TestFakeBroker(BrokerContract):
    pass


def test_states_that_cannot_be_are_refused() -> None:
    cluster = FakeCluster()
    cluster.make("t", partitions=2)
    with pytest.raises(Impossible):
        FakeCluster(brokers=0)
    with pytest.raises(Impossible):
        cluster.make("t")
    with pytest.raises(Impossible):
        cluster.make("none", partitions=0)
    with pytest.raises(Impossible):
        cluster.make("copies", copies=2)
    with pytest.raises(Impossible):
        cluster.grow("t", 1)
    with pytest.raises(Impossible):
        cluster.commit("g", "t", 1)
    with pytest.raises(Impossible):
        cluster.drop("never-made")
