"""The file behind the embedded log: topics, records, ends and commits in one SQLite database.

`sqlite_log.py` owns one and makes every call in its one thread. Each change is one transaction with
synchronous=FULL, so what a call returned is on the disk.
"""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lectern_contract.errors import DataDirectoryError
from lectern_runtime.errors import LogError, TopicMismatch, TopicUnknown
from lectern_runtime.ports import OutgoingRecord, Position, Record, Standing

MAX_RECORD_BYTES = 1 << 20  # what Kafka takes by default
MAX_PARTITIONS = 1_000
_FORMAT = 1
_BUSY_SECONDS = 2.0
_SCHEMA = """
CREATE TABLE topics (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, id TEXT NOT NULL,
    partitions INTEGER NOT NULL, compacted INTEGER NOT NULL
);
CREATE TABLE ends (
    topic INTEGER NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE records (
    topic INTEGER NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    key TEXT NOT NULL, value BLOB NOT NULL, time_ms INTEGER NOT NULL,
    PRIMARY KEY (topic, partition, offset)
) WITHOUT ROWID;
CREATE TABLE newest (
    topic INTEGER NOT NULL, key TEXT NOT NULL, offset INTEGER NOT NULL,
    PRIMARY KEY (topic, key)
) WITHOUT ROWID;
CREATE TABLE commits (
    topic INTEGER NOT NULL, consumer_group TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (topic, consumer_group, partition)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it was made; `number` is its place in the file."""

    number: int
    name: str
    id: str
    partitions: int
    compacted: bool

    def partition_of(self, key: str) -> int:
        """The partition of a key: BLAKE2b of its UTF-8 bytes, 8 bytes long and big-endian, modulo the partitions.

        Part of the file's format: another hash would let a key's records change places. (CRC-32 puts keys that differ
        in their last digit into one partition of two.)
        """
        digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.partitions


