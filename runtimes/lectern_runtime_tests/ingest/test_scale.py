"""What a run costs over many documents: memory that does not grow, a table of bounded size, little for nothing new."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lectern_runtime.adapters.directory import DirectoryBlobs
from lectern_runtime.adapters.run_scratch import CACHE_BYTES, RunScratch
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.ingest.run import run
from lectern_runtime_tests.ingest import scale_probe
from lectern_runtime_tests.pipeline import connector_settings

MANY = 100_000
FEW = 10_000
GROWTH_MB = CACHE_BYTES / 2**20 + 40
"""From few documents to many the table's cache fills; beyond that there is the allocator's slack and one part."""
TABLE_BYTES = 500
MANIFEST_BYTES = 80
FILES = 20_000


def probed(keys: int) -> dict[str, Any]:
    command = [sys.executable, "-m", scale_probe.__name__, str(keys)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found: dict[str, Any] = json.loads(
        subprocess.run(command, env=environment, stdout=-1, timeout=900, check=True).stdout
    )
    return found


@pytest.mark.slow
def test_memory_does_not_grow_with_the_documents() -> None:
    few, many = probed(FEW), probed(MANY)
    assert [many[name]["said"] for name in ("first", "unchanged", "few", "tenth")] == [MANY, 0, 10, 9 * MANY // 10 + 1]
    assert many["tenth"]["peak_mb"] - few["tenth"]["peak_mb"] < GROWTH_MB, (few, many)
    assert many["first"]["table_bytes"] < TABLE_BYTES * MANY
    assert many["first"]["manifest_bytes"] < MANIFEST_BYTES * MANY
    assert many["unchanged"]["manifest_bytes"] == many["first"]["manifest_bytes"]


@pytest.mark.slow
async def test_a_pass_over_unchanged_files_costs_a_twentieth_of_the_first(tmp_path: Path) -> None:
    for number in range(FILES):
        path = tmp_path / "source" / f"{number % 100:02}" / f"{number:06}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the text of document {number}")
    log, blobs = await SqliteLog.open(tmp_path / "log.sqlite3"), await DirectoryBlobs.open(tmp_path / "blobs")
    spent = []
    for expected in ((FILES, 0), (0, FILES)):
        began = time.process_time()
        settings = connector_settings(tmp_path / "source")
        report = await run(settings, log=log, blobs=blobs, scratch=RunScratch.open, clock=lambda: time.time() + 3600)
        spent.append(time.process_time() - began)
        assert (report.published, report.unchanged) == expected
    await log.close()
    await blobs.close()
    assert spent[1] <= 0.05 * spent[0], spent
