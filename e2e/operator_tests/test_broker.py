"""The operator's client of Kafka on a real broker: topics, credentials, a broker that is silent or killed."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from e2e.operator_tests.kafka_user import KafkaUser
from e2e.testbed.kafka import OWNER, STRANGER, Kafka
from lectern_contract import topics as contract
from lectern_contract.names import Topic
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import Reason
from lectern_operator.clients.kafka import QUIET_SECONDS, Brokers, BrokerServer, open_brokers
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.broker import BrokerState, CreateTopics, Unreachable
from lectern_operator.facts.outside import Unauthorised
from lectern_operator.policies import topics as policy
from lectern_operator_tests import broker_contract as contracted
from lectern_operator_tests.broker_contract import BrokerContract, knowledge_base, look, settle, topic

LONGEST_SECONDS = 8.0
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class RealStage(KafkaUser):
    """The real broker, the operator's client, and somebody else with a client of their own."""

    def __init__(self, kafka: Kafka, brokers: Brokers) -> None:
        super().__init__(kafka.bootstrap)
        self.kafka = kafka
        self.brokers: contracted.Brokers = brokers
        self.server = BrokerServer(kafka.bootstrap)

    @property
    def refused(self) -> BrokerServer:
        return BrokerServer(self.kafka.at("SASL_PLAINTEXT"), "SASL_PLAINTEXT", "SCRAM-SHA-512", OWNER, "wrong-one")

    @property
    def without_rights(self) -> BrokerServer:
        address = self.kafka.at("SASL_PLAINTEXT")
        return BrokerServer(address, "SASL_PLAINTEXT", "PLAIN", STRANGER, self.kafka.passwords[STRANGER])


@pytest.fixture
async def stage(kafka: Kafka) -> AsyncIterator[RealStage]:
    async with open_brokers() as brokers:
        yield RealStage(kafka, brokers)


class TestRealBroker(BrokerContract):
    pass


def judged(kb: KnowledgeBase, found: Fact[BrokerState]) -> tuple[str, Reason, str]:
    verdict = policy.verdict(kb, broker=found, strimzi=Known(False), topics={})
    return verdict.status, verdict.reason, verdict.message


async def test_looking_makes_nothing_where_aiokafkas_own_way_would(stage: RealStage) -> None:
    """Topics are made some time after the answer: what was asked for first would be there by the time of the second."""
    ours, theirs = f"ours-{uuid.uuid4().hex[:8]}", f"theirs-{uuid.uuid4().hex[:8]}"
    for _ in range(3):
        assert isinstance(await stage.brokers.look(stage.server, [ours]), Known)
    await stage.describe(theirs)
    assert {ours, theirs} & await stage.topics() == {theirs}


async def test_topics_that_are_as_they_have_to_be_are_told_so(stage: RealStage) -> None:
    kb = knowledge_base()
    await settle(stage, kb)
    status, reason, message = judged(kb, Known(await look(stage, kb)))
    assert (status, reason) == ("True", Reason.TOPICS_EXIST)
    assert message == "audit 1, dead-letters 1, documents 6, events 3 partitions"


async def test_another_number_of_partitions_is_told_and_the_topic_is_kept(stage: RealStage) -> None:
    kb = knowledge_base()
    name = topic(kb, Topic.DOCUMENTS).name
    await stage.make(name, partitions=2)
    await stage.write(name, ["Straße".encode()])
    await settle(stage, kb)
    status, reason, message = judged(kb, Known(await look(stage, kb)))
    assert (status, reason) == ("False", Reason.TOPICS_CHANGED)
    assert f"{name} has 2 partitions, not 6" in message
    assert await stage.read(name, 1) == ["Straße".encode()]


async def test_text_of_any_script_goes_through_topics_of_ours(stage: RealStage) -> None:
    kb = knowledge_base(messaging__partitions=1, workers__maxReplicas=1)
    await settle(stage, kb)
    texts = [text.encode() for text in ("Grüße", "Ελλάδα", "日本語", "\U0001f4da", "e\u0301")]
    for which in Topic:
        name = topic(kb, which).name
        await stage.write(name, texts)
        assert await stage.read(name, len(texts)) == texts


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_every_way_to_log_in(stage: RealStage, protocol: str, mechanism: str) -> None:
    kafka = stage.kafka
    ca = kafka.ca.read_text() if kafka.ca is not None and protocol == "SASL_SSL" else None

    def server(user: str, password: str) -> BrokerServer:
        return BrokerServer(kafka.at(protocol), protocol, mechanism, user, password, ca)  # type: ignore[arg-type]  # one of them

    assert isinstance(await stage.brokers.look(server(OWNER, kafka.passwords[OWNER]), ["none"]), Known)
    for user in (OWNER, "nobody"):
        assert type(await stage.brokers.look(server(user, "wrong-one"), ["none"])) is Unauthorised


