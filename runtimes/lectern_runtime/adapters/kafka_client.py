"""Connections of aiokafka to one cluster, made fit for a program that runs for months.

aiokafka's own client makes topics by asking for them, keeps the password that it began with, and never looks at the
servers of the settings again once it has heard of brokers. `tame` mends these three in the client of a producer or a
consumer. It also keeps what aiokafka tells to its log only: since when, and why, no broker answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from aiokafka.client import AIOKafkaClient  # type: ignore[import-untyped]  # published without types
from aiokafka.conn import collect_hosts, create_conn  # type: ignore[import-untyped]  # published without types
from aiokafka.errors import BrokerResponseError, KafkaError  # type: ignore[import-untyped]  # published without types

from lectern_runtime.adapters.kafka_access import FAILURES, Access
from lectern_runtime.adapters.kafka_protocol import Cluster, Described, QuietMetadata, read
from lectern_runtime.errors import LogError

REQUEST_SECONDS = 10.0
"""How long a broker may keep silent about one request."""
CONNECT_SECONDS = 15.0
CLOSE_SECONDS = 5.0
METADATA_SECONDS = 30.0
"""How old the picture of the cluster gets: new partitions and topics made anew are seen by then."""
RETRY_MILLISECONDS = 250
LOGGERS = ("aiokafka", "aiokafka.conn", "aiokafka.cluster", "aiokafka.consumer", "aiokafka.producer")
OPTIONS: Mapping[str, Any] = {
    "request_timeout_ms": int(REQUEST_SECONDS * 1000),
    "metadata_max_age_ms": int(METADATA_SECONDS * 1000),
    "retry_backoff_ms": RETRY_MILLISECONDS,
    "client_id": "lectern",
}


def silence_loggers() -> None:
    """Keep aiokafka's loggers at ERROR whatever the program's level is: at DEBUG they write passwords."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


class QuietClient(AIOKafkaClient):  # type: ignore[misc]
    """A client that makes no topics, reads its secrets anew, and finds brokers that moved. Made by `tame`."""

    access: Access
    topics: dict[str, Described]
    _sync_task: asyncio.Task[None] | None
    failing: tuple[float, str] | None
    """Since when (monotonic seconds) and why no broker answers; None while one does."""

    async def bootstrap(self) -> None:
        """Ask the first server of the settings that answers for the cluster; raises what the most telling one said."""
        self._renew()
        self.cluster.update_metadata((await self._first_answer()).plain)
        if self._sync_task is None:
            self._sync_task = asyncio.create_task(self._md_synchronizer())

    async def look(self, topics: tuple[str, ...]) -> Cluster:
        """Ask any broker for the cluster and these topics."""
        node = self.get_random_node()
        if node is not None:
            with contextlib.suppress(*FAILURES):
                return read(await self.send(node, QuietMetadata(topics)))
        return await self._first_answer(topics)

    async def _metadata_update(self, cluster_metadata: Any, topics: Any) -> bool:
        try:
            found = await self.look(tuple(topics or ()))
        except (*FAILURES, LogError) as error:
            since = self.failing[0] if self.failing is not None else time.monotonic()
            self.failing = (since, str(error) if isinstance(error, LogError) else self.access.explained(error))
            cluster_metadata.failed_update(None)
            # aiokafka asks again at once where something waits for the answer.
            await asyncio.sleep(RETRY_MILLISECONDS / 1000)
            return False
        self.failing = None
        self.topics = dict(found.topics)
        if found.brokers == 0:
            return False
        cluster_metadata.update_metadata(found.plain)
        return True

    async def _get_conn(self, node_id: Any, **options: Any) -> Any:
        if not any(key[0] == node_id and each.connected() for key, each in self._conns.items()):
            with contextlib.suppress(LogError):  # a file that is being replaced: the next attempt reads it
                self._renew()
        return await super()._get_conn(node_id, **options)

    def _renew(self) -> None:
        options = self.access.options()
        self._ssl_context = options["ssl_context"]
        self._sasl_plain_username = options.get("sasl_plain_username")
        self._sasl_plain_password = options.get("sasl_plain_password")

    async def _first_answer(self, topics: tuple[str, ...] = ()) -> Cluster:
        self._renew()
        failures: list[BaseException] = []
        for host, port, _ in collect_hosts(self._bootstrap_servers):
            connection = None
            try:
                connection = await create_conn(host, port, **self._connection_options())
                return read(await connection.send(QuietMetadata(topics)))
            except FAILURES as error:
                failures.append(error)
            finally:
                if connection is not None:
                    connection.close()
        # A refused login says more than a server that is away.
        raise min(failures, key=lambda each: not isinstance(each, BrokerResponseError))

    def _connection_options(self) -> dict[str, Any]:
        return {
            "client_id": self._client_id,
            "request_timeout_ms": self._request_timeout_ms,
            "ssl_context": self._ssl_context,
            "security_protocol": self._security_protocol,
            "sasl_mechanism": self._sasl_mechanism,
            "sasl_plain_username": self._sasl_plain_username,
            "sasl_plain_password": self._sasl_plain_password,
        }


def tame(client: Any, access: Access) -> QuietClient:
    """Turn aiokafka's client, before it is started, into a `QuietClient`; whoever holds it goes on holding it."""
    client.__class__ = QuietClient
    client.access, client.topics, client.failing = access, {}, None
    tamed: QuietClient = client
    return tamed


def new_client(access: Access) -> QuietClient:
    """Return a client of its own, not started; raises LogError when a secret cannot be read."""
    return tame(AIOKafkaClient(**access.options(), **OPTIONS), access)


async def stopped(what: Any, client: QuietClient) -> None:
    """Stop a producer or consumer within `3 * CLOSE_SECONDS`, whatever the broker does."""
    stopping = asyncio.ensure_future(what.stop())
    await asyncio.wait({stopping}, timeout=CLOSE_SECONDS)
    if not stopping.done():
        # What it waits for fails when its connections are closed.
        with contextlib.suppress(TimeoutError, *FAILURES):
            await asyncio.wait_for(client.close(), CLOSE_SECONDS)
        await asyncio.wait({stopping}, timeout=CLOSE_SECONDS)
    stopping.cancel()
    with contextlib.suppress(asyncio.CancelledError, KafkaError, OSError):
        await stopping
