"""Publishes to Kafka: an idempotent producer that waits for all copies, one for each program.

Records of one call go out in one batch for each partition. aiokafka never gives up a batch of an idempotent producer,
so a call whose time is over leaves its batch in place, and a second attempt of the same call comes after it: a retry
duplicates records and never changes their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]  # published without types
from aiokafka.errors import KafkaError, KafkaTimeoutError  # type: ignore[import-untyped]  # published without types
from aiokafka.partitioner import DefaultPartitioner  # type: ignore[import-untyped]  # published without types
from aiokafka.record.default_records import (  # type: ignore[import-untyped]  # published without types
    DefaultRecordBatchBuilder,
)

from lectern_contract.topics import MAX_BATCH_BYTES
from lectern_runtime.adapters import kafka_client
from lectern_runtime.adapters.kafka_access import FAILURES
from lectern_runtime.adapters.kafka_cluster import KafkaCluster
from lectern_runtime.errors import LogError
from lectern_runtime.ports import OutgoingRecord, Position

PUBLISH_SECONDS = 20.0
BATCH_BYTES = 256 << 10
"""What goes out at once for one partition; a larger record goes alone."""
_BATCH_HEADER = 128

_partition_of = DefaultPartitioner()


class KafkaPublisher:
    """The producer of a log, made when something is published first and anew after it failed."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        self._producer: Any = None
        self._client: kafka_client.QuietClient | None = None
        self._starting = asyncio.Lock()

    async def publish(self, topic: str, records: Sequence[OutgoingRecord]) -> list[Position]:
        """Append the records and return their positions once all copies in step have them.

        Raises LogError, before anything is sent when the topic is unknown or a record too large; after that, a
        failure may leave some partitions with their records and others without, and the caller publishes again.
        """
        for record in records:
            _check_size(topic, record)
        if self._client is None or not self._client.cluster.partitions_for_topic(topic):
            await self._cluster.topic(topic)
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                return await self._sent(topic, records)
        except (TimeoutError, KafkaTimeoutError) as error:
            cause = self._client.failing[1] if self._client is not None and self._client.failing else None
            said = cause or self._cluster.access.explained(error)
            raise LogError(f"{len(records)} records for topic {topic!r} may not have arrived: {said}") from error
        except FAILURES as error:
            # After a refused batch the producer's numbers have a gap, and the broker takes nothing more from it.
            await self._discard()
            said = self._cluster.access.explained(error)
            raise LogError(f"{len(records)} records for topic {topic!r} were not taken: {said}") from error

    async def close(self) -> None:
        """Close the connections; what was acknowledged is durable already."""
        await self._discard()

    async def _sent(self, topic: str, records: Sequence[OutgoingRecord]) -> list[Position]:
        producer = await self._started()
        batches = _batches(producer, sorted(await producer.partitions_for(topic)), records)
        waiting = [await producer.send_batch(batch, topic, partition=number) for number, batch, _ in batches]
        positions: dict[int, Position] = {}
        for (number, _, indexes), told in zip(batches, await asyncio.gather(*waiting), strict=True):
            for place, index in enumerate(indexes):
                positions[index] = Position(number, told.offset + place)
        return [positions[index] for index in range(len(records))]

    async def _started(self) -> Any:
        async with self._starting:
            if self._producer is None:
                options = {**self._cluster.access.options(), **kafka_client.OPTIONS}
                producer = AIOKafkaProducer(
                    **options, enable_idempotence=True, max_batch_size=BATCH_BYTES, max_request_size=MAX_BATCH_BYTES
                )
                client = kafka_client.tame(producer.client, self._cluster.access)
                try:
                    await producer.start()
                except BaseException:
                    await kafka_client.stopped(producer, client)
                    raise
                self._producer, self._client = producer, client
            return self._producer

    async def _discard(self) -> None:
        producer, client = self._producer, self._client
        self._producer = self._client = None
        if producer is None or client is None:
            return
        # Its end would wait for batches that nobody waits for any more.
        producer._message_accumulator.fail_all(KafkaError("the producer was closed"))
        with contextlib.suppress(TimeoutError, *FAILURES):
            await asyncio.wait_for(client.close(), kafka_client.CLOSE_SECONDS)
        await kafka_client.stopped(producer, client)


def _batches(
    producer: Any, partitions: Sequence[int], records: Sequence[OutgoingRecord]
) -> list[tuple[int, Any, list[int]]]:
    """Return batches in order: partition, aiokafka's batch, and which of the records are in it."""
    found: list[tuple[int, Any, list[int]]] = []
    open_batches: dict[int, tuple[int, Any, list[int]]] = {}
    now_ms = int(time.time() * 1000)
    for index, record in enumerate(records):
        key = record.key.encode()
        number = _partition_of(key, partitions, partitions)
        batch = open_batches.get(number)
        if batch is None or batch[1].append(timestamp=now_ms, key=key, value=record.value) is None:
            batch = open_batches[number] = (number, producer.create_batch(), [])
            batch[1].append(timestamp=now_ms, key=key, value=record.value)
            found.append(batch)
        batch[2].append(index)
    return found


def _check_size(topic: str, record: OutgoingRecord) -> None:
    size = DefaultRecordBatchBuilder.estimate_size_in_bytes(record.key.encode(), record.value, [])
    if size + _BATCH_HEADER > MAX_BATCH_BYTES:
        raise LogError(
            f"a record for topic {topic!r} has {size} bytes and the log takes {MAX_BATCH_BYTES - _BATCH_HEADER}; "
            "publish a reference to the content instead"
        )
