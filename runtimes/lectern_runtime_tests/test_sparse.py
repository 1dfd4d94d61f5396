"""BM25 term weights: their dot product, with rarity from the store, is the BM25 score."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract.errors import ConfigurationError
from lectern_contract.resources.knowledge_base import Sparse
from lectern_runtime.ports import SparseVector
from lectern_runtime.sparse import AVERAGE_WORDS, K1, SparseEncoder, term_index
from lectern_runtime.stems import ALGORITHMS
from lectern_runtime.stop_words import STOP_WORDS

ENCODER = SparseEncoder("en")
TEXT = st.text(max_size=300)
WORDS = st.lists(st.sampled_from(["lectern", "qdrant", "shard", "topic", "broker", "tenant", "alias"]), max_size=60)


def weight_of(word: str, vector: SparseVector) -> float:
    """Weight of a single-word text's term in `vector`, 0 where it is absent."""
    (index,) = ENCODER.query(word).indices
    return dict(zip(vector.indices, vector.values, strict=True)).get(index, 0.0)


def test_a_document_has_the_weights_of_the_formula() -> None:
    text = "The shard, the shards and a broker"  # three words count: shard, shard, broker
    slowdown = 1.2 * (1 - 0.75 + 0.75 * 3 / 256)

    vector = ENCODER.document(text)

    assert len(vector.indices) == 2
    assert weight_of("shard", vector) == pytest.approx(2 * 2.2 / (2 + slowdown))
    assert weight_of("broker", vector) == pytest.approx(1 * 2.2 / (1 + slowdown))


def test_a_question_weighs_each_distinct_term_once() -> None:
    vector = ENCODER.query("Which shard keys does a shard have, and which SHARDS?")
    assert vector.values == (1.0,) * len(vector.indices)
    assert set(vector.indices) == {*ENCODER.query("shard").indices, *ENCODER.query("key").indices}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("running", "runs"),
        ("Kubernetes", "KUBERNETES"),
        ("indexing", "indexed"),
        ("ﬁle", "file"),  # a ligature, as PDFs have them
        ("cafe\u0301", "café"),  # composed and decomposed
        ("max_batch_tokens", "max-batch tokens"),
        ("universe's", "universe"),
    ],
)
def test_forms_of_one_term_meet(left: str, right: str) -> None:
    assert ENCODER.query(left).indices
    assert ENCODER.query(left) == ENCODER.query(right)


@pytest.mark.parametrize(("left", "right"), [("2.11", "2.13"), ("shard", "share"), ("café", "cafe")])
def test_different_terms_stay_apart(left: str, right: str) -> None:
    assert ENCODER.query(left) != ENCODER.query(right)


@pytest.mark.parametrize("text", ["", "   \n", "?!", "who is it and why", "\ud800"])
def test_a_text_without_terms_is_an_empty_vector(text: str) -> None:
    assert ENCODER.document(text) == ENCODER.query(text) == SparseVector((), ())


def test_a_digest_is_found_whole_and_a_longer_word_does_not_count_as_its_beginning() -> None:
    digest = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    vector = ENCODER.document(f"The weights have sha256 {digest}.")
    assert set(ENCODER.query(digest).indices) <= set(vector.indices)
    assert not set(ENCODER.query(digest[:-1]).indices) & set(vector.indices)


def test_numbers_of_terms_never_change() -> None:
    # As `b2sum -l 32` says, read little-endian. Points in existing collections hold these numbers: another hash
    # would make every stored chunk unfindable.
    assert [term_index(term) for term in ("lectern", "shard", "straße", "")] == [
        1865165288,
        388968845,
        2333553802,
        634351890,
    ]


def test_equal_text_gives_equal_vectors_in_another_process() -> None:
    text = "Ten topics on two brokers, read by one consumer group."
    code = f"from lectern_runtime.sparse import SparseEncoder; print(SparseEncoder('en').document({text!r}))"
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path), "PYTHONHASHSEED": "12345"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60, env=environment
    )
    assert run.stdout.strip() == repr(ENCODER.document(text))


@given(text=TEXT)
def test_vectors_are_canonical(text: str) -> None:
    document, query = ENCODER.document(text), ENCODER.query(text)
    assert list(document.indices) == sorted(set(document.indices))
    assert all(0 <= index < 2**32 for index in document.indices)
    assert len(document.values) == len(document.indices)
    assert all(0 < value < K1 + 1 for value in document.values)
    assert query == SparseVector(document.indices, (1.0,) * len(document.indices))
    assert document == SparseEncoder("en").document(text)


@given(words=WORDS, more=WORDS)
def test_a_term_weighs_more_when_repeated_and_less_in_a_longer_text(words: list[str], more: list[str]) -> None:
    text = " ".join([*words, "quorum"])
    weight = weight_of("quorum", ENCODER.document(text))

    assert weight_of("quorum", ENCODER.document(f"{text} quorum")) > weight
    longer = weight_of("quorum", ENCODER.document(" ".join([text, *more])))
    assert longer < weight if more else longer == weight


@given(words=WORDS)
def test_word_order_and_stop_words_do_not_matter(words: list[str]) -> None:
    assert ENCODER.document(" ".join(words)) == ENCODER.document(" the ".join(reversed(words)))


def test_a_term_once_in_a_text_of_average_length_weighs_one() -> None:
    filler = " ".join(f"w{number}" for number in range(AVERAGE_WORDS - 1))
    assert weight_of("quorum", ENCODER.document(f"quorum {filler}")) == pytest.approx(1.0)


def test_threads_share_an_encoder() -> None:
    texts = [" ".join(f"{stem}ing{number}s {stem}ed" for stem in ("index", "shard")) for number in range(200)]
    expected = [SparseEncoder("en").document(text) for text in texts]
    fresh = SparseEncoder("en")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fresh.document, texts)) == expected


@pytest.mark.parametrize(
    ("language", "left", "right", "stop_words"),
    [
        ("da", "bøgerne", "bøger", "hvad er det"),
        ("de", "Straßen", "STRASSE", "was ist das für ein"),
        ("en", "operators", "operator", "what is that"),
        ("es", "canciones", "canción", "¿qué es lo que hay?"),
        ("fi", "taloissa", "talo", "mikä se on"),
        ("fr", "l'université", "universités", "qu'est-ce que c'est"),
        ("it", "dell'università", "università", "che cosa è"),
        ("nl", "boeken", "boek", "wat is het"),
        ("no", "bøkene", "bøker", "hva er det"),
        ("pt", "livros", "livro", "o que é isso"),
        ("ru", "книгами", "книга", "что это"),
        ("sv", "böckerna", "böcker", "vad är det"),
    ],
)
def test_each_language_folds_its_forms(language: str, left: str, right: str, stop_words: str) -> None:
    encoder = SparseEncoder(language)
    assert encoder.query(left).indices
    assert encoder.query(left) == encoder.query(right)
    assert encoder.query(stop_words) == SparseVector((), ())


def test_every_language_of_the_resource_has_a_stemmer_and_stop_words() -> None:
    languages = set(get_args(Sparse.model_fields["language"].annotation))
    assert languages == set(ALGORITHMS) == set(STOP_WORDS)


def test_an_unknown_language_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigurationError, match=r"sparse\.language 'tlh' has no stemmer; set it to one of da, de, en"):
        SparseEncoder("tlh")
