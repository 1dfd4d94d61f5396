"""Identities: equal for equal arguments, different for any difference, and stable for ever."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract import ids
from lectern_contract.ids import DocumentId


@dataclass(frozen=True)
class Parts:
    namespace: str
    knowledge_base: str
    tenant: str
    access_level: str
    source: str
    uri: str


text = st.text(max_size=20)
parts = st.builds(Parts, text, text, text, text, text, text)


@given(parts, parts)
def test_a_document_id_tells_all_of_its_parts_apart(one: Parts, other: Parts) -> None:
    assert (ids.document_id(**asdict(one)) == ids.document_id(**asdict(other))) == (one == other)


def test_parts_cannot_be_shifted_into_each_other() -> None:
    one = Parts("n", "kb", "a", "b", "s", "x/y")
    shifted = [
        Parts("n", "kb", "a", "b", "s/x", "y"),
        Parts("n", "kb", "a/b", "", "s", "x/y"),
        Parts("n", "kb", 'a","b', "", "s", "x/y"),
        Parts("nk", "b", "a", "b", "s", "x/y"),
    ]

    found = {ids.document_id(**asdict(each)) for each in [one, *shifted]}

    assert len(found) == 5


def test_ids_do_not_change_between_releases() -> None:
    document = ids.document_id(
        namespace="default", knowledge_base="kb", tenant="t", access_level="l", source="s", uri="a.md"
    )

    assert document == "b903cd1d-ea5a-5aaa-91bf-2c6c16c78dd5"
    assert ids.chunk_id(document, 7) == "5f26bfff-cb33-5ef9-b04e-9032951cffb9"


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_chunk_id_tells_documents_and_numbers_apart(one: int, other: int) -> None:
    first, second = DocumentId(str(uuid.UUID(int=1))), DocumentId(str(uuid.UUID(int=2)))

    assert (ids.chunk_id(first, one) == ids.chunk_id(first, other)) == (one == other)
    assert ids.chunk_id(first, one) != ids.chunk_id(second, other)


epochs = st.integers(0, ids.MAX_EPOCH)
offsets = st.integers(0, ids.MAX_OFFSET)


@given(st.tuples(epochs, offsets), st.tuples(epochs, offsets))
def test_versions_order_by_epoch_and_then_by_offset(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (ids.version(*one) < ids.version(*other)) == (one < other)
    assert ids.version(*one) < 1 << 53
    assert int(float(ids.version(*one))) == ids.version(*one)


@pytest.mark.parametrize(("epoch", "offset"), [(-1, 0), (0, -1), (ids.MAX_EPOCH + 1, 0), (0, ids.MAX_OFFSET + 1)])
def test_a_version_out_of_range_is_refused(epoch: int, offset: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        ids.version(epoch, offset)


def test_digests_are_sha256() -> None:
    assert ids.content_digest(b"abc").startswith("ba7816bf")
    assert ids.text_digest("abc") == ids.content_digest(b"abc")
