"""A process that runs a connector over many listed keys and tells, as JSON, what memory, disk and time that took.

Started by `test_scale.py`: `python -m lectern_runtime_tests.ingest.scale_probe KEYS`. Source, log and the store of
bytes keep nothing, so that what grows is the run's own; the manifest lies in a real directory.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from lectern_contract.ids import content_digest
from lectern_runtime.adapters.directory import DirectoryBlobs
from lectern_runtime.adapters.run_scratch import RunScratch
from lectern_runtime.ingest.connector import Fetched, Known, Listed, Listing
from lectern_runtime.ingest.run import run
from lectern_runtime.ports import OutgoingRecord, Position
from lectern_runtime_tests.pipeline import connector_settings
from lectern_runtime_tests.quick_disk import quick_directory


class ForgetfulBlobs:
    """Named objects in a directory; of bytes only the digest is told."""

    def __init__(self, named: DirectoryBlobs) -> None:
        self._named = named

    def __getattr__(self, name: str) -> Any:
        return getattr(self._named, name)

    async def put(self, data: bytes) -> str:
        return content_digest(data)


class ForgetfulLog:
    """Takes every record and keeps none; counts them."""

    def __init__(self) -> None:
        self.taken = 0

    async def ensure_topic(self, topic: str, *, partitions: int, compacted: bool) -> None:
        del topic, partitions, compacted

    async def topic_id(self, topic: str) -> str:
        return f"id of {topic}"

    async def publish(self, topic: str, records: Sequence[OutgoingRecord]) -> Sequence[Position]:
        del topic
        self.taken += len(records)
        return [Position(0, self.taken)] * len(records)


class ManyKeys:
    """A bucket of `keys` small objects, of which those divisible by `changed` are new since the last listing."""

    def __init__(self, keys: int, changed: int = 0) -> None:
        self._keys = keys
        self._changed = changed

    async def list(self, known: Known) -> Listing:
        del known
        return Listing(self._items())

    async def _items(self) -> AsyncIterator[Listed]:
        for number in range(self._keys):
            new = self._changed and number % self._changed == 0
            uri = f"archive/2026/{number % 1000:03}/document-{number:09}.md"
            yield Listed(uri, uri, f'"{number:032x}{"n" if new else ""}"', 20)

    async def fetch(self, listed: Listed) -> Fetched:
        return Fetched(listed.etag.encode())

    async def close(self) -> None:
        """Nothing is held."""


class Watched(RunScratch):
    """Notes how large the table is when it is given up."""

    bytes = 0

    def close(self) -> None:
        Watched.bytes = self.bytes_used()
        super().close()


async def probe(keys: int, root: Path) -> dict[str, Any]:
    """Four runs: the first, one over nothing new, one over a few changes, one over a tenth of the keys."""
    log: Any = ForgetfulLog()
    blobs: Any = ForgetfulBlobs(await DirectoryBlobs.open(root))
    found: dict[str, Any] = {"keys": keys, "start_mb": _peak_mb()}
    for name, source in (
        ("first", ManyKeys(keys)),
        ("unchanged", ManyKeys(keys)),
        ("few", ManyKeys(keys, keys // 10)),
        ("tenth", ManyKeys(keys // 10)),
    ):
        began, taken = time.perf_counter(), log.taken
        settings = connector_settings(Path("/source"))
        report = await run(settings, log=log, blobs=blobs, scratch=Watched.open, source=source)
        assert report.result == "Succeeded", report.message
        found[name] = {
            "seconds": round(time.perf_counter() - began, 2),
            "said": log.taken - taken,
            "peak_mb": _peak_mb(),
            "table_bytes": Watched.bytes,
            "manifest_bytes": sum(each.stat().st_size for each in (root / "named").rglob("*") if each.is_file()),
        }
    return found


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


if __name__ == "__main__":
    with quick_directory() as directory:
        sys.stdout.write(json.dumps(asyncio.run(probe(int(sys.argv[1]), directory))))
