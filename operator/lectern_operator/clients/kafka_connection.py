"""Connections to one Kafka cluster for the time of one look or step, and what their failures mean.

aiokafka's own admin client keeps a task that fetches every topic of the cluster, and tells a refused password only to
its log; so this opens single connections of aiokafka's and speaks its requests over them. A session opens what it
needs, asks, and closes: the operator keeps no connection between two looks. Imported by `kafka` on first use.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiokafka import errors  # type: ignore[import-untyped]  # published without types
from aiokafka.conn import AIOKafkaConnection  # type: ignore[import-untyped]  # published without types

from lectern_operator.clients.kafka_protocol import Metadata
from lectern_operator.facts import Unknown
from lectern_operator.facts.broker import Rejected, Unreachable
from lectern_operator.facts.outside import Denied, Unauthorised

if TYPE_CHECKING:
    from lectern_operator.clients.kafka import BrokerServer

Address = tuple[str, int]
MAX_BOOTSTRAP_SERVERS = 8
"""How many of the servers that a spec names are tried."""
STAGGER_SECONDS = 0.5
"""How long one server may keep silent before the next one is tried beside it."""
CLOSE_SECONDS = 1.0
FAILURES = (
    OSError,
    OverflowError,
    EOFError,
    LookupError,
    ValueError,
    AssertionError,
    NotImplementedError,
    errors.KafkaError,
)
"""What a connection can raise; aiokafka words garbage from a stranger's port as ValueError or AssertionError.

