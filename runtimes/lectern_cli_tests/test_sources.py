"""What is told of sources: every figure that is known, and for every other one why nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lectern_cli import sources
from lectern_cli.sources import Extra, Freshness, Run

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RUN = {
    "startedAt": "2026-11-21T11:50:00Z", "finishedAt": "2026-11-21T11:50:40Z", "result": "Succeeded",
    "listed": 25, "published": 3, "unchanged": 21, "failed": 1, "deleted": 2, "message": "a.md: TooLarge",
}  # fmt: skip


def document(name: str = "guides", *, spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    """A source as the API server has it."""
    conditions = [
        {"type": "Ready", "status": "True", "reason": "AllComponentsReady", "message": "it is fine"},
        {"type": "Synced", "status": "True", "reason": "RunSucceeded"},
    ]
    return {
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"knowledgeBaseRef": "docs", "s3": {"bucket": "b"}, **(spec or {})},
        "status": {"conditions": conditions, **status},
    }


KNOWN = document(
    lastRun=RUN,
    documents={"indexed": 24, "failed": 2},
    deadLetter={"count": 2, "since": "2026-11-21T09:00:00Z", "lastReason": "Encrypted"},
)
EXTRA = Extra("2026-11-21T14:00:00Z", 7, Freshness(documents=40, half_within=0.5, most_within=None))


def test_what_is_known_stands_in_one_line() -> None:
    table = sources.render([sources.of(KNOWN, EXTRA)], now=NOW)
    found = dict(zip(sources.HEAD, _cells(table), strict=True))
    assert found == {
        "NAME": "guides", "KIND": "s3", "PHASE": "LeftBehind", "REASON": "AllComponentsReady", "LAST RUN": "10m",
        "TOOK": "40s", "LISTED": "25", "CHANGED": "3", "FAILED": "1", "GONE": "2", "NEXT": "in 2h", "INDEXED": "24",
        "LETTERS": "2", "PENDING": "7", "FRESH": "longer",
    }  # fmt: skip


def _cells(table: str) -> list[str]:
    head, row = table.splitlines()[:2]
    starts = [head.index(name) for name in sources.HEAD]
    return [row[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]


def test_what_is_not_known_is_a_question_mark_with_its_reason_below() -> None:
    silent = Extra(pending="no pod of it runs", freshness="no pod of it runs")
    table = sources.render([sources.of(document(), silent), sources.of(document("wiki"), silent)], now=NOW)
    assert table.splitlines()[1].split() == ["guides", "s3", "NeverRun", "AllComponentsReady", *["?"] * 11]
    assert table.splitlines()[4:] == [
        "? lastRun of guides, wiki: nothing has run yet",
        "? nextRun of guides, wiki: it runs when asked: it has no schedule",
        "? indexed of guides, wiki: the catalogue of the knowledge base has not been counted",
        "? deadLetters of guides, wiki: the catalogue of the knowledge base has not been counted",
        "? pending of guides, wiki: no pod of it runs",
        "? freshness of guides, wiki: no pod of it runs",
    ]


def test_sources_of_several_namespaces_say_which() -> None:
    other = {**document("wiki"), "metadata": {"name": "wiki", "namespace": "other"}}
    lines = sources.render([sources.of(KNOWN, EXTRA), sources.of(other, EXTRA)], now=NOW).splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["NAMESPACE", "NAME"], ["team", "guides"], ["other", "wiki"]]
    assert "? lastRun of other/wiki: nothing has run yet" in lines


def test_the_details_of_one_source_are_sentences() -> None:
    assert sources.details(sources.of(KNOWN, EXTRA), now=NOW).splitlines() == [
        "IngestionSource/guides   s3, LeftBehind",
        "namespace                team",
        "knowledge base           docs",
        "reason                   AllComponentsReady: it is fine",
        "last run                 Succeeded (Sync), 10m ago at 2026-11-21T11:50:00Z, took 40s: 25 listed, 3 changed, "
        "21 unchanged, 1 failed, 2 gone",
        "run says                 a.md: TooLarge",
        "next run                 in 2h",
        "indexed                  24",
        "dead letters             2, the first for 3h, lately Encrypted",
        "pending                  7 of KnowledgeBase/docs, all its sources",
        "freshness                half of 40 documents in the index after <=0.5s, 95 % after longer",
    ]


@pytest.mark.parametrize(
    ("kind", "suspended", "run", "conditions", "expected"),
    [
        ("s3", True, None, {}, "Suspended"),
        ("s3", False, None, {"Stalled": "True"}, "Stalled"),
        ("s3", False, None, {}, "NeverRun"),
        ("s3", False, {"result": "Running"}, {"Synced": "True"}, "Running"),
        ("s3", False, {"result": "Failed"}, {"Stalled": "True"}, "Failed"),
        ("s3", False, {"result": "Succeeded", "failed": 1}, {"Synced": "False"}, "LeftBehind"),
        ("s3", False, {"result": "Succeeded"}, {"Synced": "True"}, "Synced"),
        ("s3", False, {"result": "Succeeded"}, {"Synced": "False"}, "HandedOver"),
        ("push", False, None, {"ReceiverReady": "True"}, "Receiving"),
        ("push", False, None, {"ReceiverReady": "False"}, "NotReceiving"),
        ("push", False, None, {}, "Unknown"),
    ],
)
def test_where_a_source_stands(
    kind: str, suspended: bool, run: dict[str, Any] | None, conditions: dict[str, str], expected: str
) -> None:
    last = None if run is None else Run.model_validate({"startedAt": "2026-11-21T11:50:00Z", **run})
    assert sources.phase(kind, suspended, last, conditions) == expected


def test_it_survives_the_way_over_http_as_it_is() -> None:
    told = [sources.of(KNOWN, EXTRA), sources.of(document("wiki"), Extra())]
    sent = [each.model_dump(mode="json", by_alias=True) for each in told]
    assert sources.SOURCES.validate_python(sent) == told
    assert sent[1]["indexed"] is None
    assert sent[1]["unknown"]["indexed"]
