"""The table of `lectern status`: the columns of kubectl, filled from status documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lectern_cli import table

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def resource(kind: str, name: str, **parts: object) -> dict[str, object]:
    return {"kind": kind, "metadata": {"name": name, "creationTimestamp": "2026-11-21T11:55:00Z"}, **parts}


def test_each_kind_has_its_own_table_with_its_printer_columns() -> None:
    ready = {"type": "Ready", "status": "True", "reason": "AllComponentsReady", "message": "fine"}
    documents = [
        resource("RagEndpoint", "docs", spec={}, status={"conditions": [ready], "url": "http://x"}),
        resource(
            "KnowledgeBase",
            "docs",
            spec={"embedding": {"model": "m"}},
            status={"conditions": [ready], "activeGeneration": 2},
        ),
    ]

    lines = table.render(documents, now=NOW).splitlines()

    assert lines[0].split() == ["NAME", "READY", "REASON", "MODEL", "GENERATION", "AGE"]
    assert lines[1].split() == ["knowledgebase.lectern.dev/docs", "True", "AllComponentsReady", "m", "2", "5m"]
    assert lines[3].split() == ["NAME", "READY", "REASON", "URL", "AGE"]
    assert lines[4].split() == ["ragendpoint.lectern.dev/docs", "True", "AllComponentsReady", "http://x", "5m"]


def test_wide_adds_the_message() -> None:
    ready = {"type": "Ready", "status": "False", "reason": "InvalidSpec", "message": "why"}

    assert "why" in table.render([resource("KnowledgeBase", "a", status={"conditions": [ready]})], now=NOW, wide=True)


def test_what_is_not_known_is_an_empty_cell() -> None:
    line = table.render([resource("KnowledgeBase", "a")], now=NOW).splitlines()[1]

    assert line.split() == ["knowledgebase.lectern.dev/a", "5m"]


@pytest.mark.parametrize(
    ("past", "text"),
    [
        (timedelta(seconds=45), "45s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(hours=5), "5h"),
        (timedelta(days=3), "3d"),
        (timedelta(seconds=-5), "0s"),
    ],
)
def test_age_is_in_the_unit_that_a_person_reads(past: timedelta, text: str) -> None:
    assert table.age((NOW - past).isoformat(), NOW) == text