An OverflowError is a port above 65535, a UnicodeError (a ValueError) a host that cannot be a name.
"""

_LOGIN = {33, 58}  # unsupported mechanism, authentication failed
_NO_LOGIN = 34
_RIGHTS = {29, 30, 31}  # topic, group, cluster
_WAYS_OUT = {38: "lower spec.messaging.replicationFactor, or add brokers"}
_PASSING = {3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 41, 56, 60, 89}  # something moves or is slow: the next look settles it


class Session:
    """Open connections to one cluster; use as `async with`."""

    def __init__(self, server: BrokerServer, tls: ssl.SSLContext | None, request_seconds: float) -> None:
        self._options: dict[str, Any] = {
            "client_id": "lectern-operator",
            "request_timeout_ms": int(request_seconds * 1000),
            "security_protocol": server.security_protocol,
            "ssl_context": tls,
        }
        if server.security_protocol.startswith("SASL"):
            self._options |= {
                "sasl_mechanism": server.sasl_mechanism,
                "sasl_plain_username": server.username,
                "sasl_plain_password": server.password,
            }
        self._bootstrap = addresses(server.bootstrap_servers)
        self._any: Any = None
        self._nodes: dict[int, Address] = {}
        self._opened: dict[int, Any] = {}

    async def __aenter__(self) -> Session:
        """Connect to the first server that lets us in."""
        self._any = await first_connected(self._bootstrap, self._connect)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await asyncio.gather(*(_closed(each) for each in (self._any, *self._opened.values())))

    async def metadata(self, names: Sequence[str]) -> Any:
        """Return what the cluster says of itself and of these topics."""
        answer = await self.ask(Metadata(list(names)))
        self._nodes = {broker[0]: (broker[1], broker[2]) for broker in answer.brokers}
        return answer

    async def ask(self, request: Any, node: int | None = None) -> Any:
        """Send `request` to a broker that metadata named, or to any one, and return its answer."""
        if node is None:
            return await self._any.send(request)
        if node not in self._opened:
            if node not in self._nodes:
                raise errors.StaleMetadata(f"broker {node} is not known")
            self._opened[node] = await self._connect(self._nodes[node])
        return await self._opened[node].send(request)

    async def _connect(self, address: Address) -> Any:
        connection = AIOKafkaConnection(*address, **self._options)
        try:
            await connection.connect()
        except errors.KafkaError:  # it was connected and refused, and has to be closed like any other
            await _closed(connection)
            raise
        return connection


def addresses(bootstrap_servers: str) -> list[Address]:
    """Return hosts and ports of `host:port,host:port`."""
    found = [each.rpartition(":") for each in bootstrap_servers.split(",")]
    return [(host, int(port)) for host, _, port in found][:MAX_BOOTSTRAP_SERVERS]


async def first_connected(to: Sequence[Address], connect: Callable[[Address], Awaitable[Any]]) -> Any:
    """Return the first connection that is made; a silent server does not keep the next ones waiting.

    Raises what the most telling of them raised: a refused login before everything else.
    """
    tasks: list[asyncio.Task[Any]] = []
    waiting: set[asyncio.Task[Any]] = set()
    failures: dict[int, Exception] = {}
    remaining, winner = list(to), None
    try:
        while remaining or waiting:
            if remaining:
                task = asyncio.ensure_future(connect(remaining.pop(0)))
                tasks.append(task)
                waiting.add(task)
            pause = STAGGER_SECONDS if remaining else None
            done, waiting = await asyncio.wait(waiting, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                try:
                    connection = task.result()
                except FAILURES as error:
                    failures[tasks.index(task)] = error
                else:
                    winner = task
                    return connection
        # in the order of the servers: equal failures give equal words, whoever failed first
        ordered = [failures[index] for index in sorted(failures)]
        raise min(ordered, key=lambda error: not isinstance(error, errors.BrokerResponseError))
    finally:
        await _given_up([task for task in tasks if task is not winner])


async def _given_up(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for found in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(found, BaseException):
            await _closed(found)


async def _closed(connection: Any) -> None:
    closing = connection.close() if connection is not None else None
    if closing is not None:
        with suppress(TimeoutError, OSError):
            await asyncio.wait_for(closing, CLOSE_SECONDS)


def explained(server: BrokerServer, error: Exception) -> Unknown:
    """Say what an error of a session means, and for whom."""
    where = server.bootstrap_servers
    match error:
        case errors.BrokerResponseError():
            return answered(server, error.errno, _words(error))
        case ssl.SSLCertVerificationError():
            said = f"{where} shows a certificate that is not trusted ({getattr(error, 'verify_message', error)})"
            return Unreachable(f"{said}: check spec.messaging.caSecretRef")
        case ssl.SSLError():
            said = f"{where} does not speak TLS ({getattr(error, 'reason', error)})"
            return Unreachable(f"{said}: check spec.messaging.securityProtocol")
        case socket.gaierror():
            return Unreachable(f"the name of {where} cannot be resolved ({error.strerror})")
        case TimeoutError():
            return Unreachable(f"{where} keeps silent")
        case ConnectionResetError() | ConnectionAbortedError() | EOFError() | errors.KafkaConnectionError():
            return Unreachable(f"{where} closes the connection: check spec.messaging.securityProtocol")
        case OverflowError() | UnicodeError():
            return Unreachable(f"{where} is no address ({error}): correct spec.messaging.bootstrapServers")
        case OSError():
            return Unreachable(f"{where} cannot be reached ({error.strerror or type(error).__name__})")
        case _:
            return Unreachable(f"{where} does not speak Kafka's protocol as expected ({type(error).__name__})")


def answered(server: BrokerServer, code: int, message: str | None = None) -> Unknown:
    """Say what an error code in a broker's answer means."""
    where = server.bootstrap_servers
    known = errors.for_code(code)
    name = known.message if known.errno == code else f"error {code}"
    said = f"{name}: {message}" if message and message != name else name
    if code == _NO_LOGIN:
        return Unreachable(f"{where} takes no login ({said}): check spec.messaging.securityProtocol")
    if code in _LOGIN:
        mechanism = f" with mechanism {server.sasl_mechanism}" if server.sasl_mechanism else ""
        return Unauthorised(f"{where} refuses the login{mechanism} ({said})")
    if code in _RIGHTS:
        return Denied(f"{where} lets us in but gives no right to our topics ({said})")
    if code in _PASSING:
        return Unreachable(f"{where} cannot answer now ({said})")
    way_out = f"; {_WAYS_OUT[code]}" if code in _WAYS_OUT else ""
    return Rejected(f"{where} refuses: {said}{way_out}")


def _words(error: Exception) -> str | None:
    """Return the broker's words; aiokafka puts a connection where there are none."""
    return error.args[0] if error.args and isinstance(error.args[0], str) else None
