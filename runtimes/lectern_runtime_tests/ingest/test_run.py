"""A run of the connector: given this manifest and this source, these messages and that manifest."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from lectern_contract import names
from lectern_contract.errors import DependencyError
from lectern_contract.messages import Deleted, Put
from lectern_contract.names import Topic
from lectern_contract.settings import PartitionRuleSettings
from lectern_runtime.adapters.run_scratch import RunScratch
from lectern_runtime.errors import LogError
from lectern_runtime.ingest import handover
from lectern_runtime.ingest.connector import Fetched, Listed
from lectern_runtime.ingest.connectors.persistent_volume import PersistentVolume
from lectern_runtime.ingest.known import KnownDocuments, entry_of
from lectern_runtime.ingest.manifest import Entry
from lectern_runtime.ingest.outcome import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_SUCCEEDED, exit_status
from lectern_runtime.ports import BlobStore, OutgoingRecord, Position
from lectern_runtime.telemetry.ingest_metrics import ConnectorMetrics
from lectern_runtime_tests.pipeline import Pipeline, clock, connector_settings, pipeline

INTERNAL = PartitionRuleSettings(path_prefix="hr", tenant="acme", access_level="internal")
MANIFEST = names.manifest("ns", "files")


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(tmp_path) as found:
        yield found


def write(pipe: Pipeline, **files: str) -> None:
    for name, text in files.items():
        path = pipe.source / name.replace("__", "/")
        path = path.with_name(path.name + ".md")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def said(pipe: Pipeline, *, since: int = 0) -> list[str]:
    """What the topic was told, in order: `+level:uri` for a put, `-level:uri` for a deletion."""
    told = []
    for envelope in (await pipe.read(Topic.DOCUMENTS))[since:]:
        body = envelope.data
        assert isinstance(body, Put | Deleted)
        sign = "+" if isinstance(body, Put) else "-"
        told.append(f"{sign}{body.document.access_level}:{body.document.uri}")
    return told


async def entries(pipe: Pipeline) -> dict[str, Entry]:
    """What the next run will know."""
    with contextlib.closing(RunScratch.open()) as scratch:
        await KnownDocuments.load(pipe.blobs, connector_settings(pipe.source), scratch, topic_id="")
        return {row.uri: entry for row in scratch.rows(after="", limit=10_000) if (entry := entry_of(row)) is not None}


def counts(report: Any) -> tuple[int, int, int, int]:
    return report.published, report.deleted, report.unchanged, report.failed


async def test_the_first_run_hands_over_everything_and_the_second_nothing(pipe: Pipeline) -> None:
    write(pipe, a="one", b__c="two")
    first = await pipe.sync()
    manifest = await pipe.blobs.read_named(MANIFEST)
    second = await pipe.sync()
    assert (counts(first), counts(second)) == ((2, 0, 0, 0), (0, 0, 2, 0))
    assert await said(pipe) == ["+public:a.md", "+public:b/c.md"]
    assert await pipe.blobs.read_named(MANIFEST) == manifest
    assert first.message == "2 published, 0 deleted, 0 unchanged, 0 failed"


async def test_an_unchanged_document_is_not_even_read(pipe: Pipeline) -> None:
    write(pipe, a="one")
    await pipe.sync()
    read = []

    class Noted(PersistentVolume):
        async def fetch(self, listed: Listed) -> Fetched:
            read.append(listed.uri)
            return await super().fetch(listed)

    source = Noted(pipe.source, max_bytes=1000, clock=lambda: clock() + 3600)
    await pipe.run(connector_settings(pipe.source), clock=clock, source=source)
    assert read == []
    (pipe.source / "a.md").write_text("six")
    await pipe.run(connector_settings(pipe.source), clock=clock, source=source)
    assert read == ["a.md"]


async def test_a_touched_file_with_equal_bytes_is_read_once_and_not_said_again(pipe: Pipeline) -> None:
    write(pipe, a="one")
    await pipe.sync()
    before = await entries(pipe)
    (pipe.source / "a.md").touch()
    assert counts(await pipe.sync()) == (0, 0, 1, 0)
    after = await entries(pipe)
    assert after["a.md"].etag != before["a.md"].etag
    assert after == {"a.md": before["a.md"].model_copy(update={"etag": after["a.md"].etag})}
    assert await said(pipe) == ["+public:a.md"]


async def test_changed_gone_and_moved_files_are_said_as_such(pipe: Pipeline) -> None:
    write(pipe, a="one", b="two", c="three")
    await pipe.sync()
    write(pipe, a="other")
    (pipe.source / "b.md").unlink()
    (pipe.source / "c.md").rename(pipe.source / "d.md")
    assert counts(await pipe.sync()) == (2, 2, 0, 0)
    assert (await said(pipe))[-4:] == ["+public:a.md", "+public:d.md", "-public:b.md", "-public:c.md"]


async def test_keep_remembers_what_is_gone_and_says_nothing(pipe: Pipeline) -> None:
    write(pipe, a="one", b="two")
    await pipe.sync()
    (pipe.source / "b.md").unlink()
    assert counts(await pipe.sync(prune=False)) == (0, 0, 1, 0)
    assert counts(await pipe.sync()) == (0, 1, 1, 0)


async def test_other_readers_mean_a_deletion_first_and_no_second_read(pipe: Pipeline) -> None:
    write(pipe, hr__pay="secret", a="one")
    await pipe.sync()
    report = await pipe.sync(partition_rules=(INTERNAL,))
    assert (counts(report), report.moved) == ((1, 0, 1, 0), 1)
    assert (await said(pipe))[-2:] == ["-public:hr/pay.md", "+internal:hr/pay.md"]
    assert counts(await pipe.sync(partition_rules=(INTERNAL,))) == (0, 0, 2, 0)


async def test_a_document_that_cannot_be_read_leaves_readers_who_may_not_have_it(pipe: Pipeline) -> None:
    write(pipe, hr__pay="secret")
    await pipe.sync()
    write(pipe, hr__pay="x" * 2000)
    report = await pipe.sync(partition_rules=(INTERNAL,), max_document_bytes=1024)
    assert (counts(report), report.failures_by_reason) == ((0, 0, 0, 1), {"TooLarge": 1})
    assert (await said(pipe))[-1] == "-public:hr/pay.md"
    write(pipe, hr__pay="short")
    await pipe.sync(partition_rules=(INTERNAL,), max_document_bytes=1024)
    assert (await said(pipe))[-2:] == ["-public:hr/pay.md", "+internal:hr/pay.md"]


async def test_failed_documents_are_told_kept_and_tried_again(pipe: Pipeline) -> None:
    write(pipe, a="one", big="small yet")
    await pipe.sync()
    write(pipe, big="x" * 2000)
    (pipe.source / "picture.png").write_bytes(b"\x89PNG")
    report = await pipe.sync(max_document_bytes=1024)
    assert counts(report) == (0, 0, 1, 2)
    assert report.failures_by_reason == {"TooLarge": 1, "MediaTypeNotAccepted": 1}
    assert "big.md: TooLarge, it has 2000 bytes, the limit is 1024" in report.message
    assert exit_status(report) == EXIT_SUCCEEDED
    assert counts(await pipe.sync()) == (1, 0, 1, 1)
    (pipe.source / "picture.png").unlink()
    assert counts(await pipe.sync()) == (0, 0, 2, 0)


async def test_changed_metadata_is_said_for_all_without_reading(pipe: Pipeline) -> None:
    write(pipe, a="one", b="two")
    await pipe.sync()
    assert counts(await pipe.sync(metadata={"team": "x"})) == (2, 0, 0, 0)
    assert counts(await pipe.sync(metadata={"team": "x"})) == (0, 0, 2, 0)
    last = (await pipe.read(Topic.DOCUMENTS))[-1].data
    assert isinstance(last, Put)
    assert last.metadata == {"team": "x"}


async def test_excluded_documents_count_as_gone(pipe: Pipeline) -> None:
    write(pipe, a="one", drafts__b="two")
    await pipe.sync()
    assert counts(await pipe.sync(exclude=("drafts/**",))) == (0, 1, 1, 0)


@pytest.mark.parametrize("gone", ["missing", "unmounted"])
async def test_a_source_that_is_not_there_never_means_that_all_was_deleted(pipe: Pipeline, gone: str) -> None:
    write(pipe, a="one")
    await pipe.sync()
    manifest = await pipe.blobs.read_named(MANIFEST)
    shutil.rmtree(pipe.source)
    if gone == "unmounted":
        pipe.source.mkdir()
    report = await pipe.sync()
    assert report.result == "Failed"
    assert report.reason == ("SourceEmpty" if gone == "unmounted" else "SourceUnavailable")
    assert exit_status(report) == EXIT_FAILED
    assert await said(pipe) == ["+public:a.md"]
    assert await pipe.blobs.read_named(MANIFEST) == manifest


async def test_a_source_emptied_on_purpose_is_pruned(pipe: Pipeline) -> None:
    write(pipe, a="one")
    await pipe.sync()
    (pipe.source / "a.md").unlink()
    (pipe.source / ".keep").touch()
    assert counts(await pipe.sync()) == (0, 1, 0, 0)


async def test_an_empty_source_at_the_first_run_is_no_fault(pipe: Pipeline) -> None:
    report = await pipe.sync()
    assert (report.result, counts(report)) == ("Succeeded", (0, 0, 0, 0))


async def test_what_lies_below_a_folder_that_cannot_be_listed_stays(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    write(pipe, a="one", bad__b="two", bad__deep__c="three", badly="four")
    await pipe.sync()
    (pipe.source / "badly.md").unlink()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("/bad"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = await pipe.sync()
    assert (counts(report), report.failures_by_reason) == ((0, 1, 1, 1), {"Unlistable": 1})
    monkeypatch.undo()
    assert counts(await pipe.sync()) == (0, 0, 3, 0)


async def test_a_damaged_manifest_stops_the_run_with_advice(pipe: Pipeline) -> None:
    write(pipe, a="one")
    await pipe.sync()
    for data, words in ((b"{", "is damaged"), (b'{"schema_version": 7}', "a newer Lectern wrote")):
        await pipe.blobs.write_named(MANIFEST, data)
        report = await pipe.sync()
        assert (report.result, exit_status(report)) == ("Failed", EXIT_CONFIGURATION)
        assert words in report.message
        assert await pipe.blobs.read_named(MANIFEST) == data


async def test_an_unknown_access_level_stops_the_run_before_anything_is_said(pipe: Pipeline) -> None:
    write(pipe, a="one")
    rule = PartitionRuleSettings(path_prefix="a", tenant="acme", access_level="nobody")
    report = await pipe.sync(partition_rules=(rule,))
    assert (report.reason, exit_status(report)) == ("ConfigurationInvalid", EXIT_CONFIGURATION)
    assert await said(pipe) == []


async def test_a_topic_made_anew_is_told_everything_again(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    write(pipe, a="one", b="two")
    await pipe.sync()

    async def another(_topic: str) -> str:
        return "another"

    (pipe.source / "b.md").unlink()
    monkeypatch.setattr(pipe.log, "topic_id", another)
    assert counts(await pipe.sync()) == (1, 1, 0, 0)
    assert counts(await pipe.sync()) == (0, 0, 1, 0)


async def test_another_knowledge_base_is_told_everything(pipe: Pipeline) -> None:
    write(pipe, a="one")
    await pipe.sync()
    assert counts(await pipe.sync(knowledge_base="other")) == (1, 0, 0, 0)


async def test_a_path_that_fits_no_message_fails_alone(pipe: Pipeline) -> None:
    write(pipe, a="one")
    deep = pipe.source
    for _ in range(13):
        deep /= "\u20ac" * 80
        deep.mkdir()
    (deep / ("\u20ac" * 80 + ".md")).write_text("deep")
    report = await pipe.sync(metadata={f"f{number}": "x" * 1000 for number in range(4)})
    assert (counts(report), report.failures_by_reason) == ((1, 0, 0, 1), {"MessageTooLarge": 1})
    assert counts(await pipe.sync()) == (2, 0, 0, 0)


class Refusing:
    """A log that takes only so many publications."""

    def __init__(self, log: Any, takes: int) -> None:
        self._log, self._takes = log, takes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def publish(self, topic: str, records: Sequence[OutgoingRecord]) -> Sequence[Position]:
        if records:
            self._takes -= 1
            if self._takes < 0:
                raise LogError("the broker is away")
        found: Sequence[Position] = await self._log.publish(topic, records)
        return found


async def test_a_broken_link_is_no_failure_where_nobody_asks_for_it(pipe: Pipeline) -> None:
    write(pipe, a="one")
    (pipe.source / "tool").symlink_to("nowhere")
    (pipe.source / "b.md").symlink_to("nowhere")
    assert counts(await pipe.sync(include=("**/*.md",), exclude=("b.md",))) == (1, 0, 0, 0)
    assert counts(await pipe.sync(include=("**/*.md",))) == (0, 0, 1, 1)


async def test_the_manifest_calls_nothing_handed_over_before_the_log_has_it(pipe: Pipeline) -> None:
    for number in range(150):
        write(pipe, **{f"f{number:03}": f"text {number}"})
    settings = connector_settings(pipe.source)
    report = await pipe.run(settings, log=Refusing(pipe.log, 1))
    assert (report.result, report.reason) == ("Failed", "DependencyFailed")
    noted = await entries(pipe)
    assert sum(bool(entry.sha256) for entry in noted.values()) == handover.WINDOW_DOCUMENTS
    assert len(await said(pipe)) == handover.WINDOW_DOCUMENTS
    assert counts(await pipe.sync()) == (150 - handover.WINDOW_DOCUMENTS, 0, handover.WINDOW_DOCUMENTS, 0)


class Dead(BaseException):
    """The process was killed here."""


ANEW, SAID = (3, 1, 0, 0), (0, 1, 3, 0)
POINTS = {
    "list": ANEW,
    "read": ANEW,
    "store": ANEW,
    "intend": ANEW,
    "publish-deletions": ANEW,
    "publish-puts": ANEW,
    "part": SAID,
    "index": SAID,
    "forget-journal": (0, 0, 3, 0),
}


def dying_at(point: str) -> Callable[[str], None]:
    def die(name: str) -> None:
        if name == point:
            raise Dead

    return die


@pytest.mark.parametrize(("point", "expected"), POINTS.items())
async def test_a_run_killed_anywhere_is_made_good_by_the_next(
    pipe: Pipeline, point: str, expected: tuple[int, int, int, int]
) -> None:
    write(pipe, a="one", hr__b="two", c="three")
    await pipe.sync()
    write(pipe, a="other", d="four")
    (pipe.source / "c.md").unlink()

    settings = connector_settings(pipe.source, partition_rules=(INTERNAL,))
    with pytest.raises((Dead, BaseExceptionGroup)):
        await pipe.run(settings, clock=clock, failpoint=dying_at(point))
    report = await pipe.sync(partition_rules=(INTERNAL,))
    assert counts(report) == expected
    last: dict[str, str] = {}
    for told in await said(pipe):
        last[told[1:]] = told[0]
    assert last == {
        "public:a.md": "+",
        "public:d.md": "+",
        "public:c.md": "-",
        "public:hr/b.md": "-",
        "internal:hr/b.md": "+",
    }


async def test_a_blob_store_that_is_away_fails_the_run(pipe: Pipeline) -> None:
    write(pipe, a="one")

    class Away:
        def __init__(self, blobs: BlobStore) -> None:
            self._blobs = blobs

        def __getattr__(self, name: str) -> Any:
            return getattr(self._blobs, name)

        async def put(self, _data: bytes) -> str:
            raise DependencyError("the bucket is away", dependency="blob-store")

    blobs: Any = Away(pipe.blobs)
    report = await pipe.run(connector_settings(pipe.source), blobs=blobs)
    assert (report.result, report.message) == ("Failed", "the bucket is away")
    assert counts(await pipe.sync()) == (1, 0, 0, 0)


async def test_progress_and_metrics_say_what_the_report_says(pipe: Pipeline) -> None:
    write(pipe, a="one", b="two")
    registry, seen = CollectorRegistry(), []
    report = await pipe.run(
        connector_settings(pipe.source),
        metrics=ConnectorMetrics(registry),
        on_progress=lambda tally: seen.append(tally.published),
    )
    labels = {"source": "files", "result": "published"}
    assert seen[-1] == report.published == registry.get_sample_value("lectern_connector_documents_total", labels) == 2
    assert registry.get_sample_value("lectern_connector_read_bytes_total", {"source": "files"}) == 6


async def killed(pipe: Pipeline, **changes: Any) -> None:
    """A run that says everything and dies before it writes its manifest."""
    settings = connector_settings(pipe.source, **changes)
    with pytest.raises((Dead, BaseExceptionGroup)):
        await pipe.run(settings, failpoint=dying_at("index"))


async def test_an_edit_taken_back_after_a_killed_run_is_taken_back(pipe: Pipeline) -> None:
    write(pipe, a="one")
    await pipe.sync()
    write(pipe, a="not for anyone")
    await killed(pipe)
    write(pipe, a="one")

    await pipe.sync()
    await pipe.index()

    assert (await pipe.content())["public:a.md"] == ("one",)


async def test_a_file_that_comes_back_after_a_killed_run_is_found_again(pipe: Pipeline) -> None:
    write(pipe, a="one", b="two")
    await pipe.sync()
    (pipe.source / "a.md").rename(pipe.source.parent / "aside")
    await killed(pipe)
    (pipe.source.parent / "aside").rename(pipe.source / "a.md")

    await pipe.sync()
    await pipe.index()

    assert "public:a.md" in await pipe.content()


async def test_a_file_that_only_a_killed_first_run_saw_is_deleted_with_the_file(pipe: Pipeline) -> None:
    write(pipe, a="one", b="two")
    await killed(pipe)
    (pipe.source / "a.md").unlink()

    await pipe.sync()
    await pipe.index()

    assert list(await pipe.content()) == ["public:b.md"]


async def test_a_rule_put_right_after_a_killed_run_leaves_nothing_to_the_wrong_readers(pipe: Pipeline) -> None:
    write(pipe, hr__a="salaries")
    await pipe.sync(partition_rules=(INTERNAL,))
    await killed(pipe)

    await pipe.sync(partition_rules=(INTERNAL,))
    await pipe.index()

    assert list(await pipe.content()) == ["internal:hr/a.md"]
