"""Asks a Kafka cluster what its topics are like, makes them so, and tells how far a consumer group is behind.

Every call is bounded in time, opens connections of its own and closes them. Nothing is raised for what a broker says or
does not say: looks are facts, steps too. A cluster that gave no answer is left alone for a moment, so that a thousand
knowledge bases on a dead one do not wait a thousand times.

aiokafka is loaded when a broker is asked for the first time: an operator without one does not pay for it.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar
from weakref import WeakValueDictionary

from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.broker import BrokerState, Step, Unreachable

if TYPE_CHECKING:
    from lectern_operator.clients.kafka_connection import Session

T = TypeVar("T")
LOOK_SECONDS = 6.0
STEP_SECONDS = 20.0
AT_ONCE = 8
"""Looks at one cluster at the same time."""
QUIET_SECONDS = 2.0
"""How long a cluster that gave no answer is not asked again."""
MAX_QUIET = 256


@dataclass(frozen=True, slots=True)
class BrokerServer:
    """Where a cluster answers and how to be let in; `ca` is PEM text, None for the system's authorities."""

    bootstrap_servers: str
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    ca: str | None = field(default=None, repr=False)


@asynccontextmanager
async def open_brokers(clock: Callable[[], float] = time.monotonic) -> AsyncIterator[Brokers]:
    """Yield the client; it keeps no connection between two calls. `clock` is monotonic, in seconds."""
    # At DEBUG aiokafka writes every request, logins with their passwords included.
    for name in ("aiokafka", "aiokafka.conn"):
        logging.getLogger(name).setLevel(logging.ERROR)
    yield Brokers(clock)


class Brokers:
    """Looks at Kafka clusters and changes their topics."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._quiet: dict[BrokerServer, tuple[float, Unreachable]] = {}

    async def look(self, server: BrokerServer, names: Sequence[str]) -> Fact[BrokerState]:
        """Return the cluster and those of the topics `names` that it has, within `LOOK_SECONDS`."""
        from lectern_operator.clients import kafka_requests

        async def act(session: Session) -> Fact[BrokerState]:
            return await kafka_requests.look(server, session, names)

        return await self._in_session(server, LOOK_SECONDS, act)

    async def perform(self, server: BrokerServer, step: Step) -> Fact[None]:
        """Take `step`, within `STEP_SECONDS`; an Unknown says why it was not taken.

        As a rule the cluster shows a step when this returns. The deletion of a thousand partitions takes it longer.
        """
        from lectern_operator.clients import kafka_requests

        async def act(session: Session) -> Fact[None]:
            done = await kafka_requests.take(server, session, step)
            if isinstance(done, Known):
                await kafka_requests.shown(server, session, step)
            return done

        return await self._in_session(server, STEP_SECONDS, act)

    async def lag(self, server: BrokerServer, topic: str, group: str) -> Fact[int]:
        """Return how many messages of `topic` the consumer group has not committed, the unread beginning included."""
        from lectern_operator.clients import kafka_requests

        async def act(session: Session) -> Fact[int]:
            return await kafka_requests.lag(server, session, topic, group)

        return await self._in_session(server, LOOK_SECONDS, act)

    async def _in_session(
        self, server: BrokerServer, seconds: float, act: Callable[[Session], Awaitable[Fact[T]]]
    ) -> Fact[T]:
        """Run `act` in a session and turn everything that can go wrong into an Unknown."""
        from lectern_operator.clients import kafka_connection

        slots = self._slots.setdefault(server.bootstrap_servers, asyncio.Semaphore(AT_ONCE))
        try:
            async with asyncio.timeout(seconds), slots:
                if (known := self._silence(server)) is not None:
                    return known
                tls = _tls(server)
                if isinstance(tls, Unknown):
                    return tls
                async with kafka_connection.Session(server, tls, seconds) as session:
                    return await act(session)
        except TimeoutError:
            return self._silent(server, Unreachable(f"{server.bootstrap_servers} keeps silent for {seconds:.0f} s"))
        except kafka_connection.FAILURES as error:
            return self._silent(server, kafka_connection.explained(server, error))

    def _silence(self, server: BrokerServer) -> Unreachable | None:
        until, reason = self._quiet.get(server, (0.0, None))
        return reason if self._clock() < until else None

    def _silent(self, server: BrokerServer, reason: Unknown) -> Unknown:
        if isinstance(reason, Unreachable):
            now = self._clock()
            if len(self._quiet) >= MAX_QUIET:
                self._quiet = {each: found for each, found in self._quiet.items() if found[0] > now}
            if len(self._quiet) < MAX_QUIET:
                self._quiet[server] = (now + QUIET_SECONDS, reason)
        return reason


def _tls(server: BrokerServer) -> ssl.SSLContext | Unknown | None:
    """Return how certificates are checked; None without TLS."""
    if server.security_protocol not in ("SSL", "SASL_SSL"):
        return None
    try:
        return ssl.create_default_context(cadata=server.ca or None)
    except (ssl.SSLError, ValueError) as error:
        return Unknown(f"spec.messaging.caSecretRef holds no PEM certificate ({error})")
