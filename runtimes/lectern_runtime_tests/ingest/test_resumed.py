"""Runs that die, at every place and again and again: the next one that lives ends as if none had died."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lectern_contract import messages, names
from lectern_contract.messages import Deleted, Put
from lectern_contract.names import Topic
from lectern_contract.reports import RunMode, RunReport
from lectern_contract.settings import PartitionRuleSettings
from lectern_runtime.adapters.directory import DirectoryBlobs
from lectern_runtime.adapters.run_scratch import RunScratch
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.ingest import handover, journal, parts, run
from lectern_runtime.ingest.failpoints import FAILPOINTS, no_failpoint
from lectern_runtime.ports import Log
from lectern_runtime_tests.ingest.told import ToldSource
from lectern_runtime_tests.pipeline import connector_settings
from lectern_runtime_tests.quick_disk import quick_directory

RULE = PartitionRuleSettings(path_prefix="hr", tenant="acme", access_level="internal")
Settings = dict[str, Any]


class Dead(BaseException):
    """The process was killed here."""


class Counted:
    """Counts how often a run comes past each failpoint, and dies at the `nth` of `point`."""

    def __init__(self, point: str = "", nth: int = 0) -> None:
        self._point, self._left = point, nth
        self.passed: list[str] = []

    def __call__(self, name: str) -> None:
        self.passed.append(name)
        self._left -= name == self._point
        if name == self._point and self._left == 0:
            raise Dead


@dataclass
class World:
    """One source with a log and a blob store of its own."""

    log: Log
    blobs: DirectoryBlobs
    source: ToldSource

    async def run(self, failpoint: Callable[[str], None] = no_failpoint, **changes: Any) -> RunReport:
        mode = changes.pop("mode", RunMode.SYNC)
        settings = connector_settings(Path("/source"), **changes)
        return await run.run(
            settings,
            log=self.log,
            blobs=self.blobs,
            scratch=RunScratch.open,
            source=self.source,
            mode=mode,
            failpoint=failpoint,
        )

    async def dies(self, failpoint: Counted, **changes: Any) -> bool:
        """Whether the run died, alone or in a group of tasks."""
        try:
            await self.run(failpoint, **changes)
        except (Dead, BaseExceptionGroup):
            return True
        return False

    async def standing(self) -> dict[str, str]:
        """The newest word on every document that was ever put: its digest, or `-`."""
        topic = names.topic("ns", "kb", Topic.DOCUMENTS)
        consumer = await self.log.subscribe(topic, group=str(random.random()))
        found = {}
        while records := await consumer.poll(max_records=500, timeout_seconds=0):
            for record in records:
                body = messages.decode(record.value).data
                assert isinstance(body, Put | Deleted)
                place = f"{body.document.access_level}:{body.document.uri}"
                found[place] = body.sha256 if isinstance(body, Put) else "-"
        await consumer.close()
        return found

    async def here(self) -> dict[str, str]:
        return {place: digest for place, digest in (await self.standing()).items() if digest != "-"}

    async def named(self) -> dict[str, bytes]:
        """The manifest and all beside it, but for what differs from world to world: topic and number of the run."""
        found = {}
        for prefix in ("manifests/", "parts/", "runs/"):
            async for name in self.blobs.list_named(prefix):
                found[name] = await self.blobs.read_named(name) or b""
        index = names.manifest("ns", "files")
        if index in found:
            found[index] = re.sub(rb'"(run|topic_id)":[^,]*', b"", found[index])
        return found


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, parts and pages of a few documents, so that a run comes past each place more than once."""
    monkeypatch.setattr(handover, "WINDOW_DOCUMENTS", 2)
    monkeypatch.setattr(handover, "LOOKED_UP", 3)
    monkeypatch.setattr(handover, "BATCH", 2)
    monkeypatch.setattr(parts, "MEAN_DOCUMENTS", 2)
    monkeypatch.setattr(journal, "MOST_SETTLED", 2)


@asynccontextmanager
async def world(root: Path, *, deltas: bool) -> AsyncIterator[World]:
    await asyncio.to_thread(root.mkdir, parents=True)
    log = await SqliteLog.open(root / "log.sqlite3")
    blobs = await DirectoryBlobs.open(root / "blobs")
    try:
        yield World(log, blobs, ToldSource(deltas=deltas))
    finally:
        await blobs.close()
        await log.close()


async def before(found: World) -> None:
    for uri in ("a.md", "b.md", "c.md", "gone-1.md", "gone-2.md", "gone-3.md", "hr/pay.md", "hr/plan.md", "secret.md"):
        found.source.write(uri, f"text of {uri}")
    await found.run()


def change(source: ToldSource) -> None:
    for uri in ("new-1.md", "new-2.md", "new-3.md", "a.md", "hr/plan.md"):
        source.write(uri, f"new text of {uri}")
    for uri in ("gone-1.md", "gone-2.md", "gone-3.md"):
        source.remove(uri)
    source.write("secret.md", "text of secret.md", restricted=True)
    source.write("bad.md", "not read", broken=True)


