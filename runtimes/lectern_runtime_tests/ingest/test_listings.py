"""What a run makes of a listing: of changes, of restricted documents, of names twice, of what comes with the bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lectern_contract import reports
from lectern_contract.messages import Deleted, Put
from lectern_contract.names import Topic
from lectern_contract.reports import RunMode, RunReport
from lectern_contract.settings import PartitionRuleSettings, PartitionSettings
from lectern_runtime.ingest.connector import Fetched, Gone, Listed, Listing, Unlisted
from lectern_runtime_tests.ingest.told import ToldSource, unlisted
from lectern_runtime_tests.pipeline import Pipeline, connector_settings, pipeline

INTERNAL = PartitionRuleSettings(path_prefix="hr", tenant="acme", access_level="internal")


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(tmp_path) as found:
        yield found


@pytest.fixture
def source() -> ToldSource:
    return ToldSource()


@pytest.fixture
def delta() -> ToldSource:
    return ToldSource(deltas=True)


async def sync(pipe: Pipeline, source: ToldSource, mode: RunMode = RunMode.SYNC, **changes: Any) -> RunReport:
    return await pipe.run(connector_settings(pipe.source, **changes), source=source, mode=mode)


def counts(report: RunReport) -> tuple[int, int, int, int]:
    return report.published, report.deleted, report.unchanged, report.failed


async def bodies(pipe: Pipeline) -> list[Put | Deleted]:
    return [each.data for each in await pipe.read(Topic.DOCUMENTS) if isinstance(each.data, Put | Deleted)]


async def standing(pipe: Pipeline) -> dict[str, str]:
    """The newest word on every document: `level:uri` to its digest, or `-` when it is gone."""
    found = {}
    for body in await bodies(pipe):
        name = f"{body.document.access_level}:{body.document.uri}"
        found[name] = body.sha256[:4] if isinstance(body, Put) else "-"
    return found


async def here(pipe: Pipeline) -> list[str]:
    return sorted(name for name, said in (await standing(pipe)).items() if said != "-")


# ------------------------------------------------------------------------------------ listings of changes


async def test_of_changes_only_what_is_named_is_said_and_the_rest_stays(pipe: Pipeline, delta: ToldSource) -> None:
    for uri in ("a.md", "b.md", "c.md"):
        delta.write(uri, uri)
    first = await sync(pipe, delta)
    delta.write("a.md", "other")
    delta.remove("c.md")
    second = await sync(pipe, delta)
    third = await sync(pipe, delta)
    assert [counts(each) for each in (first, second, third)] == [(3, 0, 0, 0), (1, 1, 0, 0), (0, 0, 0, 0)]
    assert [each.documents for each in (first, second, third)] == [3, 2, 2]
    assert delta.asked == ["", "3", "5"]
    assert await here(pipe) == ["public:a.md", "public:b.md"]


async def test_a_pass_over_no_changes_writes_nothing(pipe: Pipeline, delta: ToldSource, tmp_path: Path) -> None:
    delta.write("a.md", "one")
    await sync(pipe, delta)
    before = files(tmp_path / "data" / "blobs")
    await sync(pipe, delta)
    assert files(tmp_path / "data" / "blobs") == before


def files(root: Path) -> dict[str, tuple[int, int]]:
    return {str(each): (each.stat().st_mtime_ns, each.stat().st_ino) for each in root.rglob("*") if each.is_file()}


async def test_with_keep_what_the_changes_call_gone_stays(pipe: Pipeline, delta: ToldSource) -> None:
    delta.write("a.md", "one")
    await sync(pipe, delta, prune=False)
    delta.remove("a.md")
    assert counts(await sync(pipe, delta, prune=False)) == (0, 0, 0, 0)
    assert await here(pipe) == ["public:a.md"]


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"metadata": {"team": "x"}}, False),
        ({"partition": PartitionSettings(tenant="acme", access_level="internal")}, True),
        ({"partition_rules": (INTERNAL,)}, False),
        ({"include": ("**/*.md",)}, False),
        ({"prune": False}, False),
        ({"media_types": ("text/markdown",)}, False),
        ({"max_document_bytes": 4096}, False),
        ({"restricted_access_level": "internal"}, False),
    ],
)
async def test_other_settings_ask_for_everything_once(
    pipe: Pipeline, delta: ToldSource, changes: dict[str, Any], moved: bool
) -> None:
    delta.write("a.md", "one")
    await sync(pipe, delta)
    report = await sync(pipe, delta, **changes)
    assert report.moved == moved
    await sync(pipe, delta, **changes)
    assert delta.asked == ["", "", "1"]


async def test_a_full_run_asks_for_everything(pipe: Pipeline, delta: ToldSource) -> None:
    delta.write("a.md", "one")
    await sync(pipe, delta)
    assert counts(await sync(pipe, delta, RunMode.FULL)) == (1, 0, 0, 0)
    assert delta.asked == ["", ""]


async def test_a_document_that_failed_is_tried_again_though_no_change_names_it(
    pipe: Pipeline, delta: ToldSource
) -> None:
    delta.write("a.md", "one", broken=True)
    delta.write("b.md", "two")
    assert counts(await sync(pipe, delta)) == (1, 0, 0, 1)
    assert counts(await sync(pipe, delta)) == (0, 0, 0, 1)
    delta.documents["a.md"].broken = False
    assert counts(await sync(pipe, delta)) == (1, 0, 0, 0)
    assert counts(await sync(pipe, delta)) == (0, 0, 0, 0)
    assert delta.read == ["a.md", "b.md", "a.md", "a.md"]


async def test_a_document_that_failed_and_is_gone_is_not_tried_again(pipe: Pipeline, delta: ToldSource) -> None:
    delta.write("a.md", "one", broken=True)
    await sync(pipe, delta)
    delta.remove("a.md")
    assert counts(await sync(pipe, delta)) == (0, 0, 0, 0)
    assert counts(await sync(pipe, delta)) == (0, 0, 0, 0)
    assert delta.read == ["a.md"]


@pytest.mark.parametrize("prune", [True, False])
async def test_with_and_without_prune_a_document_that_failed_and_is_gone_is_forgotten(
    pipe: Pipeline, delta: ToldSource, prune: bool
) -> None:
    delta.write("a.md", "one")
    await sync(pipe, delta, prune=prune)
    delta.write("a.md", "two", broken=True)
    await sync(pipe, delta, prune=prune)
    delta.remove("a.md")
    assert counts(await sync(pipe, delta, prune=prune)) == (0, prune, 0, 0)
    assert counts(await sync(pipe, delta, prune=prune)) == (0, 0, 0, 0)


async def test_a_document_that_failed_and_is_restricted_now_is_not_tried_for_all(
    pipe: Pipeline, delta: ToldSource
) -> None:
    delta.write("a.md", "one", broken=True)
    await sync(pipe, delta)
    delta.write("a.md", "one", restricted=True)
    await sync(pipe, delta)
    assert counts(await sync(pipe, delta)) == (0, 0, 0, 0)
    assert await here(pipe) == []


async def test_what_could_not_be_listed_among_changes_is_asked_for_again(pipe: Pipeline, delta: ToldSource) -> None:
    delta.write("a.md", "one")
    await sync(pipe, delta)
    delta.write("b.md", "two")
    delta.extra = [unlisted("folder")]
    await sync(pipe, delta)
    delta.extra = []
    await sync(pipe, delta)
    await sync(pipe, delta)
    assert delta.asked == ["", "1", "1", "2"]


async def test_of_changes_that_name_a_document_twice_the_last_word_counts(pipe: Pipeline, delta: ToldSource) -> None:
    delta.write("x.md", "x")
    await sync(pipe, delta)
    for uri in ("gone.md", "back.md"):
        delta.write(uri, uri)
        delta.remove(uri)
    delta.write("back.md", "again")

    class InOrder(ToldSource):
        async def list(self, known: Any) -> Listing:
            listing = await delta.list(known)

            async def items() -> AsyncIterator[Any]:
                for uri in ("gone.md", "back.md"):
                    yield Listed(uri, uri, "e", 1)
                    yield Gone(uri)
                yield Listed("back.md", "back.md", "e", 1)

            return Listing(items(), whole=False, cursor=listing.cursor)

    told = InOrder(deltas=True, documents={**delta.documents})
    told.write("gone.md", "for a moment")
    await sync(pipe, told)
    assert await here(pipe) == ["public:back.md", "public:x.md"]


async def test_a_document_renamed_to_where_nobody_asks_for_it_is_gone(pipe: Pipeline, delta: ToldSource) -> None:
    delta.write("id-1", "one", path="docs/a.md")
    await sync(pipe, delta, exclude=("drafts/**",))
    delta.write("id-1", "one", path="drafts/a.md")
    assert counts(await sync(pipe, delta, exclude=("drafts/**",))) == (0, 1, 0, 0)
    assert await here(pipe) == []


async def test_changes_for_a_request_for_everything_stop_the_run(pipe: Pipeline, delta: ToldSource) -> None:
    class Deaf(ToldSource):
        async def list(self, known: Any) -> Listing:
            return Listing((await super().list(known)).items, whole=False)

    source = Deaf()
    source.write("a.md", "one")
    report = await sync(pipe, source)
    assert (report.result, report.reason) == ("Failed", "SourceUnavailable")
    assert await here(pipe) == []


# ------------------------------------------------------------------------------------- restricted documents


async def test_a_restricted_document_goes_to_the_restricted_level_of_its_tenant(
    pipe: Pipeline, source: ToldSource
) -> None:
    source.write("a.md", "one", restricted=True)
    source.write("b.md", "two")
    report = await sync(pipe, source, restricted_access_level="internal")
    assert (counts(report), await here(pipe)) == ((2, 0, 0, 0), ["internal:a.md", "public:b.md"])


async def test_a_restricted_document_goes_nowhere_when_no_level_is_for_such(pipe: Pipeline, source: ToldSource) -> None:
    source.write("a.md", "one", restricted=True)
    report = await sync(pipe, source)
    assert (counts(report), report.failures_by_reason) == ((0, 0, 0, 1), {"Restricted": 1})
    assert (await here(pipe), source.read) == ([], [])


@pytest.mark.parametrize("broken", [False, True])
async def test_a_document_that_becomes_restricted_leaves_its_readers_at_once(
    pipe: Pipeline, source: ToldSource, broken: bool
) -> None:
    source.write("a.md", "one")
    source.write("b.md", "two")
    await sync(pipe, source)
    source.documents["a.md"].restricted = True
    source.documents["b.md"].etag = "another"
    source.documents["b.md"].broken = broken
    source.broken = broken  # the listing breaks off later: what was seen until then counts
    await sync(pipe, source)
    assert "public:a.md" not in await here(pipe)
    source.broken = False
    report = await sync(pipe, source)
    assert report.failures_by_reason["Restricted"] == 1
    source.documents["a.md"].restricted = False
    await sync(pipe, source)
    assert "public:a.md" in await here(pipe)


async def test_an_unknown_restricted_level_stops_the_run(pipe: Pipeline, source: ToldSource) -> None:
    source.write("a.md", "one")
    report = await sync(pipe, source, restricted_access_level="nobody")
    assert report.reason == "ConfigurationInvalid"
    assert "spec.partition.restrictedAccessLevel 'nobody' is not an access level of" in report.message


# ----------------------------------------------------------------------------- what comes with the bytes


async def test_title_and_media_type_of_the_source_travel_in_the_message(pipe: Pipeline, source: ToldSource) -> None:
    source.write("page", "x", fetched=Fetched(b"x", "text/html; charset=utf-8", "  A \n title\x00 " + "y" * 600))
    source.write("named.txt", "x", fetched=Fetched(b"x", "text/html"))
    source.write("nothing", "x", fetched=Fetched(b"<html>", "application/octet-stream"))
    await sync(pipe, source)
    found = {body.document.uri: body for body in await bodies(pipe) if isinstance(body, Put)}
    assert {uri: body.media_type for uri, body in found.items()} == {
        "page": "text/html",
        "named.txt": "text/plain",
        "nothing": "text/html",
    }
    assert found["page"].title == ("A title " + "y" * 600)[:512]


async def test_another_title_of_equal_bytes_is_said_and_kept_when_metadata_change(
    pipe: Pipeline, source: ToldSource
) -> None:
    source.write("a.md", "x", etag="1", fetched=Fetched(b"x", title="One"))
    await sync(pipe, source)
    source.write("a.md", "x", etag="2", fetched=Fetched(b"x", title="Two"))
    assert counts(await sync(pipe, source)) == (1, 0, 0, 0)
    assert counts(await sync(pipe, source, metadata={"team": "x"})) == (1, 0, 0, 0)
    last = (await bodies(pipe))[-1]
    assert isinstance(last, Put)
    assert (last.title, last.metadata, len(source.read)) == ("Two", {"team": "x"}, 2)


async def test_the_etag_of_the_bytes_replaces_that_of_the_listing(pipe: Pipeline, source: ToldSource) -> None:
    source.write("a.md", "x", etag="", fetched=Fetched(b"x", etag='"v1"'))
    await sync(pipe, source)
    source.documents["a.md"].etag = '"v1"'
    await sync(pipe, source)
    assert source.read == ["a.md"]


# --------------------------------------------------------------------------------------------- odd names


async def test_of_a_name_given_twice_the_first_is_taken_and_that_is_told_once(
    pipe: Pipeline, source: ToldSource
) -> None:
    source.write("a.md", "one")
    source.extra = [Listed("a.md", "hr/a.md", "x", 1)] * 3
    report = await sync(pipe, source, partition_rules=(INTERNAL,))
    assert (counts(report), report.listed, report.failures_by_reason) == ((1, 0, 0, 1), 2, {"ListedTwice": 1})
    assert await here(pipe) == ["public:a.md"]


@pytest.mark.parametrize("uri", ["", "x" * 5000, "half \ud800 pair"])
async def test_a_name_that_no_message_can_hold_fails_alone(pipe: Pipeline, source: ToldSource, uri: str) -> None:
    source.write("a.md", "one")
    source.extra = [Listed(uri, "b.md", "", 1)]
    report = await sync(pipe, source)
    assert (counts(report), report.failures_by_reason) == ((1, 0, 0, 1), {"NameInvalid": 1})


@pytest.mark.parametrize(
    "uri", ["two\nlines.md", "nul\0.md", "\u2028.md", "a" * 2000 + ".md", '"quoted\\.md', "ä\u0308.md"]
)
async def test_a_strange_name_is_remembered_as_it_is(pipe: Pipeline, source: ToldSource, uri: str) -> None:
    source.write(uri, "one")
    await sync(pipe, source)
    assert counts(await sync(pipe, source)) == (0, 0, 1, 0)
    source.write("other.md", "two")
    source.remove(uri)
    assert counts(await sync(pipe, source)) == (1, 1, 0, 0)


async def test_a_report_of_many_failures_still_fits_where_it_has_to(pipe: Pipeline, source: ToldSource) -> None:
    source.write("a.md", "one")
    source.extra = [Unlisted(f"{number}" * 900, f"Reason{number}" * 20, "\ud800" * 900) for number in range(300)]
    report = await sync(pipe, source)
    assert (report.failed, len(report.failures), len(report.failures_by_reason)) == (300, 8, 32)
    assert len(reports.encode(report)) <= reports.MAX_REPORT_BYTES
    assert reports.decode(reports.encode(report)).failed == 300


async def test_nothing_below_a_place_that_was_not_listed_is_deleted(pipe: Pipeline, source: ToldSource) -> None:
    for uri in ("a.md", "docs/a.md", "docs/x/b.md", "docs2/c.md"):
        source.write(uri, uri)
    await sync(pipe, source)
    source.documents = {"a.md": source.documents["a.md"]}
    source.extra = [unlisted("docs/")]
    assert counts(await sync(pipe, source)) == (0, 1, 1, 1)
    source.extra = [unlisted("")]
    assert counts(await sync(pipe, source)) == (0, 0, 1, 1)
    assert await here(pipe) == ["public:a.md", "public:docs/a.md", "public:docs/x/b.md"]


async def test_a_listing_that_breaks_off_deletes_nothing_and_keeps_what_was_said(
    pipe: Pipeline, source: ToldSource
) -> None:
    source.write("a.md", "one")
    source.write("b.md", "two")
    await sync(pipe, source)
    source.remove("b.md")
    source.broken = True
    report = await sync(pipe, source)
    assert (report.result, report.reason, report.deleted) == ("Failed", "SourceUnavailable", 0)
    assert await here(pipe) == ["public:a.md", "public:b.md"]


async def test_a_document_that_failed_under_new_settings_is_said_when_it_can_be(
    pipe: Pipeline, source: ToldSource
) -> None:
    source.write("a.md", "x" * 1000)
    await sync(pipe, source)
    long = {f"f{number}": "x" * 1000 for number in range(7)}
    assert counts(await sync(pipe, source, metadata=long)) == (0, 0, 0, 1)
    assert counts(await sync(pipe, source, metadata=long)) == (0, 0, 0, 1)
    assert counts(await sync(pipe, source)) == (1, 0, 0, 0)
