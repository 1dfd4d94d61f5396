"""The catalogue of a push source, in a temporary SQLite file that is gone when the process ends.

SQLite removes the file's name as soon as it is open. It lies in TMPDIR (else /var/tmp, /tmp); memory holds
`CACHE_BYTES` of it. A document costs about 250 bytes there, its uri, its title and its metadata.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lectern_contract.scope import Partition
from lectern_runtime.ingest.receiver.catalogue import CatalogueFailed, Held

CACHE_BYTES = 16 * 1024 * 1024
_COLUMNS = "tenant, uri, access_level, sha256, size, media_type, title, metadata, held, sure, failed"
_SCHEMA = """
CREATE TABLE documents (
    tenant TEXT, uri TEXT, access_level TEXT, sha256 TEXT NOT NULL, size INTEGER NOT NULL, media_type TEXT NOT NULL,
    title TEXT NOT NULL, metadata TEXT NOT NULL, held INTEGER NOT NULL, sure INTEGER NOT NULL, failed INTEGER NOT NULL,
    PRIMARY KEY (tenant, uri, access_level)
) WITHOUT ROWID
"""
_LAST = "\U0010ffff"
_SURROGATES = range(0xD800, 0xE000)


class PushCatalogue:
    """The `Catalogue` of one receiver; usable from any thread, one call at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls) -> PushCatalogue:
        """Make an empty table. Raises `CatalogueFailed`."""
        connection = None
        try:
            # An empty name is a file of SQLite's own; it needs a journal in memory to take back half a change.
            connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            pragmas = (f"cache_size=-{CACHE_BYTES // 1024}", "journal_mode=MEMORY", "synchronous=OFF", "temp_store=1")
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}")
            connection.execute(_SCHEMA)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise _failed(error) from error
        return cls(connection)

    def find(self, tenant: str, uris: Sequence[str]) -> dict[str, list[Held]]:
        """Return what is known of each of these uris."""
        found: dict[str, list[Held]] = {}
        query = f"SELECT {_COLUMNS} FROM documents WHERE tenant = ? AND uri = ? ORDER BY access_level"  # noqa: S608 -- constants
        with self._use() as connection:
            for uri in uris:
                rows = [_held(row) for row in connection.execute(query, (tenant, uri))]
                if rows:
                    found[uri] = rows
        return found

    def note(self, put: Sequence[Held], forget: Sequence[tuple[str, Partition]] = ()) -> None:
        """Forget these documents and put those, all or nothing."""
        insert = f"INSERT OR REPLACE INTO documents ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 -- constants
        places = [(where.tenant, uri, where.access_level) for uri, where in forget]
        with self._use() as connection:
            connection.execute("BEGIN")
            try:
                connection.executemany(
                    "DELETE FROM documents WHERE tenant = ? AND uri = ? AND access_level = ?", places
                )
                connection.executemany(insert, [_row(each) for each in put])
                connection.execute("COMMIT")
            except sqlite3.Error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def listed(self, tenant: str, access_levels: Sequence[str], *, prefix: str, after: str, limit: int) -> list[Held]:
        """Return held documents in order of uri."""
        levels = ", ".join("?" * len(access_levels))
        query = (
            f"SELECT {_COLUMNS} FROM documents WHERE tenant = ? AND uri > ? AND uri >= ? AND (? IS NULL OR uri < ?)"  # noqa: S608 -- constants
            f" AND held = 1 AND access_level IN ({levels}) ORDER BY uri LIMIT ?"
        )
        behind = _behind(prefix)
        values = (tenant, after, prefix, behind, behind, *access_levels, limit)
        with self._use() as connection:
            return [_held(row) for row in connection.execute(query, values)]

    def count(self) -> int:
        """Count the held documents."""
        with self._use() as connection:
            (found,) = connection.execute("SELECT count(*) FROM documents WHERE held = 1").fetchone()
            return int(found)

    def close(self) -> None:
        """Remove everything; a second call does nothing."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise _failed(error) from error


def _behind(prefix: str) -> str | None:
    """The first text, by code point, behind all that begin with `prefix`; None where there is none."""
    bare = prefix.rstrip(_LAST)
    if not bare:
        return None
    following = ord(bare[-1]) + 1
    return bare[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)


_Row = tuple[str, str, str, str, int, str, str, str, int, int, int]


def _row(each: Held) -> _Row:
    metadata = json.dumps(dict(each.metadata), sort_keys=True)
    return (
        *(each.partition.tenant, each.uri, each.partition.access_level),
        *(each.sha256, each.size, each.media_type, each.title, metadata),
        *(each.held, each.sure, each.failed),
    )


def _held(row: _Row) -> Held:
    tenant, uri, access_level, sha256, size, media_type, title, metadata, held, sure, failed = row
    where = Partition(tenant, access_level)
    return Held(uri, where, sha256, size, media_type, title, json.loads(metadata), bool(held), bool(sure), bool(failed))


def _failed(error: sqlite3.Error) -> CatalogueFailed:
    return CatalogueFailed(
        f"the receiver's temporary catalogue failed: {error}; give TMPDIR about 1 kB of room for each document"
    )
