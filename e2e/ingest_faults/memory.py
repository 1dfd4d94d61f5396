"""A log, a blob store and a store's faults in the memory of one process: a world that takes no time.

The log keeps the contract of `ports.Log` for one process and can be set back, refused and made anew; the store is
Qdrant's own engine, with writes that fail after they were applied or come late.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from lectern_contract.ids import content_digest
from lectern_contract.scope import Scope
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.errors import BlobMissing, LogError, StoreError, TopicUnknown
from lectern_runtime.ports import Consumer, DocumentWrite, OutgoingRecord, Position, Record, WriteResult


@dataclass
class _Topic:
    life: int
    partitions: list[list[Record]]


@dataclass
class MemoryLog:
    """Topics in memory; `refusals` counts the calls that fail next, before or after they did what was asked."""

    topics: dict[str, _Topic] = field(default_factory=dict)
    committed: dict[tuple[str, str], dict[int, int]] = field(default_factory=dict)
    refusals: list[bool] = field(default_factory=list)
    """For each of the next calls that can fail, whether it does what was asked before it fails."""

    async def ensure_topic(self, topic: str, *, partitions: int, compacted: bool) -> None:
        """Make the topic when it is absent."""
        self.topics.setdefault(topic, _Topic(0, [[] for _ in range(partitions)]))

    async def topic_id(self, topic: str) -> str:
        """Identity of this life of the topic."""
        return f"{topic}-{self._found(topic).life}"

    async def publish(self, topic: str, records: Sequence[OutgoingRecord]) -> Sequence[Position]:
        """Append the records; a refused call may have done so all the same."""
        self._refused(lambda: self._append(topic, records))
        return self._append(topic, records)

    async def subscribe(self, topic: str, *, group: str | None) -> Consumer:
        """Read in a group; members do not share partitions, as those do not that do not know of each other yet."""
        assert group is not None, "nothing here reads alone from the end on"
        begin = dict(self.committed.get((topic, group), {}))
        return MemoryConsumer(self, topic, group, begin)

    async def read_from_start(self, topic: str) -> Consumer:
        """Read everything; what is committed goes to a group that nobody else has."""
        return MemoryConsumer(self, topic, f"alone-{id(object())}", {})

    async def lag(self, topic: str, *, group: str) -> int:
        """Records that the group has not committed."""
        committed = self.committed.get((topic, group), {})
        found = self._found(topic).partitions
        return sum(len(records) - min(len(records), committed.get(number, 0)) for number, records in enumerate(found))

    async def close(self) -> None:
        """Keep everything: the log outlives its clients."""

    # --------------------------------------------------------------------------------- for trials

    def rewind(self, topic: str, group: str, by: int) -> None:
        """Set the group back by so many records in each partition."""
        committed = self.committed.setdefault((topic, group), {})
        for number, offset in committed.items():
            committed[number] = max(0, offset - by)

    def renew(self, topic: str) -> None:
        """Delete the topic and make it anew; what groups committed goes with it."""
        old = self._found(topic)
        self.topics[topic] = _Topic(old.life + 1, [[] for _ in old.partitions])
        for place in [each for each in self.committed if each[0] == topic]:
            del self.committed[place]

    def records(self, topic: str) -> list[Record]:
        """Everything in the topic."""
        return [record for part in self._found(topic).partitions for record in part]

    def read(self, topic: str, partition: int, first: int, most: int) -> Sequence[Record]:
        """Records of one partition from `first` on."""
        self._refused(lambda: None)
        return self._found(topic).partitions[partition][first : first + most]

    def commit(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        """Remember offsets, never backwards."""

        def act() -> None:
            committed = self.committed.setdefault((topic, group), {})
            for number, offset in offsets.items():
                committed[number] = max(offset, committed.get(number, 0))

        self._refused(act)
        act()

    def width(self, topic: str) -> int:
        """Number of partitions."""
        return len(self._found(topic).partitions)

    def _append(self, topic: str, records: Sequence[OutgoingRecord]) -> Sequence[Position]:
        partitions = self._found(topic).partitions
        places = []
        for each in records:
            number = crc32(each.key.encode()) % len(partitions)
            place = Position(number, len(partitions[number]))
            partitions[number].append(Record(place, each.key, each.value, 0))
            places.append(place)
        return places

    def _refused(self, act: Callable[[], object]) -> None:
        if self.refusals:
            if self.refusals.pop(0):
                act()
            raise LogError("the broker is away, as the trial asks")

    def _found(self, topic: str) -> _Topic:
        if topic not in self.topics:
            raise TopicUnknown(topic)
        return self.topics[topic]


@dataclass
class MemoryConsumer:
    """A reader of a `MemoryLog`."""

    log: MemoryLog
    topic: str
    group: str
    positions: dict[int, int]
    paused: frozenset[int] = frozenset()

    def pause(self, partitions: Collection[int]) -> None:
        """Give out nothing of these partitions from now on."""
        self.paused = frozenset(partitions)

    def taken_over(self) -> frozenset[int]:
        """None."""
        return frozenset()

    async def poll(self, *, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        """Next records; lets others run where there are none."""
        found: list[Record] = []
        for number in sorted(set(range(self.log.width(self.topic))) - self.paused):
            begin = self.positions.get(number, 0)
            records = self.log.read(self.topic, number, begin, max_records - len(found))
            found += records
            self.positions[number] = begin + len(records)
        await asyncio.sleep(0 if found else min(timeout_seconds, 0.001))
        return found

    async def commit(self, next_offsets: Mapping[int, int]) -> None:
        """Remember offsets, never backwards."""
        self.log.commit(self.topic, self.group, next_offsets)

    async def lag(self) -> int:
        """Records that the group has not committed."""
        return await self.log.lag(self.topic, group=self.group)

    async def close(self) -> None:
        """Leave nothing behind."""


@dataclass
class MemoryBlobs:
    """A `BlobStore` in two dictionaries."""

    bytes_of: dict[str, bytes] = field(default_factory=dict)
    named: dict[str, bytes] = field(default_factory=dict)

    async def put(self, data: bytes) -> str:
        """Keep the bytes under their digest."""
        self.bytes_of[content_digest(data)] = data
        return content_digest(data)

    async def get(self, sha256: str) -> bytes:
        """The bytes; raises BlobMissing."""
        if sha256 not in self.bytes_of:
            raise BlobMissing(sha256)
        return self.bytes_of[sha256]

    async def exists(self, sha256: str) -> bool:
        """Whether the bytes are there."""
        return sha256 in self.bytes_of

    async def write_named(self, name: str, data: bytes) -> None:
        """Replace an object."""
        self.named[name] = data

    async def read_named(self, name: str) -> bytes | None:
        """An object, or None."""
        return self.named.get(name)

    async def list_named(self, prefix: str) -> AsyncIterator[str]:
        """Names that begin with `prefix`."""
        for name in sorted(each for each in self.named if each.startswith(prefix)):
            yield name

    async def delete_named(self, name: str) -> None:
        """Remove an object."""
        self.named.pop(name, None)

    async def close(self) -> None:
        """Keep everything."""


class FaultyStore(EdgeStore):
    """Qdrant's engine in process, whose writes can fail after they were applied, or be held back.

    `failing` counts writes that fail next; the next write waits for `hold` where there is one, and sets `held`.
    """

    failing: int = 0
    hold: asyncio.Event | None = None
    held: asyncio.Event | None = None

    async def write_documents(
        self, collection: str, scope: Scope, writes: Sequence[DocumentWrite]
    ) -> Sequence[WriteResult]:
        """Write, late or with an error where the trial asks for it."""
        if self.hold is not None and self.held is not None:
            hold, held, self.hold, self.held = self.hold, self.held, None, None
            held.set()
            await hold.wait()
        results = await super().write_documents(collection, scope, writes)
        if self.failing:
            self.failing -= 1
            raise StoreError("the store answered an error after it applied the write, as the trial asks")
        return results