class LogFile:
    """An open database, in use by this process only. Belongs to the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection, *, retained: int) -> None:
        self._connection = connection
        self._retained = retained

    @classmethod
    def open(cls, path: Path, *, retained: int) -> LogFile:
        """Open or make the database; raises DataDirectoryError when it is in use, damaged or of a newer Lectern."""
        connection = None
        try:
            connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
            # Exclusive: a second process is refused now, rather than missing what this one publishes.
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
                connection.execute(f"PRAGMA {pragma}")
            log = cls(connection, retained=retained)
            log._prepare(path)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise DataDirectoryError(f"the log {path} is in use by another process; stop it first") from error
            if isinstance(error, sqlite3.Error):
                raise DataDirectoryError(
                    f"the log {path} cannot be opened: {error}; restore the data directory or choose a new one"
                ) from error
            raise
        return log

    def close(self) -> None:
        """Close the database; its write-ahead log is folded in."""
        self._connection.close()

    # ------------------------------------------------------------------------------------- topics

    def ensure_topic(self, name: str, *, partitions: int, compacted: bool) -> None:
        """Make the topic, or raise TopicMismatch when it exists otherwise."""
        if not 1 <= partitions <= MAX_PARTITIONS:
            raise TopicMismatch(f"topic {name!r} cannot have {partitions} partitions; choose 1 to {MAX_PARTITIONS}")
        with self._change():
            found = self._find(name)
            if found is None:
                self._make_topic(name, partitions, compacted)
            elif (found.partitions, found.compacted) != (partitions, compacted):
                raise TopicMismatch(
                    f"topic {name!r} exists with {found.partitions} partitions and compaction {found.compacted}, not "
                    f"with {partitions} and {compacted}; partitions are fixed for a topic's life"
                )

    def topic(self, name: str) -> Topic:
        """The topic; raises TopicUnknown."""
        found = self._find(name)
        if found is None:
            raise TopicUnknown(name)
        return found

    # ------------------------------------------------------------------------------------ records

    def publish(self, topic: Topic, records: Sequence[OutgoingRecord], *, now_ms: int) -> list[Position]:
        """Append all records in one transaction and drop what they replace or push out."""
        for record in records:
            if len(record.value) > MAX_RECORD_BYTES:
                raise LogError(
                    f"a record for topic {topic.name!r} has {len(record.value)} bytes and the limit is "
                    f"{MAX_RECORD_BYTES}; none of its {len(records)} records was published"
                )
        with self._change():
            ends = self.ends(topic)
            positions = []
            for record in records:
                position = Position(topic.partition_of(record.key), ends[topic.partition_of(record.key)])
                ends[position.partition] += 1
                self._append(topic, position, record, now_ms)
                positions.append(position)
            for partition in sorted({position.partition for position in positions}):
                self._execute(
                    "UPDATE ends SET next = ? WHERE topic = ? AND partition = ?",
                    (ends[partition], topic.number, partition),
                )
                if not topic.compacted:
                    self._execute(
                        "DELETE FROM records WHERE topic = ? AND partition = ? AND offset < ?",
                        (topic.number, partition, ends[partition] - self._retained),
                    )
        return positions

    def read(self, topic: Topic, positions: Mapping[int, int], *, max_records: int, max_bytes: int) -> list[Record]:
        """Records from `positions` (partition to offset) on, partition by partition, until a limit is reached."""
        found: list[Record] = []
        size = 0
        for partition, start in positions.items():
            rows = self._execute(
                "SELECT offset, key, value, time_ms FROM records WHERE topic = ? AND partition = ? AND offset >= ? "
                "ORDER BY offset LIMIT ?",
                (topic.number, partition, start, max_records - len(found)),
            )
            for offset, key, value, time_ms in rows:
                found.append(Record(Position(partition, offset), key, value, time_ms))
                size += len(value)
                if size >= max_bytes:
                    return found
            if len(found) >= max_records:
                break
        return found

    def ends(self, topic: Topic) -> dict[int, int]:
        """The offset of the next record to be published, by partition."""
        return dict(self._execute("SELECT partition, next FROM ends WHERE topic = ?", (topic.number,)))

    def count_from(self, topic: Topic, positions: Mapping[int, int]) -> int:
        """Records that stand at or after `positions`."""
        counts = (
            self._execute(
                "SELECT count(*) FROM records WHERE topic = ? AND partition = ? AND offset >= ?",
                (topic.number, partition, start),
            ).fetchone()
            for partition, start in positions.items()
        )
        return sum(int(count) for (count,) in counts)

    # ------------------------------------------------------------------------------------ commits

    def committed(self, topic: Topic, group: str) -> dict[int, int]:
        """Where the group goes on, by partition; the beginning where it committed nothing."""
        rows = self._execute(
            "SELECT partition, next FROM commits WHERE topic = ? AND consumer_group = ?", (topic.number, group)
        )
        return {**dict.fromkeys(range(topic.partitions), 0), **dict(rows)}

    def commit(self, topic: Topic, group: str, next_offsets: Mapping[int, int]) -> None:
        """Move the group forward in one transaction; what would move it backwards is ignored."""
        ends = self.ends(topic)
        for partition, offset in next_offsets.items():
            if not 0 <= offset <= ends.get(partition, -1):
                raise LogError(
                    f"group {group!r} cannot commit offset {offset} of partition {partition}: topic {topic.name!r} "
                    f"has {topic.partitions} partitions and this one ends at {ends.get(partition, 0)}"
                )
        with self._change():
            self._connection.executemany(
                "INSERT INTO commits VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET next = max(next, excluded.next)",
                [(topic.number, group, partition, offset) for partition, offset in next_offsets.items()],
            )

    def standings(self, topic: Topic, group: str, since_ms: int | None) -> dict[int, Standing]:
        """Where the group stands in each partition, and where the records since that moment begin."""
        where = (topic.number, group)
        rows = self._execute("SELECT partition, next FROM commits WHERE topic = ? AND consumer_group = ?", where)
        committed: dict[int, int] = dict(rows)
        return {
            partition: Standing(
                beginning=self._first(topic, partition, 0, end),
                end=end,
                committed=committed.get(partition),
                since=None if since_ms is None else self._first(topic, partition, since_ms, end),
            )
            for partition, end in sorted(self.ends(topic).items())
        }

    def set_back(self, topic: Topic, group: str, to: Mapping[int, int]) -> None:
        """Move the group backwards in one transaction; what would move it forward is ignored."""
        with self._change():
            self._connection.executemany(
                "UPDATE commits SET next = min(next, ?) WHERE topic = ? AND consumer_group = ? AND partition = ?",
                [(offset, topic.number, group, partition) for partition, offset in to.items()],
            )

    # ------------------------------------------------------------------------------------- inside

    def _first(self, topic: Topic, partition: int, since_ms: int, end: int) -> int:
        """The first record of that moment or later, `end` where there is none."""
        row = self._execute(
            "SELECT coalesce(min(offset), ?) FROM records WHERE topic = ? AND partition = ? AND time_ms >= ?",
            (end, topic.number, partition, since_ms),
        ).fetchone()
        return int(row[0])

    def _prepare(self, path: Path) -> None:
        with self._change():
            (found,) = self._execute("PRAGMA user_version").fetchone()
            if found > _FORMAT:
                raise DataDirectoryError(
                    f"the log {path} has format {found} and this Lectern reads {_FORMAT}; use the newer version"
                )
            if found == 0:
                for statement in _SCHEMA.split(";"):
                    self._execute(statement)
                self._execute(f"PRAGMA user_version = {_FORMAT}")

    def _find(self, name: str) -> Topic | None:
        row = self._execute(
            "SELECT number, name, id, partitions, compacted FROM topics WHERE name = ?", (name,)
        ).fetchone()
        if row is None:
            return None
        number, name, identity, partitions, compacted = row
        return Topic(number, name, identity, partitions, bool(compacted))

    def _make_topic(self, name: str, partitions: int, compacted: bool) -> None:
        number = self._execute(
            "INSERT INTO topics (name, id, partitions, compacted) VALUES (?, ?, ?, ?)",
            (name, uuid.uuid4().hex, partitions, compacted),
        ).lastrowid
        self._connection.executemany(
            "INSERT INTO ends VALUES (?, ?, 0)", [(number, partition) for partition in range(partitions)]
        )

    def _append(self, topic: Topic, position: Position, record: OutgoingRecord, now_ms: int) -> None:
        self._execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)",
            (topic.number, position.partition, position.offset, record.key, record.value, now_ms),
        )
        if not topic.compacted:
            return
        replaced = self._execute(
            "SELECT offset FROM newest WHERE topic = ? AND key = ?", (topic.number, record.key)
        ).fetchone()
        if replaced is not None:
            self._execute(
                "DELETE FROM records WHERE topic = ? AND partition = ? AND offset = ?",
                (topic.number, position.partition, replaced[0]),
            )
        self._execute("INSERT OR REPLACE INTO newest VALUES (?, ?, ?)", (topic.number, record.key, position.offset))

    def _execute(self, statement: str, arguments: tuple[object, ...] = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, arguments)

    @contextmanager
    def _change(self) -> Iterator[None]:
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._execute("ROLLBACK")
            raise
        self._execute("COMMIT")
