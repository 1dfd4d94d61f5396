"""Full runs and replays: given this manifest, this source and these dead letters, these messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lectern_contract import messages, names, reports
from lectern_contract.errors import DependencyError, DocumentError
from lectern_contract.messages import DeadLetter, Deleted, Envelope, Put
from lectern_contract.names import Topic
from lectern_contract.reports import RunMode, RunReport
from lectern_contract.settings import PartitionRuleSettings, canonical
from lectern_runtime.adapters.run_scratch import RunScratch
from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.errors import LogError
from lectern_runtime.ingest import __main__ as program
from lectern_runtime.ingest import replay
from lectern_runtime.ingest.known import KnownDocuments
from lectern_runtime.ingest.outcome import Tally
from lectern_runtime.ingest.publish import Publisher
from lectern_runtime.ports import OutgoingRecord, Position
from lectern_runtime_tests.pipeline import Pipeline, clock, connector_settings, pipeline

INTERNAL = PartitionRuleSettings(path_prefix="hr", tenant="acme", access_level="internal")
DEAD = names.topic("ns", "kb", Topic.DEAD_LETTERS)


class Heard:
    """A log that remembers what was said of documents, in order: the topic itself keeps the newest of each."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.documents: list[bytes] = []
        self.takes = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def publish(self, topic: str, records: Sequence[OutgoingRecord]) -> Sequence[Position]:
        if topic.endswith(Topic.DOCUMENTS.value) and not self.takes:
            raise LogError(f"{topic} takes {len(records)} records no more")
        if topic.endswith(Topic.DOCUMENTS.value):
            self.documents += [record.value for record in records]
        found: Sequence[Position] = await self._log.publish(topic, records)
        return found


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(tmp_path) as found:
        found.log = Heard(found.log)
        yield found


def heard(pipe: Pipeline) -> Heard:
    assert isinstance(pipe.log, Heard)
    return pipe.log


def write(pipe: Pipeline, **files: str) -> None:
    for name, text in files.items():
        path = pipe.source / f"{name.replace('__', '/')}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def said(pipe: Pipeline) -> list[Put | Deleted]:
    """What the documents topic was told, in order."""
    bodies = [messages.decode(value).data for value in heard(pipe).documents]
    return [body for body in bodies if isinstance(body, Put | Deleted)]


def named(bodies: Sequence[Put | Deleted]) -> list[str]:
    return [
        f"{'+' if isinstance(body, Put) else '-'}{body.document.access_level}:{body.document.uri}" for body in bodies
    ]


async def give_up(pipe: Pipeline, *bodies: Put | Deleted) -> None:
    """Write a dead letter about each of these messages, as a worker would."""
    for body in bodies:
        letter = DeadLetter(
            message=body, stage="parse", reason="Damaged", attempts=1, origin_partition=0, origin_offset=0
        )
        envelope = Envelope(id="1", source="test", time="2026-11-21T00:00:00Z", data=letter)
        await pipe.log.publish(DEAD, [OutgoingRecord(envelope.key, messages.encode(envelope))])


async def known_documents(pipe: Pipeline) -> KnownDocuments:
    """What a replay knows of the source."""
    settings = connector_settings(pipe.source)
    return await KnownDocuments.load(pipe.blobs, settings, RunScratch.open(), topic_id="")


def counts(report: RunReport) -> tuple[RunMode, str, int, int, int, int]:
    return report.mode, report.result, report.listed, report.published, report.unchanged, report.failed


async def test_a_full_run_says_everything_again_and_leaves_the_manifest_as_it_is(pipe: Pipeline) -> None:
    write(pipe, a="one", b="two")
    await pipe.sync()
    before = await pipe.blobs.read_named(names.manifest("ns", "files"))
    report = await pipe.sync(RunMode.FULL)
    assert counts(report) == (RunMode.FULL, "Succeeded", 2, 2, 0, 0)
    assert named(said(pipe)) == ["+public:a.md", "+public:b.md"] * 2
    assert await pipe.blobs.read_named(names.manifest("ns", "files")) == before
    assert counts(await pipe.sync()) == (RunMode.SYNC, "Succeeded", 2, 0, 2, 0)


async def test_a_full_run_says_what_is_gone_and_what_moved_as_any_run_does(pipe: Pipeline) -> None:
    write(pipe, a="one", b="two", hr__pay="secret")
    await pipe.sync()
    (pipe.source / "b.md").unlink()
    report = await pipe.sync(RunMode.FULL, partition_rules=(INTERNAL,))
    assert (report.published, report.deleted, report.moved) == (2, 1, 1)
    assert named(said(pipe))[3:] == ["-public:hr/pay.md", "+public:a.md", "+internal:hr/pay.md", "-public:b.md"]


