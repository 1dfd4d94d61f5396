"""A run that is told to stop ends with a report, and the next goes on where it was."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lectern_contract import reports
from lectern_contract.settings import canonical
from lectern_runtime.ingest import __main__ as program
from lectern_runtime.ingest.connector import Fetched, Listed
from lectern_runtime.ingest.connectors.persistent_volume import PersistentVolume
from lectern_runtime.ingest.outcome import EXIT_FAILED, EXIT_SUCCEEDED, exit_status
from lectern_runtime_tests.ingest.told import ToldSource
from lectern_runtime_tests.pipeline import Pipeline, connector_settings, pipeline

SETTINGS = connector_settings(Path("/source"))


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(tmp_path) as found:
        yield found


async def test_a_run_that_is_stopped_while_it_reads_ends_at_once_and_the_next_goes_on(pipe: Pipeline) -> None:
    stop = asyncio.Event()

    class Stuck(ToldSource):
        async def fetch(self, listed: Listed) -> Fetched:
            if listed.uri == "100.md":
                stop.set()
                await asyncio.Event().wait()
            return await super().fetch(listed)

    stuck, well = Stuck(), ToldSource()
    for number in range(200):
        stuck.write(f"{number:03}.md", f"text {number}")
    well.documents = stuck.documents
    report = await pipe.run(SETTINGS, source=stuck, stop=stop)
    assert (report.result, report.reason, report.published) == ("Failed", "Stopped", 64)
    assert report.message == "the run was told to stop; what it handed over stays, and the next run goes on from there"
    report = await pipe.run(SETTINGS, source=well)
    assert (report.result, report.published, report.unchanged) == ("Succeeded", 200 - 64, 64)
    assert len(well.read) == 200 - 64


async def test_a_run_that_is_stopped_before_it_deletes_deletes_in_the_next(pipe: Pipeline) -> None:
    source, stop = ToldSource(), asyncio.Event()
    source.write("a.md", "one")
    source.write("b.md", "two")
    await pipe.run(SETTINGS, source=source)
    source.remove("b.md")
    report = await pipe.run(SETTINGS, source=source, stop=stop, on_progress=lambda _: stop.set())
    assert (report.reason, report.deleted) == ("Stopped", 0)
    assert (await pipe.run(SETTINGS, source=source)).deleted == 1


def test_the_program_passes_sigterm_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    for number in range(300):
        (tmp_path / "source" / f"{number:03}.md").write_text(str(number))
    (tmp_path / "settings.json").write_text(canonical(connector_settings(tmp_path / "source")))
    log = tmp_path / "termination-log"
    log.touch()
    monkeypatch.setattr(program, "TERMINATION_LOG", log)
    given = ["--settings", str(tmp_path / "settings.json"), "--data-dir", str(tmp_path / "data")]
    fetch = PersistentVolume.fetch

    async def terminated(self: PersistentVolume, listed: Listed) -> Fetched:
        if listed.uri == "150.md":
            os.kill(os.getpid(), signal.SIGTERM)
        return await fetch(self, listed)

    with monkeypatch.context() as patched:
        patched.setattr(PersistentVolume, "fetch", terminated)
        assert program.main(given) == EXIT_FAILED
    report = reports.decode(log.read_bytes())
    assert (report.result, report.reason, exit_status(report)) == ("Failed", "Stopped", EXIT_FAILED)
    assert 0 < report.published < 300
    assert program.main(given) == EXIT_SUCCEEDED
    assert reports.decode(log.read_bytes()).documents == 300
