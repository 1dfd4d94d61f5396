"""The table that a run of a connector puts aside, in a temporary SQLite file that is gone when the run ends.

SQLite removes the file's name as soon as it is open, so that a killed run leaves nothing. It lies in TMPDIR (else
/var/tmp, /tmp); memory holds `CACHE_BYTES` of it. A document costs about 250 bytes there, and its uri.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from lectern_runtime.ingest.scratch import Row, ScratchFailed

CACHE_BYTES = 16 * 1024 * 1024
_SCHEMA = """
CREATE TABLE documents (
    uri TEXT PRIMARY KEY, entry TEXT, said INTEGER NOT NULL, retry TEXT, listed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE unlisted (place TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_COLUMNS = "uri, entry, said, retry, listed"


class RunScratch:
    """The `Scratch` of one run; usable from any thread, one call at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._changed = False
        self._all_unlisted = False
        self._any_unlisted = False

    @classmethod
    def open(cls) -> RunScratch:
        """Make an empty table. Raises `ScratchFailed`."""
        connection = None
        try:
            # An empty name is a file of SQLite's own; nothing of it is worth a journal or a sync.
            connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            for pragma in (f"cache_size=-{CACHE_BYTES // 1024}", "journal_mode=OFF", "synchronous=OFF", "temp_store=1"):
                connection.execute(f"PRAGMA {pragma}")
            connection.executescript(_SCHEMA)
            connection.execute("BEGIN")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise _failed(error) from error
        return cls(connection)

    @property
    def changed(self) -> bool:
        """Whether any row is another than it was loaded."""
        return self._changed

    def load(self, rows: Iterable[Row]) -> None:
        """Put rows in place of those of the same uri."""
        with self._use() as connection:
            for row in rows:
                if row.entry is None and row.retry is None:
                    connection.execute("DELETE FROM documents WHERE uri = ?", (row.uri,))
                else:
                    connection.execute(
                        "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, 0)",
                        (row.uri, row.entry, row.said, row.retry),
                    )

    def look(self, uris: Sequence[str]) -> list[Row]:
        """Return the rows as they were, and count each as named once more."""
        found = []
        with self._use() as connection:
            for uri in uris:
                row = _one(connection, uri)
                found.append(row or Row(uri, None, False))
                if row is None:
                    connection.execute("INSERT INTO documents VALUES (?, NULL, 0, NULL, 1)", (uri,))
                else:
                    connection.execute("UPDATE documents SET listed = listed + 1 WHERE uri = ?", (uri,))
        return found

    def find(self, uris: Sequence[str]) -> list[Row]:
        """Return the rows that are there."""
        with self._use() as connection:
            return [row for row in (_one(connection, uri) for uri in uris) if row is not None]

    def note(self, entries: Sequence[tuple[str, str | None]]) -> None:
        """Replace the entries of documents that were said."""
        with self._use() as connection:
            for uri, entry in entries:
                row = _one(connection, uri)
                if row is None or (row.entry, row.said, row.retry) != (entry, True, None):
                    self._changed = True
                    connection.execute(
                        "INSERT INTO documents VALUES (?, ?, 1, NULL, 0)"
                        " ON CONFLICT (uri) DO UPDATE SET entry = excluded.entry, said = 1, retry = NULL",
                        (uri, entry),
                    )

    def retry(self, retries: Sequence[tuple[str, str | None]]) -> None:
        """Remember what is needed to try these documents again; None: they need not be."""
        with self._use() as connection:
            for uri, retry in retries:
                changes = connection.execute(
                    "UPDATE documents SET retry = ? WHERE uri = ? AND retry IS NOT ?", (retry, uri, retry)
                )
                self._changed = self._changed or changes.rowcount > 0

    def unlisted(self, places: Sequence[str]) -> None:
        """Remember that these documents, and all below them, could not be listed."""
        with self._use() as connection:
            for place in places:
                self._any_unlisted = True
                self._all_unlisted = self._all_unlisted or not place.strip("/")
                connection.execute("INSERT OR IGNORE INTO unlisted VALUES (?)", (place.rstrip("/"),))

    def absent(self, *, after: str, limit: int) -> list[Row]:
        """Return rows that were not named and lie below no place that was not listed."""
        found: list[Row] = []
        while not self._all_unlisted and len(found) < limit:
            rows = self._select("entry IS NOT NULL AND listed = 0", after, limit)
            if not rows:
                break
            after = rows[-1].uri
            with self._use() as connection:
                found += [row for row in rows if not (self._any_unlisted and _covered(connection, row.uri))]
        return found

    def waiting(self, *, after: str, limit: int) -> list[Row]:
        """Return rows that are to be tried again and were not named."""
        return self._select("retry IS NOT NULL AND listed = 0", after, limit)

    def rows(self, *, after: str, limit: int) -> list[Row]:
        """Return rows that have an entry or are to be tried again."""
        return self._select("(entry IS NOT NULL OR retry IS NOT NULL)", after, limit)

    def count(self) -> int:
        """Count the rows with an entry."""
        with self._use() as connection:
            (found,) = connection.execute("SELECT count(*) FROM documents WHERE entry IS NOT NULL").fetchone()
            return int(found)

    def bytes_used(self) -> int:
        """Size of the table, in bytes, whether in memory or in the file."""
        with self._use() as connection:
            (pages,), (size,) = (
                connection.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "page_size")
            )
            return int(pages) * int(size)

    def close(self) -> None:
        """Remove everything; a second call does nothing."""
        with self._lock:
            self._connection.close()

    def _select(self, condition: str, after: str, limit: int) -> list[Row]:
        query = f"SELECT {_COLUMNS} FROM documents WHERE uri > ? AND {condition} ORDER BY uri LIMIT ?"  # noqa: S608 -- constants
        with self._use() as connection:
            return [_row(each) for each in connection.execute(query, (after, limit))]

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise _failed(error) from error


def _one(connection: sqlite3.Connection, uri: str) -> Row | None:
    found = connection.execute(f"SELECT {_COLUMNS} FROM documents WHERE uri = ?", (uri,)).fetchone()  # noqa: S608 -- constants
    return _row(found) if found else None


def _row(columns: tuple[str, str | None, int, str | None, int]) -> Row:
    uri, entry, said, retry, listed = columns
    return Row(uri, entry, bool(said), retry, listed)


def _covered(connection: sqlite3.Connection, uri: str) -> bool:
    """Whether the uri itself or a folder above it could not be listed."""
    places = [uri, uri.rstrip("/")] + [uri[:place] for place, letter in enumerate(uri) if letter == "/"]
    return any(connection.execute("SELECT 1 FROM unlisted WHERE place = ?", (each,)).fetchone() for each in places)


def _failed(error: sqlite3.Error) -> ScratchFailed:
    return ScratchFailed(
        f"the run's temporary file failed: {error}; give TMPDIR about 500 bytes of room for each document of the source"
    )