async def test_a_full_run_brings_back_bytes_that_the_blob_store_has_lost(pipe: Pipeline, tmp_path: Path) -> None:
    write(pipe, a="one")
    await pipe.sync()
    (body,) = said(pipe)
    assert isinstance(body, Put)
    (tmp_path / "data" / "blobs" / "sha256" / body.sha256[:2] / body.sha256[2:]).unlink()
    assert not await pipe.blobs.exists(body.sha256)
    await pipe.sync(RunMode.FULL)
    assert await pipe.blobs.get(body.sha256) == b"one"


async def test_a_document_that_a_full_run_cannot_read_stays_as_it_was(pipe: Pipeline) -> None:
    write(pipe, a="one", b="two")
    await pipe.sync()
    report = await pipe.sync(RunMode.FULL, max_document_bytes=2)
    assert counts(report) == (RunMode.FULL, "Succeeded", 2, 0, 0, 2)
    assert named(said(pipe)) == ["+public:a.md", "+public:b.md"]
    assert counts(await pipe.sync()) == (RunMode.SYNC, "Succeeded", 2, 0, 2, 0)


async def test_a_dead_letter_is_said_again_once(pipe: Pipeline) -> None:
    write(pipe, a="one", b="two")
    await pipe.sync()
    (a, _) = said(pipe)
    await give_up(pipe, a, a)
    first = await pipe.sync(RunMode.REPLAY)
    second = await pipe.sync(RunMode.REPLAY)
    assert counts(first) == (RunMode.REPLAY, "Succeeded", 2, 1, 1, 0)
    assert first.message == "1 of 2 dead letters handed over again, 1 passed over as out of date or named twice"
    assert counts(second) == (RunMode.REPLAY, "Succeeded", 0, 0, 0, 0)
    assert named(said(pipe)) == ["+public:a.md", "+public:b.md", "+public:a.md"]


async def test_a_new_letter_about_the_same_document_is_replayed_by_the_next_replay(pipe: Pipeline) -> None:
    write(pipe, a="one")
    await pipe.sync()
    (body,) = said(pipe)
    for _ in range(2):
        await give_up(pipe, body)
        assert (await pipe.sync(RunMode.REPLAY)).published == 1


class Broken:
    """A parser that can read nothing."""

    async def parse(self, data: bytes, media_type: str) -> ParsedDocument:
        raise DocumentError(f"{media_type} of {len(data)} bytes", stage="parse", reason="Damaged")


async def test_what_was_given_up_by_the_worker_is_indexed_after_a_replay(pipe: Pipeline) -> None:
    write(pipe, a="words of one document")
    await pipe.sync()
    await pipe.index(parser=Broken())
    assert [letter.reason for letter in await pipe.dead_letters()] == ["Damaged"]
    assert await pipe.content() == {}
    report = await pipe.sync(RunMode.REPLAY)
    await pipe.index()
    assert report.published == 1
    assert await pipe.content() == {"public:a.md": ("words of one document",)}


async def test_a_letter_about_older_bytes_says_nothing(pipe: Pipeline) -> None:
    write(pipe, a="old text")
    await pipe.sync()
    (old,) = said(pipe)
    write(pipe, a="new")
    await pipe.sync()
    await give_up(pipe, old)
    assert counts(await pipe.sync(RunMode.REPLAY)) == (RunMode.REPLAY, "Succeeded", 1, 0, 1, 0)
    assert len(said(pipe)) == 2


async def test_a_letter_brings_no_document_back_that_is_gone_or_for_other_readers(pipe: Pipeline) -> None:
    write(pipe, a="one", hr__pay="secret")
    await pipe.sync()
    letters = said(pipe)
    (pipe.source / "a.md").unlink()
    await pipe.sync(partition_rules=(INTERNAL,))
    before = named(said(pipe))
    await give_up(pipe, *letters)
    assert counts(await pipe.sync(RunMode.REPLAY, partition_rules=(INTERNAL,)))[2:5] == (2, 0, 2)
    assert named(said(pipe)) == before


