"""The table that a run puts aside, on its temporary file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lectern_runtime.adapters.run_scratch import CACHE_BYTES, RunScratch
from lectern_runtime.ingest.scratch import Row, Scratch, ScratchFailed


@pytest.fixture
def scratch() -> Iterator[RunScratch]:
    with closing(RunScratch.open()) as found:
        yield found


def uris(rows: list[Row]) -> list[str]:
    return [row.uri for row in rows]


def test_what_was_loaded_is_found_and_the_last_of_a_uri_counts(scratch: Scratch) -> None:
    scratch.load([Row("a", "1", True), Row("b", "2", False, "r"), Row("c", "3", True)])
    scratch.load([Row("a", "4", False), Row("c", None, True)])
    assert scratch.find(["b", "a", "c", "d"]) == [Row("b", "2", False, "r"), Row("a", "4", False)]
    assert (scratch.count(), scratch.changed) == (2, False)


def test_looking_counts_how_often_a_document_was_named(scratch: Scratch) -> None:
    scratch.load([Row("a", "1", True)])
    assert scratch.look(["a", "new", "a"]) == [
        Row("a", "1", True),
        Row("new", None, False),
        Row("a", "1", True, listed=1),
    ]
    assert [row.listed for row in scratch.look(["new", "a"])] == [1, 2]
    assert not scratch.changed


def test_noting_replaces_the_entry_and_ends_the_retry(scratch: Scratch) -> None:
    scratch.load([Row("a", "1", False, "r"), Row("b", "2", True)])
    changed = []
    for entries in ([("b", "2")], [("a", "9"), ("b", None), ("c", "3")]):
        scratch.note(entries)
        changed.append(scratch.changed)
    assert changed == [False, True]
    assert scratch.rows(after="", limit=9) == [Row("a", "9", True), Row("c", "3", True)]


def test_a_retry_is_remembered_until_it_is_taken_back(scratch: Scratch) -> None:
    scratch.look(["a"])
    scratch.load([Row("b", None, False, "before")])
    scratch.retry([("a", "now")])
    assert scratch.waiting(after="", limit=9) == [Row("b", None, False, "before")]
    assert uris(scratch.rows(after="", limit=9)) == ["a", "b"]
    scratch.retry([("b", None)])
    assert scratch.waiting(after="", limit=9) == []


def test_pages_are_in_the_order_of_code_points_and_go_on_behind_the_last(scratch: Scratch) -> None:
    names = ["a", "a/b", "a0", "B", "\u00e4", "\U0001f600", "\uffff", "x\0y", "x"]
    scratch.load([Row(name, "1", True) for name in names])
    found, after = [], ""
    while page := scratch.rows(after=after, limit=2):
        found += uris(page)
        after = page[-1].uri
    assert found == sorted(names)


@pytest.mark.parametrize(
    ("places", "absent"),
    [
        ([], ["a", "docs", "docs/x", "docs/y/z", "docs2/x"]),
        (["docs"], ["a", "docs2/x"]),
        (["docs/"], ["a", "docs2/x"]),
        (["docs/y"], ["a", "docs", "docs/x", "docs2/x"]),
        (["docs/x", "a"], ["docs", "docs/y/z", "docs2/x"]),
        ([""], []),
        (["/"], []),
    ],
)
def test_absent_is_what_was_not_named_outside_of_what_could_not_be_listed(
    scratch: Scratch, places: list[str], absent: list[str]
) -> None:
    scratch.load([Row(uri, "1", True) for uri in ("a", "docs", "docs/x", "docs/y/z", "docs2/x", "named")])
    scratch.look(["named"])
    scratch.unlisted(places)
    found, after = [], ""
    while page := scratch.absent(after=after, limit=1):
        found += uris(page)
        after = page[-1].uri
    assert found == absent


def open_files() -> list[str]:
    """What this process has open; a descriptor may close meanwhile."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(each.readlink()))
    return found


def test_what_does_not_fit_into_memory_lies_in_a_file_without_a_name() -> None:
    with closing(RunScratch.open()) as scratch:
        scratch.load(Row(f"{number:06}", "x" * 1000, True) for number in range(CACHE_BYTES // 800))
        assert scratch.bytes_used() > CACHE_BYTES
        held = [name for name in open_files() if "etilqs_" in name]
        assert len(held) == 1
        assert held[0].endswith(" (deleted)")
    assert [name for name in open_files() if "etilqs_" in name] == []
    scratch.close()


def test_a_table_that_cannot_be_written_says_what_it_needs(
    scratch: RunScratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def execute(self, *_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(scratch, "_connection", Full())
    with pytest.raises(ScratchFailed, match="database or disk is full; give TMPDIR about 500 bytes of room for each"):
        scratch.find(["a"])
    monkeypatch.undo()
