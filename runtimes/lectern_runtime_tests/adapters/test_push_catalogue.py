"""The catalogue of a push source: what was noted is found, in order, and a failure leaves nothing half done."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lectern_contract.scope import Partition
from lectern_runtime.adapters import push_catalogue
from lectern_runtime.adapters.push_catalogue import PushCatalogue
from lectern_runtime.ingest.receiver.catalogue import CatalogueFailed, Held

PUBLIC, SECRET = Partition("acme", "public"), Partition("acme", "secret")


def held(uri: str, partition: Partition = PUBLIC, **changes: object) -> Held:
    given = Held(uri, partition, "0" * 64, 5, "text/plain", "Title", {"year": 1, "draft": True, "product": "ä"})
    return replace(given, **changes)  # type: ignore[arg-type]


@pytest.fixture
def catalogue() -> Iterator[PushCatalogue]:
    opened = PushCatalogue.open()
    yield opened
    opened.close()
    opened.close()


def test_what_is_noted_is_found_as_it_was(catalogue: PushCatalogue) -> None:
    rows = [
        held("a"),
        held("a", SECRET, held=False, sure=False, failed=True),
        held("b"),
        held("a", Partition("x", "p")),
    ]
    catalogue.note(rows)
    assert catalogue.find("acme", ["a", "absent", "b"]) == {"a": rows[:2], "b": [rows[2]]}
    assert catalogue.count() == 3


def test_a_later_note_stands_for_the_earlier_one(catalogue: PushCatalogue) -> None:
    catalogue.note([held("a"), held("b")])
    catalogue.note([held("a", title="New")], [("b", PUBLIC), ("a", SECRET)])
    assert catalogue.find("acme", ["a", "b"]) == {"a": [held("a", title="New")]}


def test_a_list_is_in_order_and_within_prefix_tenant_and_levels(catalogue: PushCatalogue) -> None:
    uris = [
        "a",
        "docs",
        "docs/1",
        "docs/2",
        "docs/ä",
        "docs/\U0010ffff",
        "docs/\U0010ffff!",
        "docs0",
        "DOCS/3",
        "%",
        "_",
    ]
    catalogue.note([held(uri) for uri in uris])
    catalogue.note([held("docs/9", SECRET), held("docs/8", held=False), held("docs/7", Partition("rival", "public"))])

    def listed(
        levels: tuple[str, ...] = ("public",), after: str = "", limit: int = 100, prefix: str = "docs/"
    ) -> list[str]:
        return [each.uri for each in catalogue.listed("acme", levels, prefix=prefix, after=after, limit=limit)]

    inside = ["docs/1", "docs/2", "docs/ä", "docs/\U0010ffff", "docs/\U0010ffff!"]
    assert listed() == inside
    assert listed(("public", "secret")) == [*inside[:2], "docs/9", *inside[2:]]
    assert listed(()) == []
    assert listed(limit=2) == inside[:2]
    assert listed(after="docs/2") == inside[2:]
    assert listed(prefix="", limit=1000) == sorted(uris)
    assert listed(prefix="%") == ["%"]


def test_a_change_that_fails_changes_nothing(catalogue: PushCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue.note([held("a")])

    def row(each: Held) -> tuple[object, ...]:
        return (None,) * 11

    monkeypatch.setattr(push_catalogue, "_row", row)
    with pytest.raises(CatalogueFailed, match="TMPDIR"):
        catalogue.note([held("b")], [("a", PUBLIC)])
    assert catalogue.find("acme", ["a"]) == {"a": [held("a")]}


def test_a_catalogue_that_cannot_be_made_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(CatalogueFailed, match="give TMPDIR"):
        PushCatalogue.open()
