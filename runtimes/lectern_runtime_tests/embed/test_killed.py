"""Killed at every failpoint while a source changes, the pipeline ends where an undisturbed one does."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from lectern_runtime.failpoints import FAILPOINTS
from lectern_runtime_tests.embed.victim import KILLED
from lectern_runtime_tests.pipeline import pipeline

CONNECTOR_POINTS = ("read", "store", "publish-puts", "publish-deletions", "index", "forget-journal")
WORKER_POINTS = tuple(name for name in FAILPOINTS if name != "withdraw-late")  # one worker is never overtaken


def change(source: Path, chance: random.Random) -> None:
    """Write, edit, move and remove some files, one of them no text at all."""
    names = [f"d{number}.md" for number in range(8)]
    for name in chance.sample(names, 5):
        paragraphs = [f"Paragraph {chance.randrange(30)} of a text that says this." for _ in range(12)]
        (source / name).write_text(f"# {name}\n\n" + "\n\n".join(paragraphs))
    for name in chance.sample(names, 2):
        (source / name).unlink(missing_ok=True)
    (source / "poison.md").write_bytes(chance.randbytes(64) + b"\x00\x01\x02")


def die(root: Path, source: Path, point: str, nth: int) -> int:
    command = [sys.executable, "-m", "lectern_runtime_tests.embed.victim", str(root), str(source), point, str(nth)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env=environment, timeout=120).returncode


@pytest.mark.slow
async def test_killed_at_every_failpoint_it_ends_where_an_undisturbed_one_does(tmp_path: Path) -> None:
    chance = random.Random(5)
    source = tmp_path / "source"
    source.mkdir()
    change(source, chance)
    (source / "gone.md").write_text("first")
    assert die(tmp_path / "killed", source, "never", 1) == 0
    died = []
    for point in (*CONNECTOR_POINTS, *WORKER_POINTS):
        change(source, chance)
        (source / "gone.md").unlink()
        status = die(tmp_path / "killed", source, point, 1 + (point in ("parse", "upsert") and chance.randrange(2)))
        assert status in (0, KILLED)
        died.append(status == KILLED)
        (source / "gone.md").write_text("back")
        if point in CONNECTOR_POINTS:  # so that the file of the next deletion is known to the manifest
            assert die(tmp_path / "killed", source, "never", 1) == 0
    assert all(died), dict(zip((*CONNECTOR_POINTS, *WORKER_POINTS), died, strict=True))
    async with pipeline(tmp_path / "killed", source) as killed, pipeline(tmp_path / "fresh", source) as fresh:
        for pipe in (killed, fresh):
            await pipe.sync(max_document_bytes=4096)
            await pipe.index()
        assert await killed.points() == await fresh.points()
        records, expected = await killed.records(), await fresh.records()
        assert {uri: (each.state, each.chunks, each.sha256) for uri, each in records.items() if uri in expected} == {
            uri: (each.state, each.chunks, each.sha256) for uri, each in expected.items()
        }
        assert {each.state for uri, each in records.items() if uri not in expected} <= {"Deleted"}
        embedded = len(killed.embedder.embedded)
        await killed.sync(max_document_bytes=4096)
        await killed.index()
        assert len(killed.embedder.embedded) == embedded
