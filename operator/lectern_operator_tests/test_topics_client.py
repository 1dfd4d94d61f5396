"""The client of Kafka without a Kafka: who is tried first, what failures mean, how a silent cluster is spared.

What it does with a real broker is shown by `e2e/operator_tests/test_broker.py`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import errors  # type: ignore[import-untyped]  # published without types

from lectern_operator.clients import kafka, kafka_connection
from lectern_operator.clients.kafka import Brokers, BrokerServer, open_brokers
from lectern_operator.clients.kafka_connection import Address
from lectern_operator.facts import Unknown
from lectern_operator.facts.broker import CreateTopics, Rejected, Unreachable
from lectern_operator.facts.outside import Denied, Unauthorised

SERVER = BrokerServer("a:1,b:2", "SASL_SSL", "PLAIN", "lectern", "wrong-one", "PEM")
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[tuple[str, list[int]]]:
    """Serve `talk`; yields host and port, and a list with one entry for each connection."""
    connections: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        writers.append(writer)
        await talk(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()
        for _ in range(3):  # a connection that was just accepted is told of in the next rounds of the loop
            await asyncio.sleep(0)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def say_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as a web server does what is no request."""
    await reader.read(4)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    writer.close()


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close at once."""
    writer.close()


class Connection:
    """A connection of a test."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        """Close it; there is nothing to wait for."""
        self.closed = True


class Network:
    """Servers by port: what connecting does after some seconds."""

    def __init__(self, servers: dict[int, tuple[float, Exception | Connection]]) -> None:
        self.servers = servers
        self.tried: list[int] = []

    async def connect(self, address: Address) -> Any:
        """Connect."""
        self.tried.append(address[1])
        seconds, end = self.servers[address[1]]
        await asyncio.sleep(seconds)
        if isinstance(end, Exception):
            raise end
        return end

    async def first(self) -> Any:
        """Connect to the first that lets us in."""
        return await kafka_connection.first_connected([("h", port) for port in self.servers], self.connect)


def test_no_secret_is_in_a_repr() -> None:
    assert (
        repr(SERVER)
        == "BrokerServer(bootstrap_servers='a:1,b:2', security_protocol='SASL_SSL', sasl_mechanism='PLAIN')"
    )


def test_aiokafka_is_not_loaded_before_a_broker_is_asked() -> None:
    script = "import sys, lectern_operator.clients.kafka; sys.exit('aiokafka' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_servers_are_those_of_the_spec_up_to_a_bound() -> None:
    assert kafka_connection.addresses("a.b-c:9092,10.0.0.1:1") == [("a.b-c", 9092), ("10.0.0.1", 1)]
    assert len(kafka_connection.addresses(",".join(f"h:{port}" for port in range(1, 50)))) == 8


async def test_one_server_that_answers_is_enough_and_no_other_is_tried() -> None:
    first = Connection()
    network = Network({1: (0.0, first), 2: (0.0, Connection())})
    assert await network.first() is first
    assert (network.tried, first.closed) == ([1], False)


async def test_a_refusal_goes_on_to_the_next_at_once() -> None:
    good = Connection()
    network = Network({1: (0.0, ConnectionRefusedError()), 2: (0.0, OSError()), 3: (0.0, good)})
    start = time.monotonic()
    assert await network.first() is good
    assert time.monotonic() - start < kafka_connection.STAGGER_SECONDS


async def test_a_silent_server_does_not_keep_the_next_one_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_connection, "STAGGER_SECONDS", 0.01)
    good = Connection()
    assert await Network({1: (60.0, OSError()), 2: (0.0, good)}).first() is good


async def test_of_two_that_answer_at_once_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_connection, "STAGGER_SECONDS", 0.0)
    both, answered = {1: Connection(), 2: Connection()}, asyncio.Event()

    async def connect(address: Address) -> Connection:
        if address[1] == 2:
            answered.set()
        await answered.wait()
        return both[address[1]]

    found = await kafka_connection.first_connected([("h", 1), ("h", 2)], connect)
    assert [each.closed for each in both.values() if each is not found] == [True]
    assert not found.closed


async def test_the_first_server_of_the_list_words_the_failure_whoever_failed_first() -> None:
    refused, gone = ConnectionRefusedError("one"), socket.gaierror("two")
    for seconds in ((0.0, 0.05), (0.05, 0.0)):
        with pytest.raises(ConnectionRefusedError):
            await Network({1: (seconds[0], refused), 2: (seconds[1], gone)}).first()


async def test_a_refused_login_is_told_before_everything_else() -> None:
    with pytest.raises(errors.SaslAuthenticationFailed):
        await Network({1: (0.0, OSError()), 2: (0.0, errors.SaslAuthenticationFailed("no"))}).first()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (errors.SaslAuthenticationFailed("Invalid password"), Unauthorised, "mechanism PLAIN (SASL_AUTHENTICATION"),
        (errors.UnsupportedSaslMechanismError(), Unauthorised, "UNSUPPORTED_SASL_MECHANISM"),
        (errors.IllegalSaslStateError(object()), Unreachable, "takes no login (ILLEGAL_SASL_STATE)"),
        (errors.TopicAuthorizationFailedError(), Denied, "TOPIC_AUTHORIZATION_FAILED"),
        (errors.ClusterAuthorizationFailedError(), Denied, "CLUSTER_AUTHORIZATION_FAILED"),
        (errors.NotControllerError(), Unreachable, "cannot answer now (NOT_CONTROLLER)"),
        (errors.PolicyViolationError("no compaction"), Rejected, "refuses: POLICY_VIOLATION: no compaction"),
        (errors.KafkaConnectionError("closed"), Unreachable, "check spec.messaging.securityProtocol"),
        (asyncio.IncompleteReadError(b"", 4), Unreachable, "check spec.messaging.securityProtocol"),
        (ConnectionResetError(104, "reset"), Unreachable, "check spec.messaging.securityProtocol"),
        (ConnectionRefusedError(111, "Connection refused"), Unreachable, "cannot be reached (Connection refused)"),
        (socket.gaierror(-2, "Name unknown"), Unreachable, "cannot be resolved (Name unknown)"),
        (ssl.SSLCertVerificationError("expired"), Unreachable, "check spec.messaging.caSecretRef"),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), Unreachable, "check spec.messaging.securityProtocol"),
        (TimeoutError(), Unreachable, "keeps silent"),
        (AssertionError("garbage"), Unreachable, "does not speak Kafka's protocol as expected (AssertionError)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_told_by_who_has_to_act(error: Exception, kind: type[Unknown], words: str) -> None:
    found = kafka_connection.explained(SERVER, error)
    assert type(found) is kind
    assert words in found.reason
    assert "a:1,b:2" in found.reason
    assert "wrong-one" not in found.reason


def test_an_error_that_is_newer_than_we_is_told_by_its_number() -> None:
    assert kafka_connection.answered(SERVER, 120, "new").reason == "a:1,b:2 refuses: error 120: new"
    assert isinstance(kafka_connection.answered(SERVER, 89), Unreachable)  # throttled


@pytest.mark.parametrize("talk", [say_http, hang_up], ids=["web server", "hangs up"])
async def test_a_port_that_is_no_broker_is_unreachable(talk: Talk) -> None:
    async with listening(talk) as (address, _), open_brokers() as brokers:
        assert type(await brokers.look(BrokerServer(address), ["t"])) is Unreachable


async def test_a_silent_cluster_is_spared_for_a_moment_and_then_asked_again() -> None:
    now = 0.0
    async with listening(hang_up) as (address, connections):
        brokers = Brokers(lambda: now)
        server = BrokerServer(address)
        first = await brokers.look(server, ["t"])
        asked = len(connections)
        assert await brokers.look(server, ["t"]) == first
        assert await brokers.lag(server, "t", "g") == first
        assert await brokers.perform(server, CreateTopics(())) == first
        assert len(connections) == asked
        other = BrokerServer(address, "SASL_PLAINTEXT", "PLAIN", "user", "secret")
        await brokers.look(other, ["t"])
        assert len(connections) > asked, "other credentials are another matter"
        asked = len(connections)
        now = kafka.QUIET_SECONDS + 0.1
        await brokers.look(server, ["t"])
        assert len(connections) > asked


async def test_the_memory_of_silent_clusters_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "MAX_QUIET", 3)
    now = 0.0
    brokers = Brokers(lambda: now)
    for host in range(1, 6):
        await brokers.look(BrokerServer(f"127.0.0.{host}:1"), ["t"])
    assert len(brokers._quiet) == 3
    now = kafka.QUIET_SECONDS + 0.1
    await brokers.look(BrokerServer("127.0.0.9:1"), ["t"])
    assert len(brokers._quiet) == 1


async def test_looks_end_in_time_however_many_wait_for_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "LOOK_SECONDS", 0.3)

    async def keep_silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)

    async with listening(keep_silent) as (address, connections), open_brokers() as brokers:
        start = time.monotonic()
        found = await asyncio.gather(*(brokers.look(BrokerServer(address), ["t"]) for _ in range(40)))
        assert {type(each) for each in found} == {Unreachable}
        assert time.monotonic() - start < 2.0
        assert len(connections) <= kafka.AT_ONCE