AFTER: Settings = {"partition_rules": (RULE,)}


@pytest.mark.parametrize("deltas", [False, True], ids=["whole", "changes"])
@pytest.mark.parametrize("moves", [False, True], ids=["same", "moved"])
async def test_a_run_that_died_anywhere_is_made_good_by_the_next(deltas: bool, moves: bool) -> None:
    changes = AFTER if moves else {}
    with quick_directory() as root:
        async with world(root / "alive", deltas=deltas) as alive:
            await before(alive)
            change(alive.source)
            counted = Counted()
            await alive.run(counted, **changes)
            expected, manifest = await alive.here(), await alive.named()
        assert set(counted.passed) == set(FAILPOINTS)
        for point in FAILPOINTS:
            times = counted.passed.count(point)
            for nth in sorted({1, 2, (times + 1) // 2, times} & set(range(1, times + 1))):
                async with world(root / f"{point}-{nth}", deltas=deltas) as dead:
                    await before(dead)
                    change(dead.source)
                    assert await dead.dies(Counted(point, nth), **changes)
                    await dead.run(**changes)
                    assert (await dead.here(), await dead.named()) == (expected, manifest), (point, nth)


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_changes_between_runs_that_die_the_last_one_leaves_what_the_source_has(seed: int) -> None:
    chance = random.Random(seed)
    uris = [f"{folder}d{number}.md" for folder in ("", "hr/", "docs/") for number in range(4)]
    with quick_directory() as root:
        async with world(root / "dying", deltas=chance.random() < 0.5) as dying:
            settings: Settings = {}
            for _ in range(8):
                for uri in chance.sample(uris, 5):
                    if uri in dying.source.documents and chance.random() < 0.4:
                        dying.source.remove(uri)
                    else:
                        restricted, broken = chance.random() < 0.2, chance.random() < 0.1
                        dying.source.write(uri, str(chance.randrange(4)), restricted=restricted, broken=broken)
                settings = chance.choice([{}, AFTER, {"metadata": {"m": "1"}}, {"restricted_access_level": "internal"}])
                await dying.dies(Counted(chance.choice(FAILPOINTS), chance.randint(1, 4)), **settings)
            for document in dying.source.documents.values():
                document.broken = False
            dying.source.write("last.md", "last")
            assert (await dying.run(**settings)).result == "Succeeded"
            async with world(root / "fresh", deltas=False) as fresh:
                fresh.source.documents = dying.source.documents
                await fresh.run(**settings)
                assert await dying.here() == await fresh.here()
            again = await dying.run(**settings)
            assert (again.published, again.deleted) == (0, 0)
            assert [name async for name in dying.blobs.list_named("runs/")] == []


async def test_what_was_handed_over_for_certain_is_not_read_again(quick: Path) -> None:
    async with world(quick / "world", deltas=False) as found:
        for number in range(20):
            found.source.write(f"{number:02}.md", str(number))
        assert await found.dies(Counted("publish-puts", 6))
        assert len(found.source.read) == 12
        found.source.read.clear()
        report = await found.run()
        assert (report.published, report.unchanged) == (10, 10)
        assert found.source.read == [f"{number:02}.md" for number in range(10, 20)]


async def test_a_run_that_another_one_overtook_leaves_its_manifest_and_the_next_makes_it_good(quick: Path) -> None:
    async with world(quick / "world", deltas=False) as found:
        await before(found)
        change(found.source)

        class Overtaking(ToldSource):
            async def list(self, known: Any) -> Any:
                await found.run()
                return await super().list(known)

        slow = World(found.log, found.blobs, Overtaking(documents=dict(found.source.documents)))
        slow.source.documents.pop("new-1.md")
        report = await slow.run()
        assert (report.result, report.reason) == ("Failed", "DependencyFailed")
        assert "another run of IngestionSource/files ended while this one lasted" in report.message
        expected = await found.here()
        assert (await found.run()).result == "Succeeded"
        assert await found.here() == expected
        assert "public:new-1.md" in expected


async def test_the_journal_is_gone_after_a_run_that_ended(quick: Path) -> None:
    async with world(quick / "world", deltas=False) as found:
        await before(found)
        assert [name async for name in found.blobs.list_named("runs/")] == []


async def test_a_damaged_journal_stops_the_run_with_advice(quick: Path) -> None:
    async with world(quick / "world", deltas=False) as found:
        await before(found)
        await found.blobs.write_named(names.run_journal("ns", "files") + "0000000009-0000000000", b"{")
        report = await found.run()
        assert (report.result, report.reason) == ("Failed", "DataDirectoryUnusable")
        assert "runs/ns.files/0000000009-0000000000 in the blob store is damaged; restore it" in report.message


@pytest.fixture
def quick() -> Any:
    with quick_directory() as path:
        yield path
