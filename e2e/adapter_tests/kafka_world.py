"""What the tests of the Kafka log share: settings for a broker of the testbed, and waiting for its moods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lectern_contract.settings import KafkaLog as KafkaSettings
from lectern_runtime.adapters import kafka_client, kafka_cluster, kafka_consume, kafka_publish
from lectern_runtime.adapters.kafka_log import KafkaLog
from lectern_runtime.errors import LogError
from lectern_runtime.ports import Consumer, Record

BOUND = 60.0
"""Seconds for a log to notice what became of its broker."""


def settings(
    bootstrap: str,
    *,
    protocol: str = "PLAINTEXT",
    mechanism: str | None = None,
    login: tuple[Path, Path] | None = None,
    ca: Path | None = None,
) -> KafkaSettings:
    """Settings of a log on the broker; `login` names the files with user name and password."""
    return KafkaSettings(
        bootstrap_servers=bootstrap,
        security_protocol=protocol,
        sasl_mechanism=mechanism,
        username_file=str(login[0]) if login else None,
        password_file=str(login[1]) if login else None,
        ca_file=str(ca) if ca else None,
    )


def make_impatient(patch: pytest.MonkeyPatch) -> float:
    """Shorten what a log waits for, and return the seconds after which every call has ended."""
    patch.setitem(kafka_client.OPTIONS, "request_timeout_ms", 2_000)
    patch.setattr(kafka_cluster, "ASK_SECONDS", 3.0)
    patch.setattr(kafka_publish, "PUBLISH_SECONDS", 4.0)
    patch.setattr(kafka_consume, "COMMIT_SECONDS", 4.0)
    patch.setattr(kafka_consume, "JOIN_SECONDS", 15.0)
    return 5.0


@asynccontextmanager
async def opened(asked: KafkaSettings) -> AsyncIterator[KafkaLog]:
    """Yield a log and close it."""
    log = KafkaLog(asked)
    try:
        yield log
    finally:
        await log.close()


def polling(consumer: Consumer, found: list[Record]) -> Callable[[], Awaitable[object]]:
    """Return a poll that adds what comes to `found`."""

    async def poll() -> None:
        found.extend(await consumer.poll(max_records=100, timeout_seconds=0.2))

    return poll


async def until_works(call: Callable[[], Awaitable[object]], *, seconds: float = BOUND) -> None:
    """Repeat a call while it says that the log is not available."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await call()
                return
            except LogError:
                await asyncio.sleep(0.1)


async def until_refused(call: Callable[[], Awaitable[object]], *, seconds: float = BOUND) -> str:
    """Repeat a call until it says that the log is not available, and return its words."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await call()
            except LogError as error:
                return str(error)
