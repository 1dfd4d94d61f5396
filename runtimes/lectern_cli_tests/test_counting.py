"""Documents by source: whatever partition they lie in, each once, and nothing beyond the bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from lectern_cli import counting
from lectern_cli_tests import laptop
from lectern_cli_tests.test_failures import record
from lectern_contract import wiring
from lectern_contract.ids import DocumentId
from lectern_contract.payload import DocumentRecord, DocumentState
from lectern_contract.resources import IngestionSource, KnowledgeBase, parse
from lectern_contract.scope import Partition, Scope
from lectern_runtime.ports import VectorStore

PUBLIC, STAFF = Partition("acme", "public"), Partition("acme", "staff")


class Records:
    """The one call of a store that is used here."""

    def __init__(self, *records: DocumentRecord) -> None:
        self.records = sorted(records, key=lambda each: each.document_id)

    async def list_records(
        self, collection: str, scope: Scope, *, after: DocumentId | None, limit: int
    ) -> Sequence[DocumentRecord]:
        """Return those of the scope."""
        inside = [each for each in self.records if Partition(each.tenant, each.access_level) in scope.partitions]
        return [each for each in inside if after is None or each.document_id > after][:limit]


def other(found: DocumentRecord, **changes: object) -> DocumentRecord:
    """The same record with some fields changed."""
    return found.model_copy(update=changes)


@pytest.mark.parametrize("page", [1, 2, 1000])
async def test_each_source_is_counted_over_all_partitions(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_PAGE", page)
    indexed, failed = DocumentState.INDEXED, DocumentState.FAILED
    records = Records(
        record(1, indexed, PUBLIC),
        record(2, indexed, STAFF),
        record(3, failed, PUBLIC),
        other(record(4, failed, STAFF), version=9, reason="TooLarge: 60 MB"),
        record(5, DocumentState.DELETED, PUBLIC),
        other(record(6, indexed, PUBLIC), source="wiki"),
    )
    found = await counting.count(cast(VectorStore, records), "c", [PUBLIC, STAFF])
    assert found is not None
    assert {name: (each.indexed, each.failed, each.total, each.last_reason) for name, each in found.items()} == {
        "docs": (2, 2, 5, "TooLarge"),
        "wiki": (1, 0, 1, ""),
    }


async def test_a_catalogue_beyond_the_bound_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST_RECORDS", 2)
    records = [record(number, DocumentState.INDEXED, PUBLIC) for number in range(3)]
    assert await counting.count(cast(VectorStore, Records(*records[:2])), "c", [PUBLIC]) is not None
    assert await counting.count(cast(VectorStore, Records(*records)), "c", [PUBLIC]) is None


def test_the_partitions_of_a_source_are_those_of_its_rules_and_of_what_it_restricts() -> None:
    kb = parse(laptop.body("KnowledgeBase", partitioning={"accessLevels": ["public", "staff", "board"]}))
    rules = [{"pathPrefix": "hr", "tenant": "people", "accessLevel": "staff"}]
    partition = {"tenant": "acme", "restrictedAccessLevel": "board"}
    source = parse(laptop.body("IngestionSource", partition=partition, partitionRules=rules))
    assert isinstance(kb, KnowledgeBase)
    assert isinstance(source, IngestionSource)
    settings = wiring.connector_settings(source, kb, source_root="/nowhere")
    assert [(each.tenant, each.access_level) for each in counting.partitions([settings])] == [
        ("acme", "board"),
        ("acme", "public"),
        ("people", "board"),
        ("people", "staff"),
    ]
