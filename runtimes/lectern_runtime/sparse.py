"""Turns a text into BM25 term weights: a sparse vector for a chunk, another one for a question.

The worker calls `document` for each chunk and the query pipeline calls `query`; their dot product in the store, which
multiplies each term by its rarity (IDF) over the asker's own corpus, is the BM25 score. It lies outside both programs
because they do not know each other and must agree on every term's number.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from hashlib import blake2b

from lectern_contract.errors import ConfigurationError
from lectern_runtime.ports import SparseVector
from lectern_runtime.stems import ALGORITHMS, Stems
from lectern_runtime.stop_words import STOP_WORDS

# Robertson & Zaragoza (2009), The Probabilistic Relevance Framework: BM25 and Beyond, section 3.
K1 = 1.2
B = 0.75
# A fixed length instead of the corpus' mean: a chunk's weights then never change because other chunks came or went.
# 256 words is the convention of Qdrant's own BM25.
AVERAGE_WORDS = 256

WORD = re.compile(r"[^\W_]+")  # letters and digits; snake_case and kebab-case come apart
LONGEST_STEMMED = 40  # longer ones are digests and keys: taken whole, and kept out of the cache
# About 3 MB when full. A known word takes a tenth of the time of a new one, whose hash costs twice its stem.
CACHED_WORDS = 16_384


class SparseEncoder:
    """BM25 term weights in one language (ISO 639-1); safe to share between threads.

    Raises ConfigurationError for a language without a stemmer.
    """

    def __init__(self, language: str = "en") -> None:
        if language not in ALGORITHMS:
            raise ConfigurationError(
                f"sparse.language {language!r} has no stemmer; set it to one of {', '.join(sorted(ALGORITHMS))}"
            )
        self._stop_words = STOP_WORDS[language]
        self._stems = Stems(language)
        self._index = lru_cache(CACHED_WORDS)(self._look_up)

    def document(self, text: str) -> SparseVector:
        """Return the saturated frequency of each term of a chunk, indices ascending; empty without any term."""
        frequencies = self._frequencies(text)
        length = sum(frequencies.values())
        slowdown = K1 * (1 - B + B * length / AVERAGE_WORDS)
        weights = sorted((index, count * (K1 + 1) / (count + slowdown)) for index, count in frequencies.items())
        return SparseVector(tuple(index for index, _ in weights), tuple(weight for _, weight in weights))

    def query(self, text: str) -> SparseVector:
        """Return weight 1 for each distinct term of a question; empty when it consists of stop words only."""
        indices = tuple(sorted(self._frequencies(text)))
        return SparseVector(indices, (1.0,) * len(indices))

    def _frequencies(self, text: str) -> dict[int, int]:
        folded = (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()
        counted = Counter(
            [self._index(word) if len(word) <= LONGEST_STEMMED else term_index(word) for word in WORD.findall(folded)]
        )
        return {index: frequency for index, frequency in counted.items() if index is not None}

    def _look_up(self, word: str) -> int | None:
        return None if word in self._stop_words else term_index(self._stems.of(word))


def term_index(term: str) -> int:
    """Return the term's number in the sparse space: 32 bits of a hash that is the same on every machine, for ever.

    Two terms may share a number. With 100,000 distinct terms in a corpus a given one collides with probability
    2.3e-5, and then adds the weight of the other word to its score, so no table of terms has to be kept and shared.
    """
    return int.from_bytes(blake2b(term.encode(), digest_size=4).digest(), "little")
