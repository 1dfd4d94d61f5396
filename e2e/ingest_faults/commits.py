"""Watches what a group commits, partition by partition, and tells how long any of them stood still with work to do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]  # published without types
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]  # as above

from e2e.ingest_faults.base import PARTITIONS, Base, access

PERIOD_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """What was committed and where the log ended, by partition, at a moment of the monotonic clock."""

    moment: float
    committed: Mapping[int, int]
    ends: Mapping[int, int]


@dataclass
class Commits:
    """Samples since the watch began."""

    samples: list[Sample] = field(default_factory=list)

    def stall(self, begin: float, end: float) -> float:
        """Return the longest time in [begin, end] in which a partition had work and nothing was committed in it."""
        chosen = [each for each in self.samples if begin <= each.moment <= end]
        return max((_stall(chosen, partition) for partition in range(PARTITIONS)), default=0.0)


def _stall(samples: list[Sample], partition: int) -> float:
    longest, since, last = 0.0, None, -1
    for each in samples:
        committed, end = each.committed.get(partition, 0), each.ends.get(partition, 0)
        if committed >= end:
            since = None
        elif since is None or committed > last:
            since = each.moment
        else:
            longest = max(longest, each.moment - since)
        last = committed
    return longest


@contextmanager
def watching(base: Base) -> Iterator[Commits]:
    """Sample the group of `base` until the block ends."""
    commits = Commits()
    future = base.world.loop.begin(_watch(base, commits))
    try:
        yield commits
    finally:
        future.cancel()
    if future.done() and not future.cancelled():
        future.result()


async def _watch(base: Base, commits: Commits) -> None:
    places = [TopicPartition(base.topic(), number) for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(**access(base.world), group_id=base.group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(places)  # a member of nothing: it only reads what the group committed
        while True:
            with contextlib.suppress(KafkaError):
                committed = {each.partition: await consumer.committed(each) or 0 for each in places}
                ends = {each.partition: offset for each, offset in (await consumer.end_offsets(places)).items()}
                commits.samples.append(Sample(time.monotonic(), committed, ends))
            await asyncio.sleep(PERIOD_SECONDS)
    finally:
        await consumer.stop()