async def test_a_deletion_that_was_given_up_is_said_again_unless_the_document_is_back(pipe: Pipeline) -> None:
    write(pipe, a="one", b="two")
    await pipe.sync()
    (pipe.source / "a.md").unlink()
    (pipe.source / "b.md").unlink()
    write(pipe, c="three")
    await pipe.sync()
    gone = [body for body in said(pipe) if isinstance(body, Deleted)]
    write(pipe, b="two")
    await pipe.sync()
    await give_up(pipe, *gone)
    assert counts(await pipe.sync(RunMode.REPLAY))[2:5] == (2, 1, 1)
    assert named(said(pipe))[-1] == "-public:a.md"


async def test_letters_of_other_sources_are_left_to_them(pipe: Pipeline) -> None:
    write(pipe, a="one")
    await pipe.sync()
    await pipe.sync(name="other")
    await give_up(pipe, *said(pipe))
    assert counts(await pipe.sync(RunMode.REPLAY))[2:5] == (1, 1, 0)
    assert counts(await pipe.sync(RunMode.REPLAY, name="other"))[2:5] == (1, 1, 0)
    assert [body.document.source for body in said(pipe)] == ["files", "other", "files", "other"]


async def test_a_letter_that_nobody_can_read_is_told_and_passed_over(pipe: Pipeline) -> None:
    write(pipe, a="one")
    await pipe.sync()
    await pipe.log.publish(DEAD, [OutgoingRecord("x", b"\xff not a message")])
    await give_up(pipe, *said(pipe))
    report = await pipe.sync(RunMode.REPLAY)
    assert (report.published, report.message) == (
        1,
        "1 of 1 dead letters handed over again; 1 cannot be read, by whichever source",
    )


async def test_a_replay_stops_at_its_bound_and_the_next_goes_on_behind_it(pipe: Pipeline) -> None:
    write(pipe, a="one", b="two", c="three")
    await pipe.sync()
    await give_up(pipe, *said(pipe))
    settings = connector_settings(pipe.source)
    known = await known_documents(pipe)
    seen = []
    for _ in range(2):
        tally = Tally(RunMode.REPLAY)
        publisher = Publisher(settings, pipe.log, clock=clock, run="r")
        found = await replay.replay(settings, log=pipe.log, publisher=publisher, known=known, tally=tally, most=2)
        seen.append((tally.published, found.left))
    assert seen == [(2, True), (1, False)]


async def test_a_replay_that_fails_forgets_no_letter(pipe: Pipeline) -> None:
    write(pipe, a="one")
    await pipe.sync()
    await give_up(pipe, *said(pipe))
    heard(pipe).takes = False
    failed = await pipe.sync(RunMode.REPLAY)
    heard(pipe).takes = True
    assert (failed.result, failed.mode, failed.published) == ("Failed", RunMode.REPLAY, 0)
    assert (await pipe.sync(RunMode.REPLAY)).published == 1


async def test_a_log_that_has_records_and_gives_none_ends_the_replay(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent:
        async def lag(self) -> int:
            return 1

        async def poll(self, *, max_records: int, timeout_seconds: float) -> Sequence[Any]:
            assert (max_records, timeout_seconds) == (1, replay.POLL_SECONDS)
            return ()

        async def close(self) -> None:
            """Nothing to release."""

    async def silent(topic: str, *, group: str | None) -> Silent:
        assert (topic, group) == (DEAD, "lectern.ns.kb.replay.files")
        return Silent()

    monkeypatch.setattr(pipe.log, "subscribe", silent)
    settings = connector_settings(pipe.source)
    publisher = Publisher(settings, pipe.log, clock=clock, run="r")
    with pytest.raises(DependencyError, match="gave none in 30 s"):
        await replay.replay(
            settings,
            log=pipe.log,
            publisher=publisher,
            known=await known_documents(pipe),
            tally=Tally(RunMode.REPLAY),
        )


@pytest.mark.parametrize("mode", list(RunMode))
def test_the_program_does_what_its_mode_says(mode: RunMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.md").write_text("one")
    (tmp_path / "settings.json").write_text(canonical(connector_settings(tmp_path / "source")))
    log = tmp_path / "termination-log"
    log.touch()
    monkeypatch.setattr(program, "TERMINATION_LOG", log)
    given = ["--settings", str(tmp_path / "settings.json"), "--data-dir", str(tmp_path / "data")]
    assert program.main([*given, "--mode", mode.lower()]) == 0
    assert reports.decode(log.read_bytes()).mode is mode


def test_an_unknown_mode_is_a_wrong_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(["--mode", "half"])
    assert ended.value.code == 2
    assert "invalid choice: 'half'" in capsys.readouterr().err
