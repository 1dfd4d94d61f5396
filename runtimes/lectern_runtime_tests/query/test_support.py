"""The support value and what it is made of."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract import ids
from lectern_contract.payload import ChunkPayload
from lectern_contract.resources.rag_endpoint import Retrieval
from lectern_runtime.ports import Hit, Scores
from lectern_runtime.query import support
from lectern_runtime.query.support import DENSE, HYBRID, SPARSE, Evidence
from lectern_runtime.terms import Terms

TERMS = Terms("en")
SHARES = st.floats(0, 1)
PARTS = st.builds(Evidence, cosine=st.floats(-1, 1), passage=SHARES, sentence=SHARES, agreement=SHARES)


def hit(number: int, text: str, *, dense: float | None = None, sparse: float | None = None, title: str = "") -> Hit:
    document = ids.document_id(
        namespace="n", knowledge_base="k", tenant="t", access_level="l", source="s", uri=str(number)
    )
    payload = ChunkPayload(
        tenant="t",
        access_level="l",
        document_id=document,
        version=1,
        source="s",
        uri=str(number),
        title=title,
        number=0,
        text=text,
        text_digest="",
        start=0,
        end=len(text),
        tokens=5,
    )
    return Hit(ids.chunk_id(document, 0), payload, Scores(dense=dense, sparse=sparse))


def test_nothing_found_supports_nothing() -> None:
    none = support.evidence("anything", [], TERMS)
    assert none == Evidence(cosine=None, passage=0.0, sentence=0.0, agreement=None)
    assert support.support(none) < 0.05


def test_evidence_is_read_from_the_best_hits() -> None:
    hits = [
        hit(1, "Refunds take five days. Cards are charged once.", dense=0.5, sparse=2.0),
        hit(2, "Parcels leave at noon.", dense=0.7, sparse=1.0),
    ]
    found = support.evidence("When do parcels leave?", hits, TERMS)
    assert found == Evidence(cosine=0.7, passage=1.0, sentence=1.0, agreement=0.5)


def test_title_and_headings_count_for_the_passage_and_not_for_the_sentence() -> None:
    found = support.evidence(
        "parcel insurance", [hit(1, "It covers loss.", dense=0.4, title="Parcel insurance")], TERMS
    )
    assert (found.passage, found.sentence, found.agreement) == (1.0, 0.0, None)


def test_what_the_vector_search_prefers_and_the_term_search_missed_is_little_agreement() -> None:
    hits = [hit(1, "a", dense=0.9), hit(2, "b", sparse=3.0), hit(3, "c", sparse=2.0)]
    found = support.evidence("word", hits, TERMS)
    assert found.agreement == 0.25


def test_rare_words_weigh_more_than_frequent_ones() -> None:
    read = [TERMS.distinct(f"lectern topic number {number}") for number in range(9)] + [TERMS.distinct("lectern zebra")]
    rarity = support.rarities(TERMS.distinct("lectern zebra unicorn"), read)
    assert rarity["unicorn"] > rarity["zebra"] > rarity["lectern"] > 0
    assert rarity["zebra"] == pytest.approx(math.log(1 + 9.5 / 1.5))
    assert support.share(rarity, frozenset()) == 0.0
    assert support.share(rarity, frozenset(rarity)) == 1.0
    assert support.share({}, frozenset({"a"})) == 0.0


@given(PARTS, PARTS)
def test_more_evidence_never_lowers_the_value(one: Evidence, other: Evidence) -> None:
    assert one.cosine is not None
    assert other.cosine is not None
    assert one.agreement is not None
    assert other.agreement is not None
    better = Evidence(
        cosine=max(one.cosine, other.cosine),
        passage=max(one.passage, other.passage),
        sentence=max(one.sentence, other.sentence),
        agreement=max(one.agreement, other.agreement),
    )
    assert 0.0 < support.support(one) < 1.0
    assert support.support(better) >= support.support(one)


@pytest.mark.parametrize(
    ("evidence", "coefficients"),
    [
        (Evidence(0.5, 0.5, 0.5, 0.5), HYBRID),
        (Evidence(0.5, 0.5, 0.5, None), DENSE),
        (Evidence(None, 0.5, 0.5, None), SPARSE),
    ],
)
def test_each_kind_of_search_has_its_own_coefficients(evidence: Evidence, coefficients: support.Coefficients) -> None:
    assert support.support(evidence) == support.chance(evidence, coefficients)
    assert support.support(replace(evidence, passage=1.0)) > support.support(evidence)


# What the calibration found, at the shipped bar: typical evidence of each kind falls on its own side.
@pytest.mark.parametrize(
    ("evidence", "answers"),
    [
        (Evidence(0.65, 1.0, 0.8, 1.0), True),
        (Evidence(0.45, 0.8, 0.7, 1.0), True),
        (Evidence(0.35, 1.0, 1.0, 1.0), True),
        (Evidence(0.35, 0.16, 0.16, 0.07), False),
        (Evidence(0.25, 0.5, 0.4, 0.2), False),
        (Evidence(0.15, 0.0, 0.0, 0.0), False),
    ],
)
def test_typical_evidence_is_judged_as_measured(evidence: Evidence, *, answers: bool) -> None:
    assert (support.support(evidence) >= float(Retrieval().min_score)) is answers