@pytest.mark.parametrize(
    ("at", "as_if", "words"),
    [
        ("SSL", "PLAINTEXT", "check spec.messaging.securityProtocol"),
        ("PLAINTEXT", "SSL", "check spec.messaging.securityProtocol"),
        ("SASL_PLAINTEXT", "PLAINTEXT", "check spec.messaging.securityProtocol"),
        ("PLAINTEXT", "SASL_PLAINTEXT", "takes no login"),
        ("SSL", "SSL", "certificate that is not trusted"),
    ],
)
async def test_a_wrong_protocol_is_told_with_the_field(stage: RealStage, at: str, as_if: str, words: str) -> None:
    mechanism = "PLAIN" if as_if.startswith("SASL") else None
    wrong = BrokerServer(stage.kafka.at(at), as_if, mechanism, "user", "secret")  # type: ignore[arg-type]  # one of them
    found = await stage.brokers.look(wrong, ["none"])
    assert type(found) is Unreachable
    assert words in found.reason


async def test_what_is_no_certificate_is_told(stage: RealStage) -> None:
    found = await stage.brokers.look(BrokerServer(stage.kafka.at("SSL"), "SSL", ca="no certificate"), ["none"])
    assert isinstance(found, Unknown)
    assert "caSecretRef holds no PEM certificate" in found.reason


async def test_tls_without_a_login(stage: RealStage) -> None:
    assert stage.kafka.ca is not None
    server = BrokerServer(stage.kafka.at("SSL"), "SSL", ca=stage.kafka.ca.read_text())
    assert isinstance(await stage.brokers.look(server, ["none"]), Known)


async def test_a_dead_server_in_the_list_does_not_matter(stage: RealStage) -> None:
    async with silent_server() as silent:
        listed = BrokerServer(f"127.0.0.1:1,{silent},{stage.kafka.bootstrap}")
        start = time.monotonic()
        assert isinstance(await stage.brokers.look(listed, ["none"]), Known)
        assert time.monotonic() - start < 2.0


async def test_a_server_that_takes_connections_and_keeps_silent_is_unreachable_in_time(stage: RealStage) -> None:
    async with silent_server() as silent:
        start = time.monotonic()
        found = await stage.brokers.look(BrokerServer(silent), ["none"])
        assert type(found) is Unreachable
        assert time.monotonic() - start < LONGEST_SECONDS


async def test_no_password_is_logged_at_any_level(stage: RealStage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    password = stage.kafka.passwords[OWNER]
    server = BrokerServer(stage.kafka.at("SASL_PLAINTEXT"), "SASL_PLAINTEXT", "PLAIN", OWNER, password)
    assert isinstance(await stage.brokers.look(server, ["none"]), Known)
    assert type(await stage.brokers.look(stage.refused, ["none"])) is Unauthorised
    assert password not in caplog.text
    assert "wrong-one" not in caplog.text


async def test_a_stopped_broker_is_unreachable_in_time_and_mends(stage: RealStage) -> None:
    kb = knowledge_base()
    await settle(stage, kb)
    with paused(stage.kafka):
        start = time.monotonic()
        names = [each.name for each in contract.topics(kb)]
        found = await asyncio.gather(*(stage.brokers.look(stage.server, names) for _ in range(20)))
        assert time.monotonic() - start < LONGEST_SECONDS
        assert {type(each) for each in found} == {Unreachable}
        assert policy.plan(kb, broker=found[0]) == ()
        assert judged(kb, found[0])[:2] == ("False", Reason.BROKER_UNREACHABLE)
        start = time.monotonic()
        again = await stage.brokers.look(stage.server, names)
        assert again == found[0]
        assert time.monotonic() - start < 0.1, "a silent cluster is left alone for a moment"
    assert await mended(stage) < QUIET_SECONDS + LONGEST_SECONDS


async def test_a_killed_broker_comes_back_with_its_topics(stage: RealStage) -> None:
    kb = knowledge_base()
    await settle(stage, kb)
    before = await look(stage, kb)
    stage.kafka.kill()
    try:
        refused = await stage.brokers.perform(stage.server, CreateTopics(contract.topics(knowledge_base())))
        assert type(refused) is Unreachable
    finally:
        stage.kafka.start()
    await mended(stage)
    assert await look(stage, kb) == before
    assert await settle(stage, kb) == ()


async def mended(stage: RealStage) -> float:
    """Wait until the broker is seen again; return after how many seconds."""
    start = time.monotonic()
    async with asyncio.timeout(30):
        while not isinstance(await stage.brokers.look(stage.server, ["none"]), Known):
            await asyncio.sleep(0.05)
    return time.monotonic() - start


@contextmanager
def paused(kafka: Kafka) -> Iterator[None]:
    """Stop the broker in its tracks."""
    kafka.pause()
    try:
        yield
    finally:
        kafka.resume()


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Take connections on a port and say nothing; yields host and port."""
    connected: list[asyncio.StreamWriter] = []

    def keep(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in connected:
            writer.close()


async def test_a_thousand_partitions(stage: RealStage) -> None:
    """The last one: the broker needs a while to delete them, or to start again with them."""
    kb = knowledge_base(messaging__partitions=1000)
    start = time.monotonic()
    await settle(stage, kb)
    made, start = time.monotonic() - start, time.monotonic()
    found = await look(stage, kb)
    seen = time.monotonic() - start
    assert found.topics[topic(kb, Topic.DOCUMENTS).name].partitions == 1000
    print(f"1,000 partitions: made in {made:.2f} s, looked at in {1000 * seen:.0f} ms")
