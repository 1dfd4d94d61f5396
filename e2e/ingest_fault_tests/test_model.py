"""The model folds a log as the design says, and the checker sees every way in which a store can differ from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from e2e.ingest_faults import stub_vectors
from e2e.ingest_faults.checker import Stored, differences
from e2e.ingest_faults.contents import Contents
from e2e.ingest_faults.model import Content, Expected, Said, folded, letters
from e2e.ingest_faults.permuted import ORDERS
from e2e.ingest_faults.traffic import PARTITIONS, Traffic, deleted, put, reference, shares
from lectern_contract import ids
from lectern_contract.collection import FALLBACK_SHARD_KEY
from lectern_contract.messages import Deleted, Put
from lectern_contract.payload import DocumentState
from lectern_runtime_tests.pipeline import worker_settings

DOCUMENT = reference("ns", "kb", "a.txt")
OTHER = reference("ns", "kb", "a.txt", PARTITIONS[3])
TEXT = "amber basin cedar " * 30


def contents() -> Contents:
    given = put(DOCUMENT, TEXT)
    return Contents(worker_settings(), {ids.content_digest(given.data): given.data})


def said(epoch: int, offset: int, body: Any, partition: int = 0) -> Said:
    assert isinstance(body, Put | Deleted)
    return Said(epoch, partition, offset, body)


def expected() -> Expected:
    (found,) = folded([said(0, 7, put(DOCUMENT, TEXT).envelope.data)], contents()).values()
    return found


def stored(wanted: Expected, key: str = "acme/public") -> list[Stored]:
    """What a store holds that is right."""
    document = wanted.document
    common = {"tenant": document.tenant, "access_level": document.access_level, "document_id": document.id}
    record = {
        **common,
        "kind": "record",
        "version": wanted.version,
        "state": wanted.state.value,
        "sha256": wanted.sha256,
        "chunks": len(wanted.pieces),
        "uri": document.uri,
        "source": document.source,
        "title": wanted.title,
        "reason": f"{wanted.fault}: because" if wanted.fault else "",
    }
    chunks = [
        Stored(
            str(chunk),
            key,
            {
                **common,
                "kind": "chunk",
                "version": wanted.version,
                "number": number,
                "text": piece.text,
                "text_digest": ids.text_digest(piece.embedded),
                "start": piece.start,
                "end": piece.end,
                "title": wanted.title,
            },
            [float(each) for each in stub_vectors.vector(piece.embedded)],
        )
        for number, (chunk, piece) in enumerate(zip(wanted.chunk_ids, wanted.pieces, strict=True))
    ]
    return [Stored(str(document.id), key, record, None), *chunks]


def kinds(points: list[Stored], wanted: Expected) -> list[str]:
    return sorted({each.what for each in differences(points, {wanted.document.id: wanted})})


def changed(point: Stored, **fields: Any) -> Stored:
    return replace(point, payload={**point.payload, **fields})


# ------------------------------------------------------------------------------------------- model


@pytest.mark.parametrize("order", ORDERS)
def test_the_last_message_of_the_log_wins_whatever_order_it_is_read_in(order: tuple[str, ...]) -> None:
    bodies = {
        word: deleted(DOCUMENT).envelope.data if word == "delete" else put(DOCUMENT, word).envelope.data
        for word in order
    }
    log = [said(0, offset, bodies[word]) for offset, word in enumerate(order)]
    (found,) = folded(reversed(log), lambda _: Content()).values()
    state = DocumentState.DELETED if order[-1] == "delete" else DocumentState.INDEXED
    assert (found.version, found.state) == (3, state)
    assert folded([*log, *log[:2]], lambda _: Content()) == {DOCUMENT.id: found}


def test_a_new_life_of_the_topic_counts_more_than_any_offset_of_the_old_one() -> None:
    log = [said(0, 900, put(DOCUMENT, TEXT).envelope.data), said(1, 0, deleted(DOCUMENT).envelope.data)]
    (found,) = folded(log, contents()).values()
    assert (found.version, found.state) == (ids.version(1, 0), DocumentState.DELETED)


def test_partitions_of_one_uri_are_two_documents() -> None:
    log = [said(0, 0, put(DOCUMENT, TEXT).envelope.data), said(0, 1, deleted(OTHER).envelope.data, partition=1)]
    assert {each.state for each in folded(log, contents()).values()} == {DocumentState.INDEXED, DocumentState.DELETED}


def test_only_the_last_failing_message_must_have_its_dead_letter() -> None:
    bad, good = put(DOCUMENT, TEXT, media_type="image/png").envelope.data, put(DOCUMENT, TEXT).envelope.data
    overtaken = letters([said(0, 0, bad), said(0, 1, good)], contents())
    assert overtaken.required == frozenset()
    assert overtaken.allowed == {(DOCUMENT.id, 0)}
    final = letters([said(0, 0, good), said(0, 1, bad)], contents())
    assert final.required == final.allowed == {(DOCUMENT.id, 1)}


def test_a_document_fails_as_its_text_asks_for() -> None:
    refused, empty = put(DOCUMENT, f"amber {stub_vectors.REFUSED}"), put(DOCUMENT, " . ")
    truth = Contents(worker_settings(), {ids.content_digest(each.data): each.data for each in (refused, empty)})
    faults = [truth(each.envelope.data).fault for each in (refused, empty) if isinstance(each.envelope.data, Put)]
    assert faults == ["TextRefused", "NoText"]


# ------------------------------------------------------------------------------------------ checker


def test_a_store_that_holds_what_the_log_says_has_no_differences() -> None:
    wanted = expected()
    assert len(wanted.pieces) > 1
    assert kinds(stored(wanted), wanted) == []
    assert kinds(stored(wanted, FALLBACK_SHARD_KEY), wanted) == []


def test_every_difference_is_seen() -> None:
    wanted = expected()
    record, first, *rest = stored(wanted)
    stale = changed(first, version=wanted.version - 1)
    tail = replace(first, id=ids.chunk_id(DOCUMENT.id, 99))
    other = Stored(str(OTHER.id), first.key, {**record.payload, "document_id": OTHER.id}, None)
    cases: dict[str, list[Stored]] = {
        "missing record": [first, *rest],
        "missing chunk": [record, *rest],
        "stale": [record, stale, *rest],
        "stale tail": [record, first, *rest, tail],
        "chunk": [record, changed(first, text="other"), *rest],
        "record": [changed(record, version=wanted.version + 1), first, *rest],
        "record state": [changed(record, state="Deleted"), first, *rest],
        "vector": [record, replace(first, vector=[1.0] + [0.0] * 15), *rest],
        "partition": [record, changed(first, access_level="internal"), *rest],
        "partition key": [record, replace(first, key=FALLBACK_SHARD_KEY), *rest],
        "doubled": [record, first, replace(first, key="acme/public"), *rest],
        "extra": [record, first, *rest, other],
    }
    assert {name: kinds(points, wanted) for name, points in cases.items()} == {
        name: [name.partition(" ")[0]] for name in cases
    }


# ------------------------------------------------------------------------------------------ traffic


def test_traffic_has_the_shares_that_are_asked_for_and_is_the_same_for_a_seed() -> None:
    messages = Traffic("ns", "kb", seed=5).messages(4_000)
    assert messages == Traffic("ns", "kb", seed=5).messages(4_000)
    found = {name: count / len(messages) for name, count in shares(messages).items()}
    assert found["deleted"] == pytest.approx(0.10, abs=0.02)
    assert found["repeated"] == pytest.approx(0.05, abs=0.02)
    assert found["updated"] == pytest.approx(0.20, abs=0.03)
