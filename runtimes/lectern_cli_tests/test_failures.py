"""Which documents failed: kept up to date, bounded, and read again from the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from lectern_cli import failures
from lectern_cli.failures import MOST_KEPT, Failures
from lectern_cli_tests import laptop
from lectern_contract import wiring
from lectern_contract.ids import DocumentId
from lectern_contract.payload import DocumentRecord, DocumentState
from lectern_contract.resources import IngestionSource, KnowledgeBase, parse
from lectern_contract.scope import Partition, Scope
from lectern_runtime.ports import VectorStore


def record(number: int, state: DocumentState, partition: Partition) -> DocumentRecord:
    uri = f"{number:04}.md"
    return DocumentRecord(
        tenant=partition.tenant,
        access_level=partition.access_level,
        document_id=DocumentId(f"{partition.key}-{number:04}"),
        version=1,
        source="docs",
        uri=uri,
        title="",
        state=state,
        sha256="",
        media_type="",
        chunks=0,
        reason="Empty: it has no text" if state is DocumentState.FAILED else "",
    )


class Records:
    """The one call of a store that is used here."""

    def __init__(self, *records: DocumentRecord) -> None:
        self._records = sorted(records, key=lambda each: each.document_id)

    async def list_records(
        self, collection: str, scope: Scope, *, after: DocumentId | None, limit: int
    ) -> Sequence[DocumentRecord]:
        assert collection == "c"
        found = [each for each in self._records if Partition(each.tenant, each.access_level) in scope.partitions]
        return [each for each in found if after is None or each.document_id > after][:limit]


@pytest.mark.parametrize(
    ("reasons", "count", "sentence"),
    [
        ({}, 0, ""),
        ({"a.md": "Empty"}, 0, ""),
        ({"a.md": "Empty"}, 1, "1 document could not be indexed: a.md (Empty)"),
        ({"b.md": "TooLarge", "a.md": "Empty"}, 2, "2 documents could not be indexed: a.md (Empty), b.md (TooLarge)"),
        ({"a.md": "Empty"}, 9, "9 documents could not be indexed: a.md (Empty), and 8 more"),
        ({}, 3, "3 documents could not be indexed: and 3 more"),
    ],
)
def test_the_sentence_has_the_true_number_and_the_first_names(
    reasons: dict[str, str], count: int, sentence: str
) -> None:
    assert Failures(reasons).sentence(count) == sentence


def test_a_document_that_is_fine_again_is_no_longer_named() -> None:
    kept = Failures()
    kept.failed("a.md", "Empty")
    kept.failed("a.md", "TooLarge")
    kept.failed("b.md", "Empty")
    kept.settled("b.md")
    kept.settled("never.md")

    assert kept.reasons == {"a.md": "TooLarge"}


def test_no_more_are_kept_than_anyone_reads() -> None:
    kept = Failures()
    for number in range(MOST_KEPT + 5):
        kept.failed(f"{number}.md", "Empty")

    assert len(kept.reasons) == MOST_KEPT


def test_partitions_are_those_of_sources_and_their_rules() -> None:
    rule = {"pathPrefix": "hr/", "tenant": "acme", "accessLevel": "internal"}
    kb = parse(laptop.body("KnowledgeBase", partitioning={"accessLevels": ["public", "internal"]}))
    source = parse(laptop.body("IngestionSource", partitionRules=[rule]))
    assert isinstance(kb, KnowledgeBase)
    assert isinstance(source, IngestionSource)

    found = failures.partitions([wiring.connector_settings(source, kb, source_root="/x")] * 2)

    assert found == [Partition("acme", "internal"), Partition("acme", "public")]


async def test_failed_documents_are_read_from_every_page_of_every_partition() -> None:
    first, second = Partition("a", "public"), Partition("b", "public")
    many = [record(number, DocumentState.INDEXED, first) for number in range(1005)]
    bad = [record(2000, DocumentState.FAILED, first), record(7, DocumentState.FAILED, second)]
    store = cast(VectorStore, Records(*many, *bad, record(8, DocumentState.FAILED, Partition("c", "public"))))

    found = await failures.read(store, "c", [first, second])

    assert found.reasons == {"2000.md": "Empty", "0007.md": "Empty"}
